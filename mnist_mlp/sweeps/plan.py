"""Where the runs of a sweep compute: which populations there are, who trains them, how far.

An engine is a way to train a list of populations up to a share of their length. All engines share
the folders of `trials.py`, so that one can go on with what another began.
"""

import contextlib
import hashlib
import json
import math
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from multiprocessing.connection import wait
from pathlib import Path
from typing import NamedTuple

import jax
from ml_collections import ConfigDict

from mnist_mlp import config as config_lib
from mnist_mlp.data import dataset as data
from mnist_mlp.errors import HeldError, Interrupted, RunError, UsageError
from mnist_mlp.run import cli as commandline
from mnist_mlp.run import environment
from mnist_mlp.run.console import Console
from mnist_mlp.run.tensorboard import trial_id
from mnist_mlp.run.workdir import Workdir
from mnist_mlp.sweeps.points import Point
from mnist_mlp.sweeps.population import Group, free_bytes, group_key
from mnist_mlp.sweeps.trials import DIVERGED, UNFINISHED, Member, Population, stop_early

# On a CPU, nets with fewer weights train faster side by side in one program.
_VMAP_WEIGHTS = 50_000


class Options(NamedTuple):
  """How to train a sweep."""

  engine: str = "auto"  # 'vmap', 'processes', 'ray'; 'auto' is one of the first two
  max_members: int = 0  # largest population; 0 is as many as fit in memory
  processes: int = 0  # of the engine 'processes'; 0 is one for each core
  halving: int = 0  # at each rung, one run in so many goes on; 0 is off
  save_every: float = 30.0  # seconds between two checkpoints of a population
  ray_address: str = ""  # of the engine 'ray'; '' is a cluster of this machine alone


class Sweep:
  """All points of a sweep, their folders, their groups."""

  def __init__(self, points: Sequence[Point], folder: Path, console: Console):
    """Touches no folder yet."""
    self.points, self.folder, self.console = list(points), Path(folder), console
    self.members = [Member(point, self.folder) for point in points]
    self._by_name = {member.name: member for member in self.members}
    self._groups: dict[str, Group] = {}
    self._datasets: dict[str, data.Dataset] = {}

  def group(self, member: Member) -> Group:
    """Returns the member's group; loads its data at the first call.

    Raises:
      UsageError: the config does not fit the data; names the point.
      RunError: the data cannot be had.
    """
    key = group_key(member.config)
    if key not in self._groups:
      try:
        self._groups[key] = Group(member.config, self._dataset(member))
      except UsageError as error:
        raise UsageError(
          f"point {member.point.index} of the sweep, {member.point.overrides!r}: {error}"
        ) from error
    return self._groups[key]

  def _dataset(self, member: Member) -> data.Dataset:
    key = json.dumps(member.config.data.to_dict(), sort_keys=True)
    if key not in self._datasets:
      held = member.folder.read_json("dataset.json")
      self._datasets[key] = data.load(
        member.config.data, report=self.console.line, only=held["name"] if held else None
      )
    return self._datasets[key]

  def populations(
    self, members: Sequence[Member], largest: int, key: Callable[[ConfigDict], str] = group_key
  ) -> list[Population]:
    """Returns populations that hold the unfinished ones of some members.

    What was begun before goes on as it was, with all that were in it; the others form new ones, of
    at most `largest` members, or as many as fit in memory if that is 0, whose configs have the same
    `key`: `group_key`, or something finer.
    """
    waiting = {member.name: member for member in members if member.status() == UNFINISHED}
    found = []
    for population in self._begun():
      if any(member.name in waiting for member in population.members):
        found.append(population)
        for member in population.members:
          waiting.pop(member.name, None)
    for same in _alike(waiting.values(), key):
      found += self._split(same, largest)
    return found

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
          f"{path} is passed over, since it holds runs that are no longer in the "
          "sweep: the others of it start anew"
        )

  def population(self, path: Path, names: Sequence[str]) -> Population:
    """Returns the population of some members, by their names."""
    members = [self._by_name[name] for name in names]
    return Population(path, self.group(members[0]), members)

  def _split(self, members: Sequence[Member], largest: int) -> list[Population]:
    group = self.group(members[0])
    # Half, because the estimate is one.
    fitting = max(1, int(free_bytes() / 2 / group.bytes_per_member))
    parts = math.ceil(len(members) / (largest or fitting))
    size = math.ceil(len(members) / parts)
    parts = [members[start : start + size] for start in range(0, len(members), size)]
    return [Population(self._path(part), group, part) for part in parts]

  def _path(self, members: Sequence[Member]) -> Path:
    text = "".join(member.name + config_lib.to_json(member.config) for member in members)
    return self.folder / "populations" / hashlib.sha256(text.encode()).hexdigest()[:12]


def _alike(members: Iterable[Member], key: Callable[[ConfigDict], str]) -> list[list[Member]]:
  """Returns the members in groups whose configs have the same key."""
  groups: dict[str, list[Member]] = {}
  for member in members:
    groups.setdefault(key(member.config), []).append(member)
  return list(groups.values())


def _stage(path: Path) -> tuple[int, str]:
  """Returns by what to sort populations: the step at which a part of them was stopped early."""
  return int(path.name.partition("-")[2] or 0), path.name


def run(sweep: Sweep, members: Sequence[Member], options: Options) -> None:
  """Trains the unfinished ones of some members to their end.

  Raises:
    UsageError: an option is wrong, or a config does not fit its data.
    RunError: files or data cannot be used, or a process broke down.
    Interrupted: SIGINT or SIGTERM arrived; everything is saved.
  """
  for member in members:
    member.folder.check_config(member.config)
    sweep.group(member)
  engine = options.engine if options.engine != "auto" else choose_engine(sweep, members, options)
  if engine == "ray":
    from mnist_mlp.sweeps import ray_engine  # Here because Ray is an extra.

    ray_engine.run(sweep, members, options)
    return
  train, largest = {
    "vmap": (_train_here, options.max_members),
    "processes": (_train_in_processes, options.max_members or 1),
  }[engine]
  contestants = list(members)
  rungs = _rungs(sweep, members, options.halving)
  if options.halving and not rungs:
    sweep.console.line(
      f"--halving={options.halving} stops nobody: it takes {options.halving} trials, seeds not "
      "counted, and as many evaluations"
    )
  for share in rungs:
    train(sweep, sweep.populations(contestants, largest), share, options)
    contestants = _halve(sweep, contestants, share, options)
  train(sweep, sweep.populations(contestants, largest), 1.0, options)


def choose_engine(sweep: Sweep, members: Sequence[Member], options: Options) -> str:
  """Returns 'processes' for large nets on several cores of a CPU, where it is faster; else 'vmap'.

  Measured on two cores of an AMD EPYC with batches of 128, as time per run relative to lone runs
  one after the other: 32 nets of 784-32-10 take 0.41 in one program, and 0.47 in two processes of
  one thread; of 784-64-32-10 0.66 and 0.60; of 784-128-64-10 0.86 and 0.58; eight of
  784-512-512-10 0.84 and 0.76.
  """
  weights = max((sweep.group(member).num_weights for member in members), default=0)
  alone = jax.default_backend() != "cpu" or _num_processes(options) == 1 or len(members) == 1
  return "vmap" if alone or weights < _VMAP_WEIGHTS else "processes"


def _train_here(sweep: Sweep, populations: Sequence[Population], share: float, options) -> None:
  for number, population in enumerate(populations, 1):
    sweep.console.line(
      f"population {number} of {len(populations)}: {len(population.members)} runs of "
      f"{population.group.num_weights:,} weights as one program"
    )
    population.train_to(share, sweep.console, options.save_every)


# Successive halving: Jamieson & Talwalkar 2016, "Non-stochastic best arm identification and
# hyperparameter optimization"; the rungs are those of Li et al. 2020, "A system for massively
# parallel hyperparameter tuning".


def _rungs(sweep: Sweep, members: Sequence[Member], rate: int) -> list[float]:
  """Returns the shares of a run's length at which all but one in `rate` are stopped, ascending."""
  if not rate:
    return []
  evaluations = min(
    group.length.total_steps / group.eval_every for group in map(sweep.group, members)
  )
  trials = len(_alike(members, trial_id))
  # With less than one evaluation, there would be nothing to go by.
  most = min(math.log(trials, rate), math.log(max(evaluations, 1), rate)) + 1e-9
  return [float(rate) ** -k for k in range(int(most), 0, -1)]


def _halve(
  sweep: Sweep, contestants: Sequence[Member], share: float, options: Options
) -> list[Member]:
  """Stops all trials but the best one in `options.halving`; returns the members of the others.

  Trials are compared by their means over seeds. It depends only on what the members' metrics say of
  the rung, so that a sweep which was killed and started again decides as before.
  """

  def mean(trial):
    return sum(_accuracy(m, sweep.group(m).step_at(share)) for m in trial) / len(trial)

  ranking = sorted(_alike(contestants, trial_id), key=mean, reverse=True)
  winners = ranking[: math.ceil(len(ranking) / options.halving)]
  going_on = [member for trial in winners for member in trial]
  losers = {member.name for member in contestants if member not in going_on}
  for population in sweep.populations(contestants, 1):
    # Also those that were stopped already, if the sweep was killed in the middle of this.
    own = [member for member in population.members if member.name in losers]
    if own:
      stop_early(population, own, sweep.console)
  sweep.console.line(
    f"after {100 * share:.3g}% of the training, {len(going_on)} of {len(contestants)} runs go on"
  )
  return [member for member in contestants if member in going_on]


def _accuracy(member: Member, step: int) -> float:
  rows = {row["step"]: row for row in member.folder.metrics()}
  if member.status() == DIVERGED or step not in rows:
    return -math.inf
  return rows[step]["validation/accuracy"]


# One process for each core, each with one thread. Nobody deals out the populations: every process
# goes through all of them, and passes over those that another one holds.


def _num_processes(options: Options) -> int:
  if options.processes:
    return options.processes
  return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _train_in_processes(
  sweep: Sweep, populations: Sequence[Population], share: float, options: Options
) -> None:
  if jax.default_backend() != "cpu":
    raise UsageError("--engine=processes is for CPUs; use --engine=vmap with this device")
  count = min(_num_processes(options), len(populations))
  sweep.console.line(f"{len(populations)} populations in {count} processes of one thread each")
  context = multiprocessing.get_context("spawn")
  plan = [(population.path, [m.name for m in population.members]) for population in populations]
  workers = [
    context.Process(target=_work, args=(i, sweep.points, sweep.folder, plan, share, options))
    for i in range(count)
  ]
  with environment.StopSignals() as signals:
    for worker in workers:
      worker.start()
    forwarded = False
    while running := [worker for worker in workers if worker.is_alive()]:
      wait([worker.sentinel for worker in running], timeout=0.2)
      if signals.received and not forwarded:
        forwarded = True
        for worker in running:
          worker.terminate()
  if signals.received:
    raise Interrupted(
      f"interrupted by {signals.received.name}; the sweep is saved", signals.received
    )
  failed = [worker.exitcode for worker in workers if worker.exitcode]
  if failed:
    raise RunError(
      f"{len(failed)} of {count} processes ended with exit code {failed[0]}; what they saved "
      "is kept, and the same command goes on with it"
    )
  for population in populations:
    _check_reached(population, share)


def _check_reached(population: Population, share: float) -> None:
  """Raises a HeldError if members are not as far as they should be: they were passed over."""
  step = population.group.step_at(share)
  for member in population.members:
    if member.status() == UNFINISHED and (
      share == 1.0 or step not in {row["step"] for row in member.folder.metrics()}
    ):
      raise HeldError(
        f"{member.folder.path} is in use by another run; wait for it, and start this sweep again"
      )


def _work(
  number: int,
  points: Sequence[Point],
  folder: Path,
  plan: Sequence[tuple[Path, list[str]]],
  share: float,
  options: Options,
) -> None:
  """Trains, in a process of its own, the populations that no other process holds."""
  commandline.collect_garbage_rarely()
  environment.use_compilation_cache()
  _use_one_core(number)
  threading.Thread(target=_end_with_parent, daemon=True).start()
  with commandline.user_errors():
    sweep = Sweep(points, folder, _Quiet())
    for path, names in plan:
      with contextlib.suppress(HeldError):
        sweep.population(path, names).train_to(share, Console(), options.save_every)


class _Quiet(Console):
  def line(self, text: str) -> None:
    pass


def _use_one_core(number: int) -> None:
  """Must come before JAX starts its threads."""
  if hasattr(os, "sched_setaffinity"):
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[number % len(cores)]})
  else:
    os.environ["XLA_FLAGS"] = (
      os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false"
    )


def _end_with_parent() -> None:
  """Ends this process when its parent is gone: what it did since its last checkpoint is redone."""
  wait([multiprocessing.parent_process().sentinel])
  os._exit(1)
