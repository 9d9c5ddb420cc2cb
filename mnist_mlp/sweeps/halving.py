"""Early stopping by successive halving: at each rung, only the best settings go on.

Jamieson & Talwalkar, "Non-stochastic best arm identification and hyperparameter optimization",
2016. The rungs are those of Li et al., "A system for massively parallel hyperparameter tuning",
2020.
"""

import math
from collections.abc import Mapping, Sequence

from mnist_mlp.run import environment
from mnist_mlp.run.console import Console
from mnist_mlp.run.history import Row
from mnist_mlp.run.hparams import setting_id
from mnist_mlp.run.memory import fetch
from mnist_mlp.run.resuming import start_rows
from mnist_mlp.run.tensorboard import write_session_end
from mnist_mlp.sweeps import stacked
from mnist_mlp.sweeps.member import DIVERGED, STOPPED, UNFINISHED, Member, save
from mnist_mlp.sweeps.population import Population
from mnist_mlp.sweeps.sweep import Sweep, alike


def rungs(sweep: Sweep, members: Sequence[Member], factor: int) -> list[float]:
  """Returns the shares of a run's length at which one setting in `factor` goes on, ascending.

  There are none if `factor` is 0, or if there are too few settings or evaluations for it.
  """
  if not factor:
    return []
  timetables = [group.timetable for group in map(sweep.group, members)]
  evaluations = min(t.total_steps / t.eval_every for t in timetables)
  settings = len(alike(members, setting_id))
  # With less than one evaluation, there would be nothing to go by.
  most = min(math.log(settings, factor), math.log(max(evaluations, 1), factor)) + 1e-9
  return [float(factor) ** -k for k in range(int(most), 0, -1)]


def halve(sweep: Sweep, remaining: Sequence[Member], share: float, factor: int) -> list[Member]:
  """Stops all settings but the best one in `factor`; returns the members of those that go on.

  Settings are compared by their means over seeds. The choice depends only on what the members'
  metrics say of the rung, so that a sweep that was killed and started again chooses as before.
  """

  def mean(setting):
    steps = [sweep.group(member).timetable.evaluation_after(share) for member in setting]
    return sum(map(_accuracy, setting, steps)) / len(setting)

  ranking = sorted(alike(remaining, setting_id), key=mean, reverse=True)
  winners = ranking[: math.ceil(len(ranking) / factor)]
  going_on = [member for setting in winners for member in setting]
  stop(sweep, remaining, [member for member in remaining if member not in going_on])
  sweep.console.line(
    f"after {100 * share:.3g}% of the training, {len(going_on)} of {len(remaining)} runs go on"
  )
  return [member for member in remaining if member in going_on]


def _accuracy(member: Member, step: int) -> float:
  rows = {row["step"]: row for row in member.folder.metrics()}
  if member.status() == DIVERGED or step not in rows:
    return -math.inf
  return rows[step]["validation/accuracy"]


def stop(sweep: Sweep, members: Sequence[Member], losers: Sequence[Member]) -> None:
  """Ends some of the members where they stand; the rest of their populations goes on.

  A killed sweep may have stopped some losers already. Their populations must still shrink, so this
  goes through all populations of the members.
  """
  names = {member.name for member in losers}
  for population in sweep.populations(members, 1):
    own = [member for member in population.members if member.name in names]
    if own:
      stop_early(population, own, sweep.console)


def stop_early(
  population: Population, losers: Sequence[Member], console: Console
) -> Population | None:
  """Ends some members of a population whose last checkpoint is up to date.

  Their states stay in their folders, and each could be trained to its end alone. While more than
  half of the population goes on, the losers are only passed over. Once half or fewer go on, they
  become a smaller population, which is worth another compilation.

  Returns:
    The population that goes on, or None if nobody is left.
  """
  with population.checkpoints(console) as checkpoints:
    step, tree = population.restore(checkpoints)
    packed, metrics = fetch(stacked.pack(tree)), population.rows(checkpoints, step)
  about = environment.describe()
  for member in losers:
    if member.status() != UNFINISHED:
      continue
    run = member.run(population.group, about)
    start_rows(run, step, metrics[member.name])
    save(run, packed, population.members.index(member))
    write_session_end(member.folder.path, "success")
    member.stop(STOPPED, step)
  rows = population.unfinished()
  if not rows:
    population.remove()
    return None
  if 2 * len(rows) > len(population.members):
    return population
  return _smaller(population, rows, step, packed, metrics)


def _smaller(
  population: Population,
  rows: Sequence[int],
  step: int,
  packed: stacked.Tree,
  metrics: Mapping[str, list[Row] | None],
) -> Population:
  """Returns the population of some rows, with a checkpoint of its own; removes the old one."""
  name = population.path.name.partition("-")[0]
  members = [population.members[row] for row in rows]
  smaller = Population(population.path.with_name(f"{name}-{step}"), population.group, members)
  with smaller.checkpoints(Console(quiet=True)) as checkpoints:
    checkpoints.save(step, stacked.take(packed, rows), {"rows": metrics})
  smaller.note_members()
  population.remove()
  return smaller
