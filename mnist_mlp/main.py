"""Trains a config: python -m mnist_mlp.main --config=configs/adam.py [--config.FIELD=VALUE ...].

A finished run is made longer, in a new folder: --start_from=RUN --more_epochs=10.
Several processes train one run together: see docs/scaling.md.
"""

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from etils import epy
from ml_collections import ConfigDict

from mnist_mlp import config
from mnist_mlp.errors import UsageError
from mnist_mlp.run import cli
from mnist_mlp.run.config_files import load_module
from mnist_mlp.run.origin import Origin, origin_of
from mnist_mlp.run.workdir import Workdir, chosen, logdir_of

with epy.lazy_imports():  # JAX takes seconds, for which --help and errors need not wait.
  from mnist_mlp import train
  from mnist_mlp.run import distributed, environment, run


def define_flags(values: flags.FlagValues, arguments: Sequence[str]) -> None:
  """Defines this command's flags."""
  cli.define_config(values, arguments)
  flags.DEFINE_string(
    "workdir", None, "folder of the run, resumed if it exists; default runs/<recipe>-<time>", values
  )
  flags.DEFINE_string(
    "start_from", None, "folder of another run, with whose weights this new one starts", values
  )
  flags.DEFINE_bool("best", False, "start with its weights of the best validation accuracy", values)
  flags.DEFINE_float(
    "more_epochs",
    None,
    "start with its whole state, and train its own config for so many more epochs",
    flag_values=values,
  )
  flags.DEFINE_bool(
    "profile", False, "write a trace of some steps for TensorBoard's profiler or Perfetto", values
  )
  _define_processes(values)


def _define_processes(values: flags.FlagValues) -> None:
  """Defines the flags of a process that trains together with others."""
  flags.DEFINE_string(
    "coordinator", None, "HOST:PORT at which process 0 of several waits for the others", values
  )
  flags.DEFINE_integer(
    "num_processes", None, "how many processes train the run", flag_values=values
  )
  flags.DEFINE_integer("process_id", None, "which of them this is, from 0", flag_values=values)
  flags.DEFINE_bool(
    "distributed", False, "take these three from SLURM, Open MPI or Kubernetes", values
  )
  flags.DEFINE_float(
    "wait_seconds", 60.0, "for which processes wait for each other", flag_values=values
  )


def main(line: cli.CommandLine) -> None:
  """Checks what can be checked at once, then trains."""
  origin, place = _origin(line.flags), _place(line.flags)
  with chosen(line.flags.workdir, _name(line, origin)) as workdir:
    folder = Workdir(workdir)
    validated = _config(line, origin, folder)
    folder.check_config(validated)
    result = folder.result()
    leads = not (place and place.process_id)
    if result is None:
      if leads:
        _say_if_sweep(line)
      with distributed.join(place, validated) as team, line.resumable(workdir):
        environment.use_compilation_cache(quiet=not team.leads)
        train.train_and_evaluate(validated, workdir, profile=line.flags.profile, origin=origin)
    if not leads:
      return
    logdir = shlex.quote(str(logdir_of(workdir)))
    if result:
      if validated.data.files:
        run.check_finished(folder, validated)
      _say_finished(folder, result)
      longer = shlex.join([f"--start_from={workdir}", "--more_epochs=10"])
      next_step = f"train it for longer:  {line.program} {longer}"
    else:
      next_step = f"this run again, from where it stands:  {line.again(workdir)}"
    print(f"look at it:  tensorboard --logdir={logdir}\n{next_step}")


def _place(values: flags.FlagValues) -> "distributed.Place | None":
  """Returns which of several processes this one is; None if it is alone."""
  names = ("coordinator", "num_processes", "process_id")
  given = [name for name in names if values[name].present]
  if not given and not values.distributed:
    return None
  if not values.workdir:
    raise UsageError("--workdir is missing: several processes share a folder, which you must name")
  if not 0 < values.wait_seconds < math.inf:
    raise UsageError(f"--wait_seconds is {values.wait_seconds:g}, but must be above 0")
  if values.distributed:
    if given:
      raise UsageError(f"--{given[0]} and --distributed exclude each other; leave one out")
    return distributed.detected(values.wait_seconds)
  for name in names:
    if name not in given:
      raise UsageError(f"--{name} is missing, which --{given[0]} needs")
  place = distributed.Place(
    values.coordinator, values.num_processes, values.process_id, values.wait_seconds
  )
  return place.checked()


def _origin(values: flags.FlagValues) -> Origin | None:
  """Returns the run to start from, if one is named; raises a UsageError if the flags disagree."""
  if values.start_from is None:
    for name in ("more_epochs", "best"):
      if values[name].present:
        raise UsageError(f"--{name} needs --start_from=RUN, the folder of the run to start from")
    if values.config is None:
      raise UsageError("--config is missing, for example --config=configs/adam.py")
    return None
  more_epochs = values.more_epochs
  if more_epochs is None:
    if values.config is None:
      raise UsageError("--start_from needs a --config to train, or --more_epochs of its own config")
    return Origin.of(values.start_from, best=values.best)
  if not 0 < more_epochs < math.inf:
    raise UsageError(f"--more_epochs is {more_epochs:g}, but must be above 0")
  for name in ("config", "best"):
    if values[name].present:
      raise UsageError(
        f"--{name} and --more_epochs exclude each other: more epochs go on from the last state of "
        "a run, with its own config"
      )
  return Origin.of(values.start_from, more_epochs)


def _name(line: cli.CommandLine, origin: Origin | None) -> str:
  if origin and origin.more_epochs:
    return Path(origin.workdir).name
  return Path(line.config_path).stem


def _config(line: cli.CommandLine, origin: Origin | None, folder: Workdir) -> ConfigDict:
  """Returns the config to train; with --more_epochs that which the folder holds already, if any."""
  if origin and origin.more_epochs:
    held = folder.config() if origin_of(folder) == origin else None
    return held or origin.config()
  return config.validate(line.flags.config)


def _say_if_sweep(line: cli.CommandLine) -> None:
  """Says that a file holds a sweep, unless overrides show that one of its configs is meant."""
  path = line.config_path if line.flags.config is not None else None
  overridden = any(a.lstrip("-").startswith(("config.", "noconfig.")) for a in line.arguments)
  if path and not overridden and "sweep" in load_module(path):
    print(
      f"{path} holds a sweep, of which this trains the base config alone; the sweep is trained by "
      f"python -m mnist_mlp.sweep --config={shlex.quote(path)}"
    )


def _say_finished(folder: Workdir, result: Mapping[str, Any]) -> None:
  print(
    f"the run in {folder.path} is finished: {result['test']['error_percent']:.2f}% test error "
    f"on {result['dataset']['name']}, after {result['steps']} steps; see "
    f"{folder.path / 'result.json'}"
  )


if __name__ == "__main__":
  cli.run(main, define_flags)
