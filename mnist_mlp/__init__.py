"""A Flax MLP, an Optax optimizer, and everything that a real training job needs around them."""

import sys

from mnist_mlp import startup

if sys.argv[:1] == ["-m"]:  # So Python calls a command, `python -m mnist_mlp.X`, before it runs it.
  startup.prepare()
