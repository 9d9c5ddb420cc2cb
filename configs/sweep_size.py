"""Width and depth: one to three hidden layers of 32 to 512 units.

python -m mnist_mlp.sweep --config=configs/sweep_size.py
"""

from mnist_mlp import config, sweeps


def get_config():
  c = config.default()
  c.num_epochs = 5.0
  c.schedule.name = "cosine"
  return c


def sweep():
  return sweeps.grid(
    {"model.features": [(width,) * depth for depth in (1, 2, 3) for width in (32, 128, 512)]}
  )
