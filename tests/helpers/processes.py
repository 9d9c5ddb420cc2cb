"""Runs the application as a user does: as a process, from the repository root. Imports scripts."""

import importlib
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# The variables with which JAX compiles as it does for users; see tests/conftest.py.
OPTIMIZED = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "false"}


def import_script(name):
  """Imports a module of scripts/, which may import its neighbours."""
  sys.path.insert(0, str(ROOT / "scripts"))
  try:
    return importlib.import_module(name)
  finally:
    sys.path.remove(str(ROOT / "scripts"))


def command(*arguments, module="mnist_mlp.main", python=()):
  return [sys.executable, *python, "-m", module, *map(str, arguments)]


def environment(**variables):
  return {**os.environ, "PYTHONUNBUFFERED": "1", **variables}


def run(*arguments, module="mnist_mlp.main", python=(), timeout=240, **variables):
  """Runs to the end; returns the completed process, its output as text."""
  return _completed(command(*arguments, module=module, python=python), timeout, variables)


def python(code, *arguments, timeout=300, **variables):
  """Runs code, which can import what tests can, in a process of its own; returns the process."""
  variables = {"PYTHONPATH": os.pathsep.join(sys.path), **variables}
  return _completed([sys.executable, "-c", code, *map(str, arguments)], timeout, variables)


def _completed(words, timeout, variables):
  return subprocess.run(
    words,
    cwd=ROOT,
    env=environment(**variables),
    capture_output=True,
    text=True,
    timeout=timeout,
    stdin=subprocess.DEVNULL,
  )


def start(*arguments, output, module="mnist_mlp.main", variables=None, before=(), **options):
  """Starts and returns the process; what it prints goes to the file `output`.

  Args:
    *arguments: of the command.
    output: the file.
    module: the command.
    variables: of the environment, added to those of this process.
    before: words that stand before the command, of a program that becomes it.
    **options: of subprocess.Popen.
  """
  with open(output, "w") as file:
    return subprocess.Popen(
      [*before, *command(*arguments, module=module)],
      cwd=ROOT,
      env=environment(**(variables or {})),
      stdout=file,
      stderr=file,
      stdin=subprocess.DEVNULL,
      **options,
    )


def wait_for(condition, process, output, seconds=200):
  """Returns once `condition()` holds; a RuntimeError shows the output if the process ends first."""
  deadline = time.monotonic() + seconds
  while not condition():
    if process.poll() is not None or time.monotonic() > deadline:
      raise RuntimeError(f"not reached:\n{Path(output).read_text()}")
    time.sleep(0.02)
