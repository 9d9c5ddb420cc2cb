"""All points of a sweep: their folders, their groups, and the populations in which they train."""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from mnist_mlp import config as config_lib
from mnist_mlp import data
from mnist_mlp.errors import UsageError
from mnist_mlp.run import environment
from mnist_mlp.run.console import Console
from mnist_mlp.run.memory import free_bytes
from mnist_mlp.run.workdir import Workdir
from mnist_mlp.sweeps import folders
from mnist_mlp.sweeps.group import Group, group_key
from mnist_mlp.sweeps.member import UNFINISHED, Member
from mnist_mlp.sweeps.points import Point
from mnist_mlp.sweeps.population import Population

_FILES = 2  # that a member has open while it trains: its lock and its events
_OTHER_FILES = 150  # of libraries, data and checkpoints


class Sweep:
  """All points of a sweep."""

  def __init__(self, points: Sequence[Point], folder: Path, console: Console):
    """Reads which runs the folder holds already. Writes nothing."""
    self.points, self.folder, self.console = list(points), Path(folder), console
    self.folders = folders.look(self.folder, self.points)
    self.members = [
      Member(point, self.folder, name)
      for point, name in zip(self.points, self.folders.names, strict=True)
    ]
    self._by_name = {member.name: member for member in self.members}
    self._groups: dict[str, Group] = {}
    self._datasets: dict[str, data.Dataset] = {}
    self._training: Group | None = None  # the group that this process trains

  def check_folder(self) -> None:
    """Says which runs of the folder are no points of the sweep.

    Raises:
      UsageError: the folder is that of a run, or that of another sweep.
    """
    self.folders.check(self.folder, self.points)
    if about := self.folders.about_left(self.folder):
      self.console.line(about)

  def group(self, member: Member) -> Group:
    """Returns the member's group; loads its data at the first call.

    Raises:
      UsageError: the config does not fit the data; the message names the point.
      RunError: the data cannot be had.
    """
    key = group_key(member.config)
    if key not in self._groups:
      try:
        self._groups[key] = group = Group(member.config, self._dataset(member))
      except UsageError as error:
        point = f"point {member.point.index} of the sweep, {member.point.overrides!r}"
        raise UsageError(f"{point}: {error}") from error
      for line in filter(None, (group.shrunk, group.placed)):
        self.console.line(line)
    return self._groups[key]

  def make_room_for(self, group: Group) -> None:
    """Lets go of the programs and data on the device of the group that trained before another."""
    if self._training is not None and self._training is not group:
      self._training.release()
      environment.free_programs()
    self._training = group

  def _dataset(self, member: Member) -> data.Dataset:
    key = _data_key(member)
    if key not in self._datasets:
      held = self._data_of(key)
      self._datasets[key] = data.load(member.config.data, report=self.console.line, only=held)
    return self._datasets[key]

  def _data_of(self, key: str) -> dict[str, Any] | None:
    """Returns what the runs on the same data note about them, if one was started before.

    Otherwise new runs of a sweep might get MNIST, and its old ones the stand-in.
    """
    for member in self.members:
      if _data_key(member) == key and (held := member.folder.read_json("dataset.json")):
        return held
    return None

  def populations(
    self, members: Sequence[Member], largest: int, key: Callable[[ConfigDict], str] = group_key
  ) -> list[Population]:
    """Returns populations that hold the unfinished ones of some members.

    A population that was begun before goes on as it was, with all that were in it. The other
    members form new populations.

    Args:
      members: some of the sweep's.
      largest: how many members a new population may have; 0 is as many as fit in memory.
      key: only members with the same key share a new population: `group_key`, or something finer.
    """
    waiting = {member.name: member for member in members if member.status() == UNFINISHED}
    found = []
    for population in self._begun():
      if any(member.name in waiting for member in population.members):
        found.append(population)
        for member in population.members:
          waiting.pop(member.name, None)
    for same in alike(waiting.values(), key):
      for together in self._of_one_order(same, largest):
        found += self._split(together, largest)
    return found

  def _of_one_order(self, members: list[Member], largest: int) -> list[list[Member]]:
    """Returns members in lists of one seed if their examples are streamed, in one order."""
    if not self.group(members[0]).streams:
      return [members]
    lists: dict[int, list[Member]] = {}
    for member in members:
      lists.setdefault(member.config.seed, []).append(member)
    if len(lists) > 1 and largest != 1:
      self.console.line(
        f"{len(members)} runs train as {len(lists)} populations, one for each seed: their examples "
        "are streamed from the host, in an order that follows from the seed"
      )
    return list(lists.values())

  def _begun(self) -> Iterable[Population]:
    """Yields the populations that have a folder, those furthest in successive halving first."""
    paths = [path.parent for path in (self.folder / "populations").glob("*/members.json")]
    for path in sorted(paths, key=_stage, reverse=True):
      held = Workdir(path).read_json("members.json")
      names = held["members"] if held else []  # Another process may just have finished it.
      known = set(names) & set(self._by_name)
      if known and len(known) == len(names):
        yield self.population(path, names)
      elif known:
        self.console.line(
          f"{path} is passed over, since it holds runs that are no longer in the sweep: its other "
          "runs start anew"
        )

  def population(self, path: Path, names: Sequence[str]) -> Population:
    """Returns the population of some members, by their names."""
    members = [self._by_name[name] for name in names]
    return Population(path, self.group(members[0]), members)

  def _split(self, members: Sequence[Member], largest: int) -> list[Population]:
    group = self.group(members[0])
    # Half of the memory, because the need is an estimate.
    fitting = int(free_bytes() / 2 / group.bytes_per_member)
    most = max(1, min(largest or fitting, _openable()))
    size = math.ceil(len(members) / math.ceil(len(members) / most))
    parts = [members[start : start + size] for start in range(0, len(members), size)]
    return [Population(self._path(part), group, list(part)) for part in parts]

  def _path(self, members: Sequence[Member]) -> Path:
    text = "".join(member.name + config_lib.to_json(member.config) for member in members)
    return self.folder / "populations" / hashlib.sha256(text.encode()).hexdigest()[:12]


def alike(members: Iterable[Member], key: Callable[[ConfigDict], str]) -> list[list[Member]]:
  """Returns the members in lists whose configs have the same key."""
  lists: dict[str, list[Member]] = {}
  for member in members:
    lists.setdefault(key(member.config), []).append(member)
  return list(lists.values())


def _openable() -> int:
  """Returns how many members may have their files open in this process."""
  return (environment.open_files() - _OTHER_FILES) // _FILES


def _data_key(member: Member) -> str:
  return json.dumps(member.config.data.to_dict(), sort_keys=True)


def _stage(path: Path) -> tuple[int, str]:
  """Returns what populations are sorted by: the step at which a part of them was stopped early."""
  return int(path.name.partition("-")[2] or 0), path.name
