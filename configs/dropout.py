"""Dropout and max-norm: three layers of 1024 ReLU units, knowing nothing of pixel geometry.

    python -m mnist_mlp.main --config=configs/dropout.py

Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", 2014: 1.25%
test error with dropout, 1.06% with max-norm besides. Their rates: a fifth of the pixels, half of
the hidden units; the incoming weights of a unit have a norm of at most 2.
"""

from mnist_mlp import config


def get_config():
  c = config.default()
  c.num_epochs = 100.0
  c.batch_size = 128
  c.eval_every_epochs = 5.0
  c.model.features = (1024, 1024, 1024)
  c.model.dropout = 0.5
  c.model.input_dropout = 0.2
  c.model.init = "he"
  c.optimizer.name = "momentum"
  c.optimizer.learning_rate = 0.03
  c.optimizer.momentum = 0.95
  c.optimizer.max_norm = 2.0
  c.schedule.name = "cosine"
  c.schedule.warmup_epochs = 1.0
  return c
