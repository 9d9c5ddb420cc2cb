"""The reference: 784-512-512-10 ReLU, dropout, label smoothing, AdamW with cosine decay.

    python -m mnist_mlp.main --config=configs/adam.py

Measured, trained on all of train: 1.33 ± 0.05% test error, 5 seeds.
"""

from mnist_mlp import config


def get_config():
  c = config.default()
  c.num_epochs = 20.0
  c.batch_size = 128
  c.model.features = (512, 512)
  c.model.dropout = 0.2
  c.loss.label_smoothing = 0.1
  c.optimizer.name = "adamw"
  c.optimizer.learning_rate = 1e-3
  c.optimizer.weight_decay = 1e-2
  c.schedule.name = "cosine"
  c.schedule.warmup_epochs = 1.0
  return c
