"""32 learning rates from 1e-5 to 1 of Adam on a small net, evenly spaced on a logarithmic scale.

python -m mnist_mlp.sweep --config=configs/sweep_learning_rate.py
"""

import numpy as np

from mnist_mlp import config, sweeps


def get_config():
  c = config.default()
  c.num_epochs = 5.0
  c.model.features = (128, 64)
  return c


def sweep():
  return sweeps.grid({"optimizer.learning_rate": np.geomspace(1e-5, 1.0, 32).tolist()})
