"""Stochastic gradient descent with momentum on the reference net, cosine decay.

python -m mnist_mlp.main --config=configs/momentum.py
"""

from mnist_mlp import config


def get_config():
  c = config.default()
  c.optimizer.name = "momentum"
  c.optimizer.learning_rate = 0.05
  c.optimizer.momentum = 0.9
  c.schedule.name = "cosine"
  c.schedule.warmup_epochs = 1.0
  return c
