"""Trains a config: python -m mnist_mlp.main --config=configs/adam.py [--config.FIELD=VALUE ...]."""

import shlex
import sys
import time
from pathlib import Path

from absl import flags

from mnist_mlp import commandline, config
from mnist_mlp.errors import Interrupted, UsageError
from mnist_mlp.workdir import Workdir

_CONFIG = commandline.define_config()
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "folder of the run; a second start resumes it; default runs/<recipe>-<time>")
_PROFILE = flags.DEFINE_bool(
    "profile", False, "write a trace of some steps for TensorBoard's profiler or Perfetto")


def main() -> None:
  """Checks what can be checked at once, then trains."""
  if _CONFIG.value is None:
    raise UsageError("--config is missing, for example --config=configs/adam.py")
  validated = config.validate(_CONFIG.value)
  recipe = Path(flags.FLAGS["config"].config_filename).stem
  workdir = Path(_WORKDIR.value or f"runs/{recipe}-{time.strftime('%Y%m%d-%H%M%S')}")
  folder = Workdir(workdir)
  folder.check_config(validated)
  if folder.result() is not None:
    _say_finished(folder)
    return
  # Here because JAX and all that hangs on it take seconds, which --help and errors need not wait.
  from mnist_mlp import environment
  from mnist_mlp.train import train_and_evaluate
  environment.use_compilation_cache()
  try:
    train_and_evaluate(validated, workdir, profile=_PROFILE.value)
  except Interrupted as error:
    raise Interrupted(
        f"{error}\nresume with: {_command(workdir)}", error.exit_code - 128) from error
  _say_commands(workdir)


def _say_finished(folder: Workdir) -> None:
  result = folder.result()
  print(
      f"the run in {folder.path} is finished: {result['test']['error_percent']:.2f}% test error "
      f"on {result['dataset']['name']}, after {result['steps']} steps; see "
      f"{folder.path / 'result.json'}")
  _say_commands(folder.path)


def _say_commands(workdir: Path) -> None:
  print(f"look at it:  tensorboard --logdir={shlex.quote(str(workdir))}")
  print(f"this run again, or the rest of it:  {_command(workdir)}")


def _command(workdir: Path) -> str:
  """Returns the command line that goes on with this run."""
  arguments = [argument for argument in sys.argv[1:] if argument not in ("--profile", "-profile")]
  if _WORKDIR.value is None:
    arguments.append(f"--workdir={workdir}")
  return shlex.join(["python", "-m", "mnist_mlp.main", *arguments])


if __name__ == "__main__":
  commandline.run(main)
