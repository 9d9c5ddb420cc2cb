"""Trains a sweep: python -m mnist_mlp.sweep --config=configs/sweep_learning_rate.py --workdir=DIR.

A second start goes on with what the first one left; finished runs are kept. The workdir holds

    members/NAME/    a folder for each run, like that of any run
    populations/     what runs that train together remember of their common state, until their end
    sweep.json sweep.csv sweep.png

Several processes may fill one workdir, each with a slice of the points; for SLURM:

    #SBATCH --array=0-3
    srun python -m mnist_mlp.sweep --config=FILE --workdir=DIR --points=$SLURM_ARRAY_TASK_ID::4
"""

import importlib.util
from pathlib import Path

from absl import flags

from mnist_mlp import sweeps
from mnist_mlp.config import flatten
from mnist_mlp.errors import UsageError, listing
from mnist_mlp.run import cli as commandline
from mnist_mlp.run.workdir import chosen

_ENGINES = ("auto", "vmap", "processes", "ray")

_CONFIG = commandline.define_config()
_WORKDIR = flags.DEFINE_string(
  "workdir", None, "folder of the sweep; a second start resumes it; default runs/<file>-<time>"
)
_POINTS = flags.DEFINE_string(
  "points", "", "slice i:j or i:j:step of the points to train, for array jobs; empty is all"
)
_ENGINE = flags.DEFINE_enum(
  "engine",
  "auto",
  _ENGINES,
  "vmap: runs side by side in one program; processes: one single-threaded process a core, better "
  "for large nets on a CPU; auto chooses by the number of weights; ray: a Ray cluster",
)
_MAX_MEMBERS = flags.DEFINE_integer(
  "max_members",
  0,
  "largest number of runs in one program; 0 is as many as fit in memory",
  lower_bound=0,
)
_PROCESSES = flags.DEFINE_integer(
  "processes", 0, "processes of --engine=processes; 0 is one for each core", lower_bound=0
)
_HALVING = flags.DEFINE_integer(
  "halving",
  0,
  "successive halving: at each rung, the best one in this many runs goes on; 2 or more, 0 is off",
  lower_bound=0,
)
_SAVE_EVERY = flags.DEFINE_float(
  "save_every_seconds",
  30.0,
  "seconds between two checkpoints of runs that train together",
  lower_bound=0.0,
)
_RAY_ADDRESS = flags.DEFINE_string(
  "ray_address",
  "",
  "of a running Ray cluster whose machines all see the workdir, for "
  "--engine=ray; empty is a cluster of this machine alone",
)


def main() -> None:
  """Checks every point, then trains them; shows the table, the winner and its command."""
  if _CONFIG.value is None:
    raise UsageError("--config is missing, for example --config=configs/sweep_learning_rate.py")
  path = flags.FLAGS["config"].config_filename
  points = sweeps.load(path, _CONFIG.value)
  _check_overrides(points)
  _check_halving(points)
  _check_ray()
  selected = sweeps.select(points, _POINTS.value)
  with (
    chosen(_WORKDIR.value, Path(path).stem) as workdir,
    commandline.resumable("mnist_mlp.sweep", workdir),
  ):
    _train(points, selected, path, workdir)


def _train(points, selected, path: str, workdir: Path) -> None:
  # Here because JAX and all that hangs on it take seconds, which --help and errors need not wait.
  from mnist_mlp.run import environment
  from mnist_mlp.run.console import Console
  from mnist_mlp.sweeps import engines, leaderboard

  environment.use_compilation_cache()
  sweep = engines.Sweep(points, workdir, Console())
  options = engines.Options(
    _ENGINE.value,
    _MAX_MEMBERS.value,
    _PROCESSES.value,
    _HALVING.value,
    _SAVE_EVERY.value,
    _RAY_ADDRESS.value,
  )
  members = [sweep.members[point.index] for point in selected]
  engines.run(sweep, members, options)
  rows = leaderboard.write(workdir, sweep.members)
  print(leaderboard.table(rows))
  _say_winner(leaderboard, rows, points, path, workdir)


def _overrides() -> list[str]:
  """Returns as --config.FIELD=VALUE what this command line changes of the config file."""
  file = flatten(commandline.load_config(flags.FLAGS["config"].config_filename))
  return [
    f"--config.{name}={value}"
    for name, value in flatten(_CONFIG.value).items()
    if value != file[name]
  ]


def _check_overrides(points) -> None:
  given = {argument.removeprefix("--config.").partition("=")[0] for argument in _overrides()}
  both = [name for name in sweeps.swept(points) if name in given]
  if both:
    raise UsageError(
      f"config.{both[0]} is given on the command line, but the sweep sets it; leave it out, or "
      "change the sweep file"
    )


def _check_halving(points) -> None:
  if _HALVING.value == 1:
    raise UsageError("--halving is 1, which stops no run; use 2 or more, or 0 to switch it off")
  for point in points:
    if _HALVING.value and not point.config.data.validation_examples:
      raise UsageError(
        "--halving compares runs by validation accuracy, but "
        f"config.data.validation_examples is 0 in point {point.index} of the sweep"
      )


def _check_ray() -> None:
  if _RAY_ADDRESS.value and _ENGINE.value != "ray":
    raise UsageError(f"--ray_address needs --engine=ray, but --engine is {_ENGINE.value}")
  if _ENGINE.value == "ray" and importlib.util.find_spec("ray") is None:
    raise UsageError("--engine=ray needs Ray, which is not installed: pip install 'mnist_mlp[ray]'")


def _say_winner(leaderboard, rows, points, path, workdir: Path) -> None:
  trials = leaderboard.trials_of(rows)
  won = leaderboard.winner(trials)
  files = [workdir / f"sweep.{suffix}" for suffix in ("json", "csv", "png")]
  print(f"tables and figure: {listing(str(file) for file in files if file.exists())}")
  print(f"look at the runs:  tensorboard --logdir={workdir / 'members'}")
  if won is None:
    print("no winner: of no trial, all runs finished with a validation accuracy")
    return
  print(f"winner by validation accuracy: {won['name']}; to train it on all training data:")
  config = next(point.config for point in points if point.index == won["point"])
  print(leaderboard.retrain_command(won, config, path, _overrides(), workdir))


if __name__ == "__main__":
  commandline.run(main)
