"""Dropout and adversarial training: 784-800-400-200-10 ReLU, knowing nothing of pixel geometry.

    python -m mnist_mlp.main --config=configs/dropout.py

Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", 2014: in
three layers of 1024, 1.25% test error with dropout, 1.06% with max-norm besides; 0.95% in two
layers of 8192. Here some nine thousand steps are enough, by other means: batch norm, a moving
average of the weights, and adversarial images (Goodfellow, Shlens & Szegedy, "Explaining and
harnessing adversarial examples", 2015). Half of the loss is on images that are moved by a length of
2 along its gradient. On validation (one seed, 20 epochs), a length of 2 had 1.06% error, and a
length of 1 had 1.14%.

Measured, trained on all of train: 0.85 ± 0.04% test error, 5 seeds.
"""

from mnist_mlp import config


def get_config():
  c = config.default()
  c.num_epochs = 40.0
  c.batch_size = 256
  c.eval_every_epochs = 5.0
  c.model.features = (800, 400, 200)
  c.model.norm = "batch"
  c.model.dropout = 0.2
  c.model.input_dropout = 0.1
  c.loss.adversarial_radius = 2.0
  c.optimizer.name = "adamw"
  c.optimizer.learning_rate = 3e-3
  c.optimizer.weight_decay = 2e-2
  c.schedule.name = "cosine"
  c.schedule.warmup_epochs = 1.0
  c.ema.decay = 0.999
  return c
