"""What an engine has to do: one plan, whatever the engine."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

from mnist_mlp.run import environment
from mnist_mlp.run.console import Console, clock
from mnist_mlp.sweeps.member import UNFINISHED
from mnist_mlp.sweeps.points import Point
from mnist_mlp.sweeps.population import Manner, Population
from mnist_mlp.sweeps.sweep import Sweep
from mnist_mlp.sweeps.training import train_to


class Options(NamedTuple):
  """How to train a sweep."""

  engine: str = "auto"  # 'vmap', 'processes', 'ray'; 'auto' is one of the first two
  max_members: int = 0  # largest population; 0 lets the engine choose
  processes: int = 0  # of the engine 'processes'; 0 is one for each core
  halving: int = 0  # at each rung, one setting in so many goes on; 0 is off
  save_every: float = 30.0  # seconds between two checkpoints of a population
  ray_address: str = ""  # of the engine 'ray'; '' is a cluster of this machine alone


@dataclasses.dataclass(frozen=True)
class Plan:
  """Populations to train, and how far.

  A plan can be pickled: a worker in another process opens the sweep and its populations by itself.
  """

  points: Sequence[Point]  # all of the sweep
  folder: Path  # of the sweep
  populations: Sequence[tuple[Path, list[str]]]  # the folder and the members' names of each
  share: float  # of each run's length; see `training.train_to`
  save_every: float  # seconds between two checkpoints
  started: float = dataclasses.field(default_factory=time.time)  # seconds since 1970

  @classmethod
  def of(
    cls, sweep: Sweep, populations: Sequence[Population], share: float, options: Options
  ) -> "Plan":
    """Returns the plan to train some populations of a sweep up to a share of their length."""
    named = [(p.path.absolute(), [member.name for member in p.members]) for p in populations]
    return cls(sweep.points, sweep.folder.absolute(), named, share, options.save_every)

  def open(self, console: Console) -> Sweep:
    """Returns the sweep, for a worker that knows only the plan."""
    return Sweep(self.points, self.folder, console)

  def train(
    self, sweep: Sweep, index: int, console: Console, saved: Callable[[int], None] | None = None
  ) -> None:
    """Trains the population of that index; see `training.train_to`.

    Args:
      sweep: as `open` gives it, or the sweep of which the plan was made.
      index: of the population in the plan.
      console: for the population as a whole.
      saved: is called with a checkpoint's step, once the checkpoint is on disk.
    """
    environment.open_files()
    population = sweep.population(*self.populations[index])
    sweep.make_room_for(population.group)
    train_to(population, self.share, Manner(console, self.save_every, saved))
    if self.share == 1.0:
      console.line(self._progress(sweep))

  def _progress(self, sweep: Sweep) -> str:
    """Returns '5 of 32 runs done, 3:10 left', whichever process trained them."""
    names = {name for _, of_population in self.populations for name in of_population}
    members = [member for member in sweep.members if member.name in names]
    done = sum(member.status() != UNFINISHED for member in members)
    left = (time.time() - self.started) / max(done, 1) * (len(members) - done)
    return f"{done} of {len(members)} runs done" + (f", {clock(left)} left" if left else "")


class Engine(AbstractContextManager, Protocol):
  """Where populations train. All engines use the same folders: one goes on where another stopped.

  An engine is a context manager, which is entered before it does anything.
  """

  # Whether it stops runs early by itself, while they train. Then all members of a population must
  # be of one setting.
  stops_early: bool

  def largest(self, num_members: int) -> int:
    """Returns how many of so many members a population may have; 0 is as many as fit in memory."""

  def train(self, sweep: Sweep, plan: Plan) -> None:
    """Trains the populations of a plan.

    Raises:
      UsageError: an option does not fit this machine.
      RunError: files or data cannot be used, or a process broke down.
      Interrupted: SIGINT or SIGTERM arrived; everything is saved.
    """
