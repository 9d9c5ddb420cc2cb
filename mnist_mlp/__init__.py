"""A Flax MLP, an Optax optimizer, and everything that a real training job needs around them.

    import mnist_mlp as mm
    mm.train_and_evaluate(mm.recipe("adam"), "runs/adam")
    net = mm.load_nets(["runs/adam"])

Each name imports its module when it is used for the first time. docs/python.md has more.
"""

import sys

from mnist_mlp import startup

if sys.argv[:1] == ["-m"]:  # So Python calls a command, `python -m mnist_mlp.X`, before it runs it.
  startup.prepare()

from etils import epy

with epy.lazy_api_imports(globals()):
  from mnist_mlp import config, data, inference, sweeps, train
  from mnist_mlp.errors import Interrupted, RunError, UsageError, UserError
  from mnist_mlp.inference import (
    Committee,
    Net,
    Prediction,
    load_nets,
    load_run,
    predict_files,
    predict_images,
  )
  from mnist_mlp.run.config_files import recipe
  from mnist_mlp.run.views import metrics_frame, plot_metrics
  from mnist_mlp.train import train_and_evaluate

__all__ = [
  "Committee",
  "Interrupted",
  "Net",
  "Prediction",
  "RunError",
  "UsageError",
  "UserError",
  "config",
  "data",
  "inference",
  "load_nets",
  "load_run",
  "metrics_frame",
  "plot_metrics",
  "predict_files",
  "predict_images",
  "recipe",
  "sweeps",
  "train",
  "train_and_evaluate",
]
