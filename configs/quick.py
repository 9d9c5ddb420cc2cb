"""Seconds to a good net: 784-512-512-10 ReLU, three epochs of AdamW on slightly moved images.

    python -m mnist_mlp.main --config=configs/quick.py

The learning rate is four times the usual one, which the larger batch and the warm-up make safe. Its
cosine makes three epochs enough. A little rotation, scaling and shift takes little time and lowers
the validation error clearly.

Measured, trained on all of train: 1.27 ± 0.05% test error, 5 seeds.
"""

from mnist_mlp import config


def get_config():
  c = config.default()
  c.num_epochs = 3.0
  c.batch_size = 256
  c.model.features = (512, 512)
  c.augment.rotation = 6.0
  c.augment.scale = 0.08
  c.augment.shift = 1.0
  c.loss.label_smoothing = 0.05
  c.optimizer.name = "adamw"
  c.optimizer.learning_rate = 4e-3
  c.optimizer.weight_decay = 1e-2
  c.schedule.name = "cosine"
  c.schedule.warmup_epochs = 0.5
  return c
