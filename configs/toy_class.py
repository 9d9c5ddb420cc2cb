"""A toy class's net: 784-256-128-10 ReLU, 0.01 N(0, 1) weights, plain descent.

    python -m mnist_mlp.main --config=configs/toy_class.py

After Jiarui Xu, "Multi-Layer Perceptron from Scratch with JAX", 2023, which gives its results as
pictures only. That program draws the weights and the biases of a layer from the same key, so that
the biases repeat weights. Here they are independent, as was meant. The program does not say its
batch size or its inputs: 128 here, and pixels from 0 to 1. toy_class_lbfgs.py is its other
optimizer.

Measured, trained on all of train: 8.04 ± 0.15% test error, 5 seeds.
"""

from mnist_mlp import config


def get_config():
  c = config.default()
  c.num_epochs = 50.0
  c.batch_size = 128
  c.eval_every_epochs = 5.0
  c.model.features = (256, 128)
  c.model.init = "normal"
  c.model.init_scale = 0.01
  c.model.init_biases = True
  c.loss.mean_over_classes = True
  c.optimizer.name = "sgd"
  c.optimizer.learning_rate = 0.05
  return c
