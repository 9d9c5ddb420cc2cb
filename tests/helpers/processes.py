"""Runs the application as a user does: as a process, from the repository root. Imports scripts."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


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
  return subprocess.run(
    command(*arguments, module=module, python=python),
    cwd=ROOT,
    env=environment(**variables),
    capture_output=True,
    text=True,
    timeout=timeout,
    stdin=subprocess.DEVNULL,
  )


def start(*arguments, output, **variables):
  """Starts and returns the process; what it prints goes to the file `output`."""
  with open(output, "w") as file:
    return subprocess.Popen(
      command(*arguments),
      cwd=ROOT,
      env=environment(**variables),
      stdout=file,
      stderr=file,
      stdin=subprocess.DEVNULL,
    )
