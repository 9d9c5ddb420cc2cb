"""Orbax checkpoints: saved without waiting, the last two and the best kept, verified on restore.

A checkpoint is a folder `<step>/` with two items: `state`, a pytree of arrays, and `about`, JSON.
`about` holds what belongs to them, such as the config, and digests of both: Orbax itself restores
damaged arrays without a word.

A checkpoint is flushed to the disk before the next one is begun, so before older ones are removed.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np
from etils import epy

from mnist_mlp.errors import RunError, UserError
from mnist_mlp.run import checkpoint_files, digests, durable
from mnist_mlp.run.literal import plain_name
from mnist_mlp.run.team import ALONE, Team

with epy.lazy_imports():  # A new run needs Orbax only once its device computes already.
  import orbax.checkpoint as ocp
  from orbax.checkpoint import checkpoint_managers


class Checkpoints:
  """The checkpoints in one folder. A context manager: leaving it waits for the last save."""

  def __init__(self, folder: Path, report: Callable[[str], None] = print, team: Team = ALONE):
    """Opens the folder, and makes it if it is missing.

    Args:
      folder: where the numbered checkpoint folders lie.
      report: is called with a line for each checkpoint that turns out damaged.
      team: the processes that save together. All call the same methods, in the same order.

    Raises:
      RunError: the folder cannot be made, or holds checkpoints of which none is complete.
    """
    self.folder = Path(folder).absolute()
    self._report, self._team = report, team
    self._opened: Any = None  # Orbax's manager, once it is needed
    self._resources = contextlib.ExitStack()  # of the manager
    self._settler = ThreadPoolExecutor(max_workers=1)
    self._settling: Future | None = None  # the end of the last save, and what comes after it
    self._last_saved: Any = None  # its step, and the shapes and dtypes of its arrays
    self._read_back = False  # whether a checkpoint of this process was read back
    if team.leads:
      self._put_in_order()
    team.gather("the folder is in order")

  @property
  def _manager(self) -> "ocp.CheckpointManager":
    if self._opened is None:
      self._opened = self._open()
    return self._opened

  def _open(self) -> "ocp.CheckpointManager":
    policies = checkpoint_managers.AnyPreservationPolicy(
      [
        checkpoint_managers.LatestN(2),
        checkpoint_managers.BestN(
          get_metric_fn=checkpoint_files.accuracy, n=1, keep_checkpoints_without_metrics=False
        ),
      ]
    )
    return ocp.CheckpointManager(
      self._resources.enter_context(plain_name(self.folder)),
      options=ocp.CheckpointManagerOptions(
        preservation_policy=policies,
        best_fn=checkpoint_files.accuracy,
        cleanup_tmp_directories=True,
        enable_async_checkpointing=True,
        # Asynchronously, Orbax waits five minutes for a folder that cannot be made.
        async_options=ocp.AsyncOptions(create_directories_asynchronously=False),
      ),
    )

  def __enter__(self) -> "Checkpoints":
    """Returns itself."""
    return self

  def __exit__(self, *_: Any) -> None:
    """Waits for the last save; raises a RunError if it failed."""
    if self._opened:
      with self._resources, self._settler:
        self.wait()
        with self._saving():
          self._opened.close()

  def save(
    self, step: int, tree: Any, about: Mapping[str, Any], accuracy: float | None = None
  ) -> None:
    """Starts to save; returns once the arrays are copied.

    Args:
      step: int, not below any saved one; a step that is already saved is left as it is.
      tree: a pytree of arrays.
      about: JSON-able facts to keep beside it.
      accuracy: the validation accuracy by which the best is chosen; None or NaN never is.

    Raises:
      RunError: this save, or the one before it, failed.
    """
    self.wait()
    if step in self.steps():
      return
    tree = jax.tree.map(np.asarray, tree)
    accuracy = -math.inf if accuracy is None or math.isnan(accuracy) else accuracy
    with self._saving():
      self._manager.save(
        step,
        args=ocp.args.Composite(
          state=ocp.args.StandardSave(tree), about=ocp.args.JsonSave(digests.sealed(about, tree))
        ),
        metrics={checkpoint_files.METRIC: accuracy},
      )
    shapes = jax.tree.map(ocp.utils.to_shape_dtype_struct, tree)
    self._settling = self._settler.submit(self._settle, step, shapes)
    self._last_saved = step, shapes

  def wait(self) -> None:
    """Returns when all saves are flushed to the disk; raises a RunError if one failed."""
    if self._settling:
      settling, self._settling = self._settling, None
      with self._saving():
        try:
          settling.result()
        finally:  # Orbax raises an error anew until its caller's own thread has seen it.
          self._opened.wait_until_finished()
        if not self._read_back:
          self._check_readable(*self._last_saved)

  def _settle(self, step: int, template: Any) -> None:
    """Waits for a save, flushes it, and reads it back if it is the first one of this process.

    Processes of a team read it in `wait`: Orbax lets devices wait for each other then, which must
    come in the same order as what else the processes compute.
    """
    self._opened.wait_until_finished()
    if self._team.leads:
      durable.sync_tree(self.folder / str(step))
    if not self._read_back and self._team.size == 1:
      self._check_readable(step, template)

  def _check_readable(self, step: int, template: Any) -> None:
    try:  # What cannot be read is to be noticed now, not at the end.
      self.restore(step, template)
    except RunError as error:
      raise RunError(f"what was just saved cannot be read back: {error}") from error
    self._read_back = True

  @contextlib.contextmanager
  def _saving(self) -> Iterator[None]:
    try:
      yield
    except UserError:
      raise
    except Exception as error:  # Orbax raises whatever its parts raise.
      raise RunError(f"cannot save a checkpoint in {self.folder}: {_reason(error)}") from error

  def exist(self) -> bool:
    """Returns whether anything was saved before."""
    return any(path.name.isdigit() for path in self.folder.iterdir())

  def steps(self) -> list[int]:
    """Returns the saved steps, ascending."""
    return sorted(self._manager.all_steps())

  def best(self) -> dict[str, Any] | None:
    """Returns step and accuracy of the best validation, the latest of equals; None without one."""
    self.wait()
    step = self._manager.best_step()
    accuracy = -math.inf if step is None else checkpoint_files.accuracy(self._manager.metrics(step))
    return None if accuracy == -math.inf else {"step": step, "accuracy": accuracy}

  def diverged(self, step: int) -> RunError:
    """Returns the error that ends a run whose loss became NaN or infinite at a step."""
    self.wait()
    saved = self.steps()
    good = f"the last good checkpoint is that of step {saved[-1]}" if saved else "nothing was saved"
    return RunError(
      f"the loss became NaN or infinite at step {step}; {good}; a smaller "
      "config.optimizer.learning_rate or a config.optimizer.clip_norm may help"
    )

  def restore(self, step: int, template: Any) -> Any:
    """Returns the tree saved at `step`.

    Args:
      step: one of `steps()`.
      template: a tree of the same structure, of arrays or jax.ShapeDtypeStruct.

    Raises:
      RunError: the checkpoint is damaged, or does not fit the template.
    """
    return _restore(
      lambda args: self._manager.restore(step, args=args), self.folder / str(step), template
    )

  def about(self, step: int) -> dict[str, Any]:
    """Returns what was saved beside the tree of a step that was restored."""
    about = self._manager.restore(step, args=ocp.args.Composite(about=ocp.args.JsonRestore())).about
    return digests.opened(about)

  def restore_latest(self, template: Any) -> tuple[int, Any] | None:
    """Returns (step, tree) of the last checkpoint that is whole, or None if there never was one.

    Damaged ones are reported and, where an earlier one is whole, moved to `damaged/` beside the
    folder.

    Raises:
      RunError: there are checkpoints, but none is whole.
    """
    if not self.exist():
      return None
    damaged = []
    for step in reversed(self.steps()):
      try:
        tree = self.restore(step, template)
      except RunError as error:
        self._report(f"{error}; trying the one before it")
        damaged.append(step)
        continue
      self._team.check_same(step, "last whole checkpoint", f"see to the disk of {self.folder}")
      for bad in damaged if self._team.leads else ():
        self._set_aside(bad)
      self._team.gather("the damaged ones are gone")
      self._manager.reload()
      return step, tree
    raise self._none_whole()

  def _set_aside(self, step: int) -> None:
    target = self.folder.parent / "damaged" / str(step)
    target.parent.mkdir(exist_ok=True)
    while target.exists():
      target = target.with_name(target.name + "_")
    (self.folder / str(step)).rename(target)

  def _put_in_order(self) -> None:
    """Makes the folder; moves away checkpoints without their parts, which break Orbax's manager."""
    try:
      self.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
      raise RunError(f"cannot make the folder {self.folder}: {error.strerror}") from error
    paths = [path for path in self.folder.iterdir() if path.name.isdigit()]
    incomplete = [path for path in paths if not checkpoint_files.is_complete(path)]
    if incomplete and incomplete == paths:
      raise self._none_whole()
    for path in incomplete:
      self._report(f"the checkpoint {path} is damaged: it is not complete; moved to damaged/")
      self._set_aside(int(path.name))

  def _none_whole(self) -> RunError:
    return RunError(
      f"no checkpoint in {self.folder} is whole; to start over, use another --workdir"
    )


def read(folder: Path, template: Any, *, best: bool = False) -> tuple[int, Any]:
  """Returns (step, tree) of the last checkpoint; changes nothing, so that the run may be going on.

  Args:
    folder: where the numbered checkpoint folders lie.
    template: as for `Checkpoints.restore`.
    best: takes the best validation accuracy instead, the latest of equals.

  Raises:
    RunError: there is no such checkpoint, or the one there is damaged.
  """
  folder = Path(folder).absolute()
  step = _find(folder, best)
  while True:
    try:
      return step, _read(folder / str(step), template)
    except RunError:
      tried, step = step, _find(folder, best)
      if step == tried:
        raise  # It is damaged. A run that goes on may have removed the one that was tried.


def _find(folder: Path, best: bool) -> int:
  """Returns the last step, or the best one; raises a RunError if there is none."""
  found = {
    int(path.name): checkpoint_files.accuracy(metrics)
    for path in folder.glob("[0-9]*")
    if path.name.isdigit() and (metrics := checkpoint_files.metrics(path))
  }
  if best:
    found = {step: accuracy for step, accuracy in found.items() if accuracy > -math.inf}
  if not found:
    kind = "no checkpoint with a validation accuracy" if best else "no whole checkpoint"
    raise RunError(f"there is {kind} in {folder}")
  return max(found, key=lambda step: (found[step] if best else 0, step))


def _read(path: Path, template: Any) -> Any:
  with plain_name(path) as name, ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
    return _restore(lambda args: checkpointer.restore(name, args=args), path, template)


def _restore(restore: Callable[[Any], Any], path: Path, template: Any) -> Any:
  """Returns the tree that Orbax's `restore` gives, checked."""
  abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, template)
  try:
    restored = restore(
      ocp.args.Composite(state=ocp.args.StandardRestore(abstract), about=ocp.args.JsonRestore())
    )
    whole = digests.is_whole(restored.about, restored.state)
  except Exception as error:  # Whatever Orbax trips over, the file is of no use.
    raise RunError(f"the checkpoint {path} is damaged: {_reason(error)}") from error
  if not whole:
    raise RunError(f"the checkpoint {path} is damaged: its digest differs")
  # If shapes differ, Orbax restores what was saved without a word.
  saved, wanted = (
    [leaf.shape for leaf in jax.tree.leaves(tree)] for tree in (restored.state, abstract)
  )
  if saved != wanted:
    raise RunError(f"the checkpoint {path} holds arrays of other shapes than the config's")
  return restored.state


def _reason(error: Exception) -> str:
  """Returns an error in one line of bearable length; TensorStore's fill a screen."""
  text = f"{type(error).__name__}: {error}".partition(" [tensorstore_spec")[0]
  text = " ".join(text.split())
  return text if len(text) < 250 else f"{text[:80]} ... {text[-160:]}"
