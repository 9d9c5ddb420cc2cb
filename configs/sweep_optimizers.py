"""Optimizers against each other, each at three learning rates around its usual one.

python -m mnist_mlp.sweep --config=configs/sweep_optimizers.py
"""

from mnist_mlp import config, sweeps

# The learning rate at which each optimizer is usually run on problems like this one.
_USUAL = {
  "sgd": 0.1,
  "momentum": 0.05,
  "nesterov": 0.05,
  "adam": 1e-3,
  "adamw": 1e-3,
  "nadamw": 1e-3,
  "rmsprop": 5e-4,
  "adagrad": 0.02,
  "lion": 2e-4,
  "lamb": 5e-3,
  "muon": 0.01,
  "schedule_free": 5e-3,
}


def get_config():
  c = config.default()
  c.num_epochs = 5.0
  c.model.features = (128, 64)
  return c


def sweep():
  for name, usual in _USUAL.items():
    yield from sweeps.product(
      [{"optimizer.name": name}],
      sweeps.grid({"optimizer.learning_rate": [usual / 3, usual, usual * 3]}),
    )
