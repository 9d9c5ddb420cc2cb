"""The content of result.json, which a finished run leaves."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from mnist_mlp.run.run import Run


class Ending(NamedTuple):
  """What only the end of a run knows."""

  test: Mapping[str, Any]  # see `Reporter.test`
  best: Mapping[str, Any] | None  # step and accuracy of the best validation, if there was one
  weights: int  # trained numbers
  rate: float  # examples a second between the last two evaluations; 0: unknown
  seconds: float | None  # of the training; None for a resumed run, which does not know


def result_of(run: Run, ending: Ending) -> dict[str, Any]:
  """Returns what result.json holds: the results, and the data and versions that gave them."""
  last = run.folder.metrics()[-1]
  timetable = run.timetable
  return {
    "dataset": run.dataset.describe(),
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


def _of_split(row: Mapping[str, Any], split: str) -> dict[str, float]:
  return {name: row[f"{split}/{name}"] for name in ("loss", "accuracy")}


def best_of(run: Run, step: int | None) -> dict[str, Any] | None:
  """Returns the best validation as result.json holds it, for the step of the best checkpoint."""
  if step is None:
    return None
  rows = {row["step"]: row for row in run.folder.metrics()}
  return {"step": step, "accuracy": rows[step]["validation/accuracy"]}
