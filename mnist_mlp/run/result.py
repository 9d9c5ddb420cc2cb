"""The content of result.json, which a finished run leaves."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from mnist_mlp.core.metrics import METRICS, TRAIN_METRICS
from mnist_mlp.core.probabilities import log_probabilities
from mnist_mlp.core.state import TrainState
from mnist_mlp.errors import RunError
from mnist_mlp.run.calibration import LEAST_EXAMPLES, calibration_errors, fit_temperature
from mnist_mlp.run.checkpoint import Checkpoints
from mnist_mlp.run.memory import fetch
from mnist_mlp.run.run import Run
from mnist_mlp.run.workdir import Workdir


class Logits(NamedTuple):
  """What the net of a finished run says, float32 [N, classes] each."""

  test: np.ndarray
  validation: np.ndarray | None  # None without a validation split
  best_validation: (
    np.ndarray | None
  )  # those of the weights of the best validation, if there are any


def validation_logits(
  run: Run,
  tree: tuple[TrainState, Any],
  validate: Callable[[TrainState], tuple[Any, Any]] | None,
  checkpoints: Checkpoints,
  best: Mapping[str, Any] | None,
) -> tuple[np.ndarray | None, np.ndarray | None]:
  """Returns the logits of the last and of the best weights on validation, None if there are none.

  Args:
    run: whose training has ended.
    tree: the last state, and metrics, as checkpoints hold them.
    validate: evaluates a state on validation, as in training; None without such a split.
    checkpoints: those of the run.
    best: step and accuracy of the best validation, if there was one.
  """
  if validate is None:
    return None, None
  last = fetch(validate(tree[0])[1])
  if best is None or best["step"] == run.timetable.total_steps:
    return last, last if best else None
  try:
    state, _ = checkpoints.restore(best["step"], tree)
  except RunError as error:  # The last weights are whole.
    run.console.line(f"{error}; the weights of the best validation are not calibrated")
    return last, None
  return last, fetch(validate(state)[1])


class Ending(NamedTuple):
  """What only the end of a run knows."""

  test: Mapping[str, Any]  # see `Reporter.test`
  best: Mapping[str, Any] | None  # step and accuracy of the best validation, if there was one
  weights: int  # trained numbers
  rate: float  # examples a second between the last two evaluations; 0: unknown
  seconds: float | None  # of the training; None for a resumed run, which does not know
  logits: Logits


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
    "calibration": _calibration(run, ending.logits),
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


def _calibration(run: Run, logits: Logits) -> dict[str, Any]:
  """Returns the temperatures of the last and of the best weights, and the calibration errors."""
  test, validation, of_best = (
    None if one is None else log_probabilities(run.config.loss.name, one) for one in logits
  )
  of_test, held_out = run.dataset.test.labels, run.dataset.validation.labels
  if validation is not None and len(held_out) < LEAST_EXAMPLES:
    run.console.line(
      f"how sure the net is was not calibrated: that takes {LEAST_EXAMPLES} validation examples, "
      f"and there are {len(held_out)}"
    )
  temperature = None if validation is None else fit_temperature(validation, held_out)
  return {
    "temperature": temperature,
    "best_temperature": None if of_best is None else fit_temperature(of_best, held_out),
    "validation": None
    if validation is None
    else calibration_errors(validation, held_out, temperature),
    "test": calibration_errors(test, of_test, temperature),
  }


def temperature_of(
  folder: Workdir, result: Mapping[str, Any] | None, *, best: bool = False
) -> float | None:
  """Returns by what the scores of a run's net are divided, so that it is as sure as it is right.

  Args:
    folder: that of the run.
    result: its result.json, if there is one.
    best: whether the weights are those of the best validation.

  Returns:
    None if nothing was fitted: validation had too few examples or none, the run is not finished,
    or its version did not calibrate.

  Raises:
    RunError: result.json is damaged.
  """
  found = (result or {}).get("calibration")
  if isinstance(found, Mapping):
    found = found.get("best_temperature" if best else "temperature")
  if found is None or (isinstance(found, float) and found > 0):
    return found
  raise RunError(
    f"{folder.path / 'result.json'} is damaged: its calibration has no temperature; move it away "
    "to go on"
  )


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
