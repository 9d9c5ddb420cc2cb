"""Trains a sweep: python -m mnist_mlp.sweep --config=configs/sweep_learning_rate.py --workdir=DIR.

A second start goes on with what the first one left. Finished runs are kept. The workdir holds

    members/NAME/    a folder for each run, like that of any run
    populations/     the common checkpoints of runs that train together, until their end
    sweep.json sweep.csv sweep.png

Several processes may fill one workdir, each with a slice of the points; for SLURM:

    #SBATCH --array=0-3
    srun python -m mnist_mlp.sweep --config=FILE --workdir=DIR --points=$SLURM_ARRAY_TASK_ID::4
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags
from etils import epy

from mnist_mlp import sweeps
from mnist_mlp.errors import UsageError, listing
from mnist_mlp.run import cli
from mnist_mlp.run.config_files import load_config
from mnist_mlp.run.console import Console
from mnist_mlp.run.workdir import chosen

with epy.lazy_imports():  # JAX takes seconds, for which --help and errors need not wait.
  from mnist_mlp.run import environment
  from mnist_mlp.sweeps import engines, leaderboard, plan, retrain, sweep

_ENGINES = ("auto", "vmap", "processes", "ray")


def define_flags(values: flags.FlagValues, arguments: Sequence[str]) -> None:
  """Defines this command's flags."""
  cli.define_config(values, arguments)
  flags.DEFINE_string(
    "workdir", None, "folder of the sweep, resumed if it exists; default runs/<file>-<time>", values
  )
  flags.DEFINE_string(
    "points", "", "slice i:j or i:j:step of the points to train, for array jobs; empty: all", values
  )
  flags.DEFINE_enum(
    "engine",
    "auto",
    _ENGINES,
    "vmap: runs side by side in one program; processes: one single-threaded process a core, better "
    "for large nets on a CPU; auto chooses by the number of weights; ray: a Ray cluster",
    values,
  )
  flags.DEFINE_integer(
    "max_members",
    0,
    "largest number of runs in one program; 0 lets the engine choose",
    lower_bound=0,
    flag_values=values,
  )
  flags.DEFINE_integer(
    "processes",
    0,
    "processes of --engine=processes; 0 is one for each core",
    lower_bound=0,
    flag_values=values,
  )
  flags.DEFINE_integer(
    "halving",
    0,
    "successive halving: at each rung, the best one in this many settings goes on; 2 or more, 0 is "
    "off",
    lower_bound=0,
    flag_values=values,
  )
  flags.DEFINE_float(
    "save_every_seconds",
    30.0,
    "seconds between two checkpoints of runs that train together",
    lower_bound=0.0,
    flag_values=values,
  )
  flags.DEFINE_string(
    "ray_address",
    "",
    "address of a running Ray cluster, for --engine=ray; all its machines must see the workdir; "
    "empty starts one on this machine",
    values,
  )


def main(line: cli.CommandLine) -> None:
  """Checks every point, then trains them; shows the table, the winner and its command."""
  if line.flags.config is None:
    raise UsageError("--config is missing, for example --config=configs/sweep_learning_rate.py")
  points = sweeps.load(line.config_path, line.flags.config)
  _check_overrides(points, _overridden(line))
  _check_halving(points, line.flags.halving)
  _check_ray(line.flags.engine, line.flags.ray_address)
  selected = sweeps.select(points, line.flags.points)
  with chosen(line.flags.workdir, Path(line.config_path).stem) as workdir:
    with line.resumable(workdir):
      rows = _train(points, selected, line.flags, workdir)
    print(leaderboard.table(rows))
    _say_files(workdir)
    _say_best(line, points, rows, workdir)


def _train(
  points: Sequence[sweeps.Point],
  selected: Sequence[sweeps.Point],
  given: flags.FlagValues,
  workdir: Path,
) -> list[dict[str, Any]]:
  """Trains the selected points; returns the rows of the leaderboard."""
  environment.use_compilation_cache()
  whole = sweep.Sweep(points, workdir, Console())
  options = plan.Options(
    engine=given.engine,
    max_members=given.max_members,
    processes=given.processes,
    halving=given.halving,
    save_every=given.save_every_seconds,
    ray_address=given.ray_address,
  )
  engines.run(whole, [whole.members[point.index] for point in selected], options)
  return leaderboard.write(whole)


def _overridden(line: cli.CommandLine) -> list[str]:
  """Returns the fields that --config.FIELD=VALUE sets on this command line."""
  return list(line.flags["config"].override_values)  # type: ignore[attr-defined]


def _check_overrides(points: Sequence[sweeps.Point], given: Sequence[str]) -> None:
  both = [name for name in sweeps.swept(points) if name in given]
  if both:
    raise UsageError(
      f"config.{both[0]} is given on the command line, but the sweep sets it; leave it out, or "
      "change the sweep file"
    )


def _check_halving(points: Sequence[sweeps.Point], halving: int) -> None:
  if halving == 1:
    raise UsageError("--halving is 1, which stops no run; use 2 or more, or 0 to switch it off")
  for point in points:
    if halving and not point.config.data.validation_examples:
      raise UsageError(
        "--halving compares runs by validation accuracy, but "
        f"config.data.validation_examples is 0 in point {point.index} of the sweep"
      )


def _check_ray(engine: str, address: str) -> None:
  if address and engine != "ray":
    raise UsageError(f"--ray_address needs --engine=ray, but --engine is {engine}")
  if engine == "ray" and importlib.util.find_spec("ray") is None:
    raise UsageError("--engine=ray needs Ray, which is not installed: pip install 'mnist_mlp[ray]'")


def _say_files(workdir: Path) -> None:
  files = [workdir / f"sweep.{suffix}" for suffix in ("json", "csv", "png")]
  print(f"tables and figure: {listing(str(file) for file in files if file.exists())}")
  print(f"look at the runs:  tensorboard --logdir={workdir / 'members'}")


def _say_best(
  line: cli.CommandLine,
  points: Sequence[sweeps.Point],
  rows: Sequence[dict[str, Any]],
  workdir: Path,
) -> None:
  """Names the winner and the command that trains it; before all runs are done, the best so far."""
  best, missing = leaderboard.winner(leaderboard.settings_of(rows)), leaderboard.unfinished(rows)
  if missing:
    print(f"{missing} of {len(rows)} runs are unfinished; the same command goes on with them")
  if best is None:
    print("no winner: no setting has all its seeds finished with a validation accuracy")
  elif missing:
    print(f"best so far by validation accuracy: {best['name']}")
  else:
    print(f"winner by validation accuracy: {best['name']}; to train it on all training data:")
    print(_retrain_command(line, points, best, workdir))


def _retrain_command(
  line: cli.CommandLine, points: Sequence[sweeps.Point], won: dict[str, Any], workdir: Path
) -> str:
  config = retrain.on_all_data(next(p.config for p in points if p.index == won["point"]))
  if won["runs"] > 1:  # Any seed will do.
    config.seed = line.flags.config.seed
  first = [*_overridden(line), *sweeps.swept(points)]
  arguments = retrain.overrides(load_config(line.config_path), config, first)
  return retrain.command(line.config_path, arguments, retrain.workdir_for(config, workdir))


if __name__ == "__main__":
  cli.run(main, define_flags)
