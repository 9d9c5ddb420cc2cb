"""Eight seeds of one recipe: what of its result is chance.

python -m mnist_mlp.sweep --config=configs/sweep_seeds.py
"""

from mnist_mlp import config, sweeps


def get_config():
  c = config.default()
  c.num_epochs = 5.0
  c.model.features = (128, 64)
  c.model.dropout = 0.1
  c.schedule.name = "cosine"
  return c


def sweep():
  return sweeps.grid({"seed": range(8)})
