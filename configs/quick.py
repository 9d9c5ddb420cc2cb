"""Seconds to a good net: 784-512-512-10 ReLU, label smoothing, AdamW, four epochs.

    python -m mnist_mlp.main --config=configs/quick.py

The learning rate is three times the usual one: the warm-up makes it safe, the cosine makes four
epochs enough.
"""

from mnist_mlp import config


def get_config():
  c = config.default()
  c.num_epochs = 4.0
  c.batch_size = 256
  c.model.features = (512, 512)
  c.loss.label_smoothing = 0.05
  c.optimizer.name = "adamw"
  c.optimizer.learning_rate = 3e-3
  c.optimizer.weight_decay = 1e-2
  c.schedule.name = "cosine"
  c.schedule.warmup_epochs = 0.5
  return c
