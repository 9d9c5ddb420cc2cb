"""Where a start of a run goes on: from a checkpoint, and from the rows that belong to it."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax

from mnist_mlp.core.state import evaluation_variables, initializer
from mnist_mlp.core.traced import traced
from mnist_mlp.errors import RunError, UsageError
from mnist_mlp.run import digests, environment, trained
from mnist_mlp.run.checkpoint import Checkpoints
from mnist_mlp.run.config_json import from_tree
from mnist_mlp.run.history import Row
from mnist_mlp.run.origin import Origin, keep_start, origin_of, start_of
from mnist_mlp.run.run import Run
from mnist_mlp.run.trained import Trained
from mnist_mlp.run.workdir import changes_of_run

_ACCURACY = "validation/accuracy"
_FOLLOWING_THE_LENGTH = ("cosine", "one_cycle")  # schedules


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
  origin = origin_of(run.folder)
  if origin:
    _begin_from(origin, run, first, checkpoints)
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


def _begin_from(origin: Origin, run: Run, first: Any, checkpoints: Checkpoints) -> None:
  """Saves what a run with an origin begins with, unless that was done: then it only resumes.

  Raises:
    UsageError: the other run's net is not this one's.
    RunError: the other run is not what it was, or is gone.
  """
  begun = start_of(run.folder)
  if begun and checkpoints.exist():
    return
  last = trained.read(origin.workdir, best=origin.best)
  start = {"step": last.step, "digest": digests.digest((last.state, last.metrics))}
  if begun and begun != start:
    raise RunError(
      f"the checkpoints in {checkpoints.folder} are gone, and the run in {origin.workdir} is no "
      "longer as it was when this run started from it; use another --workdir"
    )
  if origin.more_epochs:
    _begin_with_state(origin, last, run, checkpoints)
  else:
    _begin_with_weights(last, run, first, checkpoints)
  checkpoints.wait()
  keep_start(run.folder, start)


def _begin_with_state(origin: Origin, last: Trained, run: Run, checkpoints: Checkpoints) -> None:
  """Saves copies of the other run's best checkpoint and of its last one."""
  if last.facts["fingerprint"] != run.dataset.fingerprint:
    raise RunError(
      f"the run in {origin.workdir} was trained on other data (fingerprint "
      f"{last.facts['fingerprint']}, now {run.dataset.fingerprint}); more epochs need the same"
    )
  best = (last.folder.result() or {}).get("best_validation") or {"step": last.step}
  copied = [last] if best["step"] == last.step else [trained.read(origin.workdir, best=True), last]
  rows = last.folder.metrics()
  for found in copied:
    start_rows(run, found.step, rows)
    accuracy = next((row.get(_ACCURACY) for row in rows if row["step"] == found.step), None)
    checkpoints.save(found.step, (found.state, found.metrics), run.about(), accuracy)
  run.console.line(f"going on from step {last.step} of the run in {origin.workdir}")
  if run.config.schedule.name in _FOLLOWING_THE_LENGTH:
    run.console.line(
      f"the learning rate is from now on that of a {run.config.schedule.name!r} schedule of "
      f"{run.timetable.total_steps} steps"
    )


def _begin_with_weights(last: Trained, run: Run, first: Any, checkpoints: Checkpoints) -> None:
  """Saves the state before the first step, with the weights that the other run evaluates."""
  new, metrics = first
  found = evaluation_variables(last.state, last.config)
  variables = {name: found[name] for name in ("params", "batch_stats") if name in found}
  wanted = {"params": new.params, **new.model_state}
  _check_same_net(last, variables, {name: wanted.get(name, {}) for name in variables})
  state = jax.jit(initializer(run.config, run.spec))(traced(run.config), variables)
  start_rows(run, 0, [])
  checkpoints.save(0, (state, metrics), run.about())
  run.console.line(
    f"starting with the weights of step {last.step} of the run in {last.folder.path}"
  )


def _check_same_net(last: Trained, held: Any, wanted: Any) -> None:
  shapes = [
    {jax.tree_util.keystr(path, simple=True, separator="/"): leaf.shape for path, leaf in leaves}
    for leaves in map(jax.tree_util.tree_leaves_with_path, (held, wanted))
  ]
  for name in sorted(shapes[0].keys() | shapes[1].keys()):
    there, here = (side.get(name) for side in shapes)
    if there != here:
      raise UsageError(
        f"the weights of {last.folder.path} do not fit this config's net: {name} is "
        f"{there or 'missing'} there and {here or 'missing'} here"
      )


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
