"""Trains a config: python -m mnist_mlp.main --config=configs/adam.py [--config.FIELD=VALUE ...]."""

import shlex
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict

from mnist_mlp import config
from mnist_mlp.errors import UsageError
from mnist_mlp.run import cli as commandline
from mnist_mlp.run.workdir import Workdir, chosen

_MODULE = "mnist_mlp.main"
_CONFIG = commandline.define_config()
_WORKDIR = flags.DEFINE_string(
  "workdir", None, "folder of the run; a second start resumes it; default runs/<recipe>-<time>"
)
_PROFILE = flags.DEFINE_bool(
  "profile", False, "write a trace of some steps for TensorBoard's profiler or Perfetto"
)


def main() -> None:
  """Checks what can be checked at once, then trains."""
  if _CONFIG.value is None:
    raise UsageError("--config is missing, for example --config=configs/adam.py")
  validated = config.validate(_CONFIG.value)
  recipe = Path(flags.FLAGS["config"].config_filename).stem
  with chosen(_WORKDIR.value, recipe) as workdir:
    folder = Workdir(workdir)
    folder.check_config(validated)
    if folder.result() is None:
      _train(validated, workdir)
    else:
      _say_finished(folder)
    _say_commands(workdir)


def _train(validated: ConfigDict, workdir: Path) -> None:
  # Here because JAX and all that hangs on it take seconds, which --help and errors need not wait.
  from mnist_mlp.run import environment
  from mnist_mlp.train import train_and_evaluate

  environment.use_compilation_cache()
  with commandline.resumable(_MODULE, workdir):
    train_and_evaluate(validated, workdir, profile=_PROFILE.value)


def _say_finished(folder: Workdir) -> None:
  result = folder.result()
  print(
    f"the run in {folder.path} is finished: {result['test']['error_percent']:.2f}% test error "
    f"on {result['dataset']['name']}, after {result['steps']} steps; see "
    f"{folder.path / 'result.json'}"
  )


def _say_commands(workdir: Path) -> None:
  print(f"look at it:  tensorboard --logdir={shlex.quote(str(workdir))}")
  print(f"this run again, or the rest of it:  {commandline.again(_MODULE, workdir)}")


if __name__ == "__main__":
  commandline.run(main)
