"""Learning rate, weight decay and label smoothing together: 32 points of a Sobol sequence.

python -m mnist_mlp.sweep --config=configs/sweep_regularization.py
"""

from mnist_mlp import config, sweeps


def get_config():
  c = config.default()
  c.num_epochs = 10.0
  c.model.features = (128, 64)
  c.optimizer.name = "adamw"
  c.schedule.name = "cosine"
  return c


def sweep():
  return sweeps.sobol(
    32,
    {
      "optimizer.learning_rate": sweeps.log_uniform(1e-4, 1e-2),
      "optimizer.weight_decay": sweeps.log_uniform(1e-4, 1.0),
      "loss.label_smoothing": sweeps.uniform(0.0, 0.2),
    },
  )
