"""The net of scan_adam.py by 30,000 steps of full-batch gradient descent.

    python -m mnist_mlp.main --config=configs/scan_adam_full_batch.py

After the same published program, which takes all its steps inside one loop on the device and
published no figure. A step takes 0.2 s on two cores of a CPU, and the whole has not been run there:
after 1,500 steps (--config.num_steps=1500) one seed has 19.51% test error, from N(0, 1) weights,
and the loss still falls.
"""

from mnist_mlp import config


def get_config():
  c = config.default()
  c.num_steps = 30_000
  c.batch_size = 60_000
  c.eval_every_steps = 3_000
  c.data.validation_examples = 0
  c.model.features = (128, 64)
  c.model.init = "normal"
  c.model.init_scale = 1.0
  c.model.init_biases = True
  c.model.inputs = "standardized"
  c.optimizer.name = "sgd"
  c.optimizer.learning_rate = 1e-3
  return c
