"""Sweeps over tiny nets on digits: files, training in this process, and as a process."""

import contextlib
import json

import processes

from mnist_mlp import sweeps
from mnist_mlp.run.config_files import load_config
from mnist_mlp.run.console import Console
from mnist_mlp.sweeps import engines, leaderboard
from mnist_mlp.sweeps.plan import Options
from mnist_mlp.sweeps.sweep import Sweep

COMMAND = "mnist_mlp.sweep"


def sweep_file(folder, body, base=""):
  """Writes a sweep file; returns its path.

  Args:
    folder: where.
    body: the code of its sweep().
    base: a line that changes the config `c` of all points.
  """
  path = folder / "a_sweep.py"
  path.write_text(f"""
from mnist_mlp import config, sweeps

def get_config():
  c = config.default()
  c.data.name = "digits"
  c.data.validation_examples = 300
  c.batch_size = 50
  c.num_epochs = 3.0
  c.model.features = (16,)
  {base}
  return c

{body}
""")
  return path


def load(path, digits_dir):
  """Returns the points of a sweep file."""
  base = load_config(path)
  base.data.data_dir = str(digits_dir)
  return sweeps.load(path, base)


def open_sweep(points, folder):
  """Returns the sweep, and the list to which its console's lines are added."""
  sweep, lines = Sweep(points, folder, Console()), []
  sweep.console.line = lines.append
  return sweep, lines


def train(points, folder, chosen=slice(None), **options):
  """Trains points in this process; returns the sweep and the rows of its leaderboard."""
  sweep = Sweep(points, folder, Console())
  engines.run(sweep, sweep.members[chosen], Options(**{"engine": "vmap", **options}))
  return sweep, leaderboard.write(sweep)


def content(folder):
  """Returns what the tables of a sweep say."""
  return (folder / "sweep.csv").read_text(), json.loads((folder / "sweep.json").read_text())


def rows_of(folder):
  """Returns the rows of sweep.json by their names."""
  return {row["name"]: row for row in content(folder)[1]["runs"]}


def run(path, folder, digits_dir, *arguments, **variables):
  """Runs the command to its end; returns the completed process."""
  words = _words(path, folder, digits_dir, arguments)
  return processes.run(*words, module=COMMAND, **variables)


@contextlib.contextmanager
def running(path, folder, digits_dir, *arguments, **options):
  """Gives the process of a sweep and the file of its output; kills it in the end.

  Args:
    path: the sweep file.
    folder: the workdir; the output lies beside it.
    digits_dir: the data.
    *arguments: of the command.
    **options: of `processes.start`.
  """
  output = folder.parent / "output"
  words = _words(path, folder, digits_dir, arguments)
  process = processes.start(*words, output=output, module=COMMAND, **options)
  try:
    yield process, output
  finally:
    process.kill()
    process.wait()


def _words(path, folder, digits_dir, arguments):
  return (
    f"--config={path}",
    f"--workdir={folder}",
    f"--config.data.data_dir={digits_dir}",
    *arguments,
  )
