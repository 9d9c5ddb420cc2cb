"""Plain stochastic gradient descent on the reference net.

python -m mnist_mlp.main --config=configs/sgd.py
"""

from mnist_mlp import config


def get_config():
  c = config.default()
  c.optimizer.name = "sgd"
  c.optimizer.learning_rate = 0.1
  return c
