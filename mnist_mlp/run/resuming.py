"""Where a start of a run goes on: from a checkpoint, and from the rows that belong to it."""

from collections.abc import Mapping, Sequence
from typing import Any

from mnist_mlp.errors import RunError, UsageError
from mnist_mlp.run import environment
from mnist_mlp.run.checkpoint import Checkpoints
from mnist_mlp.run.config_json import from_tree
from mnist_mlp.run.history import Row
from mnist_mlp.run.run import Run
from mnist_mlp.run.workdir import changes_of_run


def resume(run: Run, first: Any, checkpoints: Checkpoints) -> tuple[int, Any]:
  """Returns (steps done, tree): of the last checkpoint, or 0 and `first` for a new run.

  The rows of an unfinished run become those of that step. A finished run is only read.

  Args:
    run: what is trained.
    first: the tree before the first step.
    checkpoints: those of the run.

  Raises:
    RunError: the run is finished, but its last state is gone; or the checkpoint is another run's.
  """
  result = run.folder.result()
  if result is not None:
    return result["steps"], _last_state(run, result["steps"], first, checkpoints)
  restored = checkpoints.restore_latest(first)
  if restored is None:
    _say_if_begun(run)
    start_rows(run, 0, [])
  else:
    about = checkpoints.about(restored[0])
    _check_belongs(run, about, checkpoints)
    _warn_of_changes(run)
    start_rows(run, restored[0], about.get("rows"))
  run.folder.write_json("environment.json", run.environment)
  return restored or (0, first)


def _last_state(run: Run, step: int, template: Any, checkpoints: Checkpoints) -> Any:
  if step not in checkpoints.steps():
    raise RunError(
      f"the run in {run.folder.path} is finished, but its last checkpoint, {step}, is no longer in "
      f"{checkpoints.folder}: the weights are lost; to train them again, use another --workdir"
    )
  tree = checkpoints.restore(step, template)
  _check_belongs(run, checkpoints.about(step), checkpoints)
  return tree


def _say_if_begun(run: Run) -> None:
  rows = run.folder.metrics()
  if rows:
    run.console.line(
      f"the run in {run.folder.path} had reached step {rows[-1]['step']}, but its checkpoints are "
      "gone: it starts anew"
    )


def _check_belongs(run: Run, about: Mapping[str, Any], checkpoints: Checkpoints) -> None:
  """Raises a RunError if a checkpoint is that of another config, or was trained on other data."""
  try:
    changes = changes_of_run(from_tree(about.get("config")), run.config)
  except UsageError as error:
    changes = str(error)
  if about.get("fingerprint", run.dataset.fingerprint) != run.dataset.fingerprint:
    changes = f"other data, of fingerprint {about['fingerprint']}"
  if changes:
    raise RunError(
      f"the checkpoints in {checkpoints.folder} are those of another run ({changes}); use another "
      "--workdir"
    )


def _warn_of_changes(run: Run) -> None:
  before = run.folder.read_json("environment.json")
  changed = environment.changes(before, run.environment) if before else ""
  if changed:
    run.console.line(
      f"warning: the last bits of the results may change, because these changed: {changed}"
    )


def start_rows(run: Run, step: int, saved: Sequence[Row] | None) -> None:
  """Begins metrics.jsonl with the rows up to a step; says so if some are lost.

  Args:
    run: what is trained.
    step: how many steps are done.
    saved: the rows that a checkpoint holds; None if it holds none, as those of version 0.2.0 and
      before. Then they are read from the file itself.
  """
  rows = run.folder.metrics() if saved is None else saved
  rows = [row for row in rows if row["step"] <= step]
  lost = run.timetable.evaluations_until(step) - len(rows)
  if lost > 0:
    run.console.line(
      f"{lost} of the evaluations up to step {step} are lost from "
      f"{run.folder.path / 'metrics.jsonl'}, and the checkpoint holds no copy; the run goes on "
      "without them"
    )
  run.folder.history.start(rows)
