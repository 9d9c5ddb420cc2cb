"""The evaluations of runs for notebooks: as a frame of pandas, and as learning curves."""

import importlib.util
import os

from etils import epy

from mnist_mlp.errors import RunError, UsageError
from mnist_mlp.run.history import Row
from mnist_mlp.run.workdir import Workdir

with epy.lazy_imports():  # pandas is an extra, and matplotlib takes half a second.
  import pandas as pd

  from mnist_mlp.run import curves, figures


def metrics_frame(*workdirs: str | os.PathLike) -> "pd.DataFrame":
  """Returns the evaluations of runs, one a row, as metrics.jsonl has them.

  Args:
    *workdirs: the folders of runs, which may still be training.

  Returns:
    A frame with the column 'run', the workdir as given, then 'step', 'epoch', and the metrics, such
    as 'validation/accuracy'. Numbers that are not finite are NaN.

  Raises:
    UsageError: a folder holds no run.
    RunError: pandas is not installed.
  """
  if importlib.util.find_spec("pandas") is None:
    raise RunError("this takes pandas, which is not installed: pip install pandas")
  rows = [{"run": os.fspath(path), **row} for path in workdirs for row in _rows(path)]
  frame = pd.DataFrame(rows)
  numbers = [name for name in frame if name != "run"]
  return frame.assign(**{name: pd.to_numeric(frame[name]) for name in numbers})


def plot_metrics(*workdirs: str | os.PathLike) -> "figures.Figure":
  """Returns a figure of loss and error against epochs, one colour for each run.

  Raises:
    UsageError: a folder holds no run.
  """
  return curves.learning_curves({os.fspath(path): [_rows(path)] for path in workdirs})


def _rows(workdir: str | os.PathLike) -> list[Row]:
  folder = Workdir(workdir)
  if folder.config() is None:
    raise UsageError(f"the workdir {folder.path} holds no run: it has no config.json")
  return folder.metrics()
