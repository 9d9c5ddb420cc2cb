"""Where the runs of a sweep compute, and how far: which engine, and which plans it gets."""

from collections.abc import Callable, Sequence

import jax

from mnist_mlp.run import environment
from mnist_mlp.run.hparams import setting_id
from mnist_mlp.sweeps import halving
from mnist_mlp.sweeps.engine_processes import ProcessesEngine, num_processes
from mnist_mlp.sweeps.engine_ray import RayEngine
from mnist_mlp.sweeps.engine_vmap import VmapEngine
from mnist_mlp.sweeps.member import UNFINISHED, Member
from mnist_mlp.sweeps.plan import Engine, Options, Plan
from mnist_mlp.sweeps.sweep import Sweep

ENGINES: dict[str, Callable[[Options], Engine]] = {
  "vmap": VmapEngine,
  "processes": ProcessesEngine,
  "ray": RayEngine,
}

# On a CPU, nets with fewer weights train faster side by side in one program.
_VMAP_WEIGHTS = 50_000


def run(sweep: Sweep, members: Sequence[Member], options: Options) -> None:
  """Trains the unfinished ones of some members to their end.

  Raises:
    UsageError: an option is wrong, a config does not fit its data, or the folder is another's.
    RunError: files or data cannot be used, or a process broke down.
    Interrupted: SIGINT or SIGTERM arrived; everything is saved.
  """
  sweep.check_folder()
  environment.free_programs()  # of runs and sweeps before, which this one cannot use
  for member in members:
    member.folder.check_config(member.config)
    sweep.group(member)
  name = choose_engine(sweep, members, options) if options.engine == "auto" else options.engine
  with ENGINES[name](options) as engine:
    if options.halving and engine.stops_early:
      _train_with_stops(sweep, members, engine, options)
    else:
      _train_in_rungs(sweep, members, engine, options)


def choose_engine(sweep: Sweep, members: Sequence[Member], options: Options) -> str:
  """Returns 'processes' for large nets on several cores of a CPU, where it is faster; else 'vmap'.

  Measured on two cores of an AMD EPYC with batches of 128: the time of a run, relative to lone runs
  one after the other.

                                 one program   two processes of one thread
      32 nets of 784-32-10              0.41                          0.47
      32 nets of 784-64-32-10           0.66                          0.60
      32 nets of 784-128-64-10          0.86                          0.58
      8 nets of 784-512-512-10          0.84                          0.76

  Four nets with two convolutions of 16 channels take 1.45 times the processor time of lone ones.
  """
  groups = [sweep.group(member) for member in members]
  alone = jax.default_backend() != "cpu" or num_processes(options) == 1 or len(members) == 1
  small = all(group.num_weights < _VMAP_WEIGHTS and group.member.scanned for group in groups)
  return "vmap" if alone or small else "processes"


def _train_in_rungs(
  sweep: Sweep, members: Sequence[Member], engine: Engine, options: Options
) -> None:
  """Trains to each rung of successive halving, stops the losers there, and trains the rest."""
  remaining = list(members)
  shares = halving.rungs(sweep, members, options.halving)
  if options.halving and not shares:
    sweep.console.line(
      f"--halving={options.halving} stops nobody: it needs at least {options.halving} settings "
      "(seeds do not count) and as many evaluations"
    )
  for share in [*shares, 1.0]:
    populations = sweep.populations(remaining, engine.largest(len(remaining)))
    engine.train(sweep, Plan.of(sweep, populations, share, options))
    if share < 1.0:
      remaining = halving.halve(sweep, remaining, share, options.halving)


def _train_with_stops(
  sweep: Sweep, members: Sequence[Member], engine: Engine, options: Options
) -> None:
  """Trains populations of one setting each, while the engine stops losers by itself."""
  populations = sweep.populations(members, options.max_members, setting_id)
  engine.train(sweep, Plan.of(sweep, populations, 1.0, options))
  stopped = [member for member in members if member.status() == UNFINISHED]
  halving.stop(sweep, members, stopped)
