"""Trains a config: python -m mnist_mlp.main --config=configs/adam.py [--config.FIELD=VALUE ...]."""

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
from mnist_mlp.run.workdir import Workdir, chosen, logdir_of

with epy.lazy_imports():  # JAX takes seconds, for which --help and errors need not wait.
  from mnist_mlp import train
  from mnist_mlp.run import environment


def define_flags(values: flags.FlagValues, arguments: Sequence[str]) -> None:
  """Defines this command's flags."""
  cli.define_config(values, arguments)
  flags.DEFINE_string(
    "workdir", None, "folder of the run, resumed if it exists; default runs/<recipe>-<time>", values
  )
  flags.DEFINE_bool(
    "profile", False, "write a trace of some steps for TensorBoard's profiler or Perfetto", values
  )


def main(line: cli.CommandLine) -> None:
  """Checks what can be checked at once, then trains."""
  if line.flags.config is None:
    raise UsageError("--config is missing, for example --config=configs/adam.py")
  validated = config.validate(line.flags.config)
  with chosen(line.flags.workdir, Path(line.config_path).stem) as workdir:
    folder = Workdir(workdir)
    folder.check_config(validated)
    result = folder.result()
    if result is None:
      _train(validated, workdir, line)
    else:
      _say_finished(folder, result)
    print(f"look at it:  tensorboard --logdir={shlex.quote(str(logdir_of(workdir)))}")
    print(f"this run again, from where it stands:  {line.again(workdir)}")


def _train(validated: ConfigDict, workdir: Path, line: cli.CommandLine) -> None:
  environment.use_compilation_cache()
  with line.resumable(workdir):
    train.train_and_evaluate(validated, workdir, profile=line.flags.profile)


def _say_finished(folder: Workdir, result: Mapping[str, Any]) -> None:
  print(
    f"the run in {folder.path} is finished: {result['test']['error_percent']:.2f}% test error "
    f"on {result['dataset']['name']}, after {result['steps']} steps; see "
    f"{folder.path / 'result.json'}"
  )


if __name__ == "__main__":
  cli.run(main, define_flags)
