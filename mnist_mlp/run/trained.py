"""The state that a run has come to, read from its folder. Needs no data and writes nothing."""

import os
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

from mnist_mlp.core.metrics import TrainMetrics
from mnist_mlp.core.spec import DataSpec
from mnist_mlp.core.state import TrainState, initializer
from mnist_mlp.core.traced import traced
from mnist_mlp.data.files import name_of
from mnist_mlp.errors import RunError
from mnist_mlp.run import checkpoint
from mnist_mlp.run.result import check_promised, temperature_of
from mnist_mlp.run.workdir import Workdir


class Trained(NamedTuple):
  """A run, as one of its checkpoints holds it."""

  folder: Workdir
  config: ConfigDict
  facts: dict[str, Any]  # dataset.json: what the run was trained on
  step: int  # that of the checkpoint
  state: TrainState
  metrics: TrainMetrics  # of the steps since the last evaluation
  temperature: float | None  # see `result.temperature_of`


def read(workdir: str | os.PathLike, *, best: bool = False) -> Trained:
  """Returns what a run has come to, which may still be training.

  Args:
    workdir: the run's folder.
    best: takes the checkpoint of the best validation accuracy, not the last one.

  Raises:
    UsageError: the folder is not there, or holds no run.
    RunError: the run has no checkpoint yet, or its files are damaged.
  """
  folder = Workdir(workdir)
  config = folder.run_config()
  facts = folder.read_json("dataset.json")
  checkpoints = folder.path / "checkpoints"
  if not os.path.isdir(checkpoints):
    check_promised(folder, folder.result(), None, best=best)
  if facts is None or not os.path.isdir(checkpoints):
    raise RunError(f"the run in {folder.path} has no checkpoint yet; train it first")
  try:
    spec = spec_of(facts)
  except (KeyError, TypeError, ValueError) as error:
    raise RunError(
      f"{folder.path / 'dataset.json'} is damaged: it does not describe a dataset"
    ) from error
  template = jax.eval_shape(initializer(config, spec), traced(config))
  if config.data.files:  # Version 0.2.0 called own files in a folder 'mnist' like TFDS's 'mnist'.
    facts = {**facts, "name": name_of(config.data.files)}
  result = folder.result()  # Read first: a run that goes on may finish meanwhile.
  whole = template, TrainMetrics.empty()
  step, (state, metrics) = checkpoint.read(checkpoints, whole, best=best)
  check_promised(folder, result, step, best=best)
  temperature = temperature_of(folder, result, best=best)
  return Trained(folder, config, facts, step, state, metrics, temperature)


def spec_of(facts: dict[str, Any]) -> DataSpec:
  """Returns what a net depends on of the data that dataset.json describes.

  Raises:
    KeyError, TypeError, ValueError: `facts` do not describe a dataset.
  """
  height, width, channels = facts["image_shape"]
  if not {"name", "fingerprint"} <= facts.keys():
    raise KeyError("name, fingerprint")
  return DataSpec((height, width, channels), len(facts["class_names"]), facts["examples"]["train"])
