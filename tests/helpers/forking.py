"""Commands in forks of one process that has imported all they need: they start within a second.

`Server` is for the tests. Run as a script, this file is the process that forks.
"""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import processes

HANGS = 300  # seconds after which a command counts as one that hangs


class Server:
  """A process that forks to run commands. Use as a context manager."""

  def __init__(self, **variables):
    """Takes variables of the environment, besides those of this process."""
    self._variables = variables

  def __enter__(self):
    self._process = subprocess.Popen(
      [sys.executable, __file__],
      cwd=processes.ROOT,
      env=processes.environment(PYTHONPATH=os.pathsep.join(sys.path), **self._variables),
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
    )
    return self

  def __exit__(self, *_):
    self._process.stdin.close()
    self._process.kill()
    self._process.wait()
    self._process.stdout.close()

  def run(self, *arguments, module="mnist_mlp.main", **variables):
    """Runs a command to its end; returns its exit code and what it printed."""
    output = Path(variables.pop("output"))
    request = {
      "arguments": list(map(str, arguments)),
      "module": module,
      "output": str(output),
      "variables": {name: str(value) for name, value in variables.items()},
    }
    print(json.dumps(request), file=self._process.stdin, flush=True)
    code = int(self._process.stdout.readline())
    return code, output.read_text()


def _serve():
  _import_all()
  for line in sys.stdin:
    request = json.loads(line)
    child = os.fork()
    if not child:
      _run(request)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _import_all():
  """Imports what training needs, lazy modules included. Starts no device."""
  import matplotlib.backends.backend_agg  # noqa: F401
  from orbax import checkpoint

  from mnist_mlp import train
  from mnist_mlp.run import figures, reporting

  checkpoint.CheckpointManager, train.Trainer, figures.first_layer_weights, reporting.Reporter  # noqa: B018


def _run(request):
  """Becomes the process of a command, and ends with it."""
  import faulthandler
  import importlib

  from mnist_mlp.run import cli

  output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
  for number in (1, 2):
    os.dup2(output, number)
  os.environ.update(request["variables"])
  faulthandler.dump_traceback_later(HANGS, exit=True)
  command = importlib.import_module(request["module"])
  code = 0
  try:
    cli.run(command.main, command.define_flags, argv=[request["module"], *request["arguments"]])
  except SystemExit as error:
    code = error.code
  except BaseException:
    sys.excepthook(*sys.exc_info())
    code = 1
  with contextlib.suppress(OSError):
    sys.stdout.flush()
  os._exit(code or 0)


if __name__ == "__main__":
  _serve()
