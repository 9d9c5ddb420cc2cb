"""Populations: members of a group that train together as one program, and their folder.

A population goes on from its folder after it was interrupted. The folder is gone in the end.

    members.json    who is in it, in the order of the arrays' first axis
    checkpoints/    Orbax: all that the population has to remember, as one tree
"""

import contextlib
import dataclasses
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax

from mnist_mlp.errors import UsageError
from mnist_mlp.run import environment
from mnist_mlp.run.checkpoint import Checkpoints
from mnist_mlp.run.console import Console
from mnist_mlp.run.history import Row
from mnist_mlp.run.run import Run, check_same_data
from mnist_mlp.run.workdir import Workdir
from mnist_mlp.sweeps import stacked
from mnist_mlp.sweeps.group import Group
from mnist_mlp.sweeps.member import UNFINISHED, Member


@dataclasses.dataclass(frozen=True)
class Manner:
  """How a population trains, besides what its members' configs say."""

  console: Console  # for the population as a whole
  save_every: float  # seconds between two checkpoints
  saved: Callable[[int], None] | None = None  # is called with a checkpoint's step, once it is safe


@dataclasses.dataclass
class Population:
  """Some members of a group, in the order of the arrays' first axis, and their common folder."""

  path: Path
  group: Group
  members: list[Member]

  def template(self) -> Any:
    """Returns shapes and dtypes of the tree in its checkpoints."""
    configs = [member.config for member in self.members]
    return jax.eval_shape(lambda: stacked.pack(self.group.initial(configs)))

  def seed(self) -> int:
    """Returns the seed of its order of examples, which all members share if they are streamed.

    Raises:
      UsageError: they are streamed, and do not.
    """
    seeds = {member.config.seed for member in self.members}
    if self.group.streams and len(seeds) > 1:
      raise UsageError(
        f"{self.path} was begun with members of {len(seeds)} seeds, whose examples come in as many "
        "orders, so that they cannot be streamed together; use --config.data.placement=device, or "
        "another --workdir"
      )
    return min(seeds)

  def checkpoints(self, console: Console) -> Checkpoints:
    """Opens its checkpoints."""
    return Checkpoints(self.path / "checkpoints", report=console.line)

  def restore(self, checkpoints: Checkpoints) -> tuple[int, stacked.Tree]:
    """Returns (step, tree) of its last checkpoint, or of the beginning if there is none."""
    restored = checkpoints.restore_latest(self.template())
    if restored is None:
      return 0, self.group.initial([member.config for member in self.members])
    step, packed = restored
    return step, stacked.unpack(packed)

  def rows(self, checkpoints: Checkpoints, step: int) -> dict[str, list[Row] | None]:
    """Returns by member the rows that its checkpoint of a step holds; None if it holds none."""
    held = checkpoints.exist() and step in checkpoints.steps()
    saved = checkpoints.about(step).get("rows", {}) if held else {}
    return {member.name: saved.get(member.name) for member in self.members}

  def unfinished(self) -> list[int]:
    """Returns the rows of the members that have to train on."""
    return [row for row, m in enumerate(self.members) if m.status() == UNFINISHED]

  @contextlib.contextmanager
  def claim(self) -> Iterator[dict[int, Run]]:
    """Holds the folders of the population and of its unfinished members for this process.

    Yields:
      The runs of the unfinished members, by their rows.

    Raises:
      HeldError: another process trains the population, or one of these members.
      UsageError: a member's folder holds a run of another config.
      RunError: a folder cannot be written, or its run was started on other data.
    """
    about = environment.describe()
    with contextlib.ExitStack() as stack:
      stack.enter_context(Workdir(self.path).lock())
      rows = self.unfinished()
      for row in rows:
        member = self.members[row]
        stack.enter_context(member.folder.claim(member.config))
        check_same_data(member.folder, self.group.dataset)
      if rows:
        self.note_members()
      yield {row: self.members[row].run(self.group, about) for row in rows}

  def note_members(self) -> None:
    """Writes members.json."""
    names = [member.name for member in self.members]
    Workdir(self.path).write_json("members.json", {"members": names})

  def remove(self) -> None:
    """Deletes its folder."""
    shutil.rmtree(self.path, ignore_errors=True)
