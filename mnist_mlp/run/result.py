"""The content of result.json, which a finished run leaves."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from mnist_mlp.core.metrics import METRICS, TRAIN_METRICS
from mnist_mlp.errors import RunError
from mnist_mlp.run.run import Run
from mnist_mlp.run.workdir import Workdir


class Ending(NamedTuple):
  """What only the end of a run knows."""

  test: Mapping[str, Any]  # see `Reporter.test`
  best: Mapping[str, Any] | None  # step and accuracy of the best validation, if there was one
  weights: int  # trained numbers
  rate: float  # examples a second between the last two evaluations; 0: unknown
  seconds: float | None  # of the training; None for a resumed run, which does not know


def result_of(run: Run, ending: Ending) -> dict[str, Any]:
  """Returns what result.json holds: the results, and the data and versions that gave them."""
  timetable = run.timetable
  # An old run whose rows were lost may have none of its last step.
  last = next((row for row in run.folder.history.rows if row["step"] == timetable.total_steps), {})
  return {
    "dataset": run.dataset.describe(),
    "origin": run.folder.read_json("origin.json"),
    "batch_size": run.config.batch_size,
    "steps": timetable.total_steps,
    "epochs": timetable.total_steps / timetable.steps_per_epoch,
    "weights": ending.weights,
    "test": ending.test,
    "validation": _of_split(last, "validation") if run.dataset.validation.num_examples else None,
    "train": _of_split(last, "train"),
    "best_validation": ending.best,
    "examples_per_second": round(ending.rate, 1) or None,
    "environment": run.environment,
    "seconds": ending.seconds,
  }


def _of_split(row: Mapping[str, Any], split: str) -> dict[str, float | None]:
  """Returns a split's metrics in a row, None for those that are lost.

  Training, and an earlier version's evaluation, may have fewer metrics than there are.
  """
  names = [name for name in METRICS if name in TRAIN_METRICS or f"{split}/{name}" in row]
  return {name: row.get(f"{split}/{name}") for name in names}


def check_promised(
  folder: Workdir, result: Mapping[str, Any] | None, step: int | None, *, best: bool = False
) -> None:
  """Raises a RunError if a run is finished, and its last or best checkpoint is not that of `step`.

  Args:
    folder: that of the run.
    result: its result.json, if there is one.
    step: the last step of which there is a checkpoint, or the best one; None if there is none.
    best: whether it is the best one.
  """
  if result is None:
    return
  promised = (result.get("best_validation") or {}).get("step") if best else result["steps"]
  if promised not in (None, step):
    raise RunError(
      f"the run in {folder.path} is finished, but its {'best' if best else 'last'} checkpoint, "
      f"{promised}, is no longer in {folder.path / 'checkpoints'}: its weights are lost"
    )
