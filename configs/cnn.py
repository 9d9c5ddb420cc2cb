"""A small convolutional net: 32 and 64 channels of 3 x 3, pooled, then 128 units.

    python -m mnist_mlp.main --config=configs/cnn.py

A step takes several times as long as one of configs/adam.py.

Measured, trained on all of train: 0.70 ± 0.04% test error, 5 seeds.
"""

from mnist_mlp import config


def get_config():
  c = config.default()
  c.num_epochs = 5.0
  c.batch_size = 128
  c.model.name = "cnn"
  c.cnn.channels = (32, 64)
  c.cnn.kernel_size = 3
  c.model.features = (128,)
  c.model.dropout = 0.3
  c.loss.label_smoothing = 0.05
  c.optimizer.name = "adamw"
  c.optimizer.learning_rate = 2e-3
  c.optimizer.weight_decay = 1e-2
  c.schedule.name = "cosine"
  c.schedule.warmup_epochs = 0.5
  return c
