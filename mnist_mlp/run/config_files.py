"""Config files: Python files with a function get_config(). An error in one becomes one sentence."""

import contextlib
import os
import runpy
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict, FrozenConfigDict

from mnist_mlp.errors import UsageError, listing


def load_config(path: str | Path) -> ConfigDict:
  """Returns what the `get_config` of a config file gives.

  Raises:
    UsageError: the file does not exist, is not Python, has no get_config, or sets a field that does
      not exist; the message names the line.
  """
  get_config = load_module(path).get("get_config")
  if get_config is None:
    raise UsageError(f"the config file {path} has no function get_config()")
  with broken_file(path):
    config = get_config()
    if isinstance(config, ConfigDict):
      config.to_dict()  # Raises an error where a required value is missing.
  if not isinstance(config, ConfigDict) or isinstance(config, FrozenConfigDict):
    raise UsageError(
      f"the config file {path} is broken: get_config() returned a {type(config).__name__}, not "
      "a ConfigDict"
    )
  return config


def load_module(path: str | Path) -> dict[str, Any]:
  """Runs a config file and returns its global names; raises a UsageError like `load_config`."""
  if not os.path.isfile(path):
    known = sorted(str(file) for file in Path(path).parent.glob("*.py"))
    hint = f"; there are {listing(known)}" if known else ""
    raise UsageError(f"the config file {str(path)!r} does not exist{hint}")
  with broken_file(path):
    return runpy.run_path(str(path))


@contextlib.contextmanager
def broken_file(path: str | Path) -> Iterator[None]:
  """Turns any error in the code of a config file into a UsageError that names the line."""
  try:
    yield
  except (Exception, SystemExit) as error:
    raise UsageError(f"the config file {path} is broken: {_where(error, path)}") from error


def _where(error: BaseException, path: str | Path) -> str:
  """Returns 'line 7: NameError: ...', for the last line of the file on the way to the error."""
  lines = [
    frame.lineno
    for frame in traceback.extract_tb(error.__traceback__)
    if frame.filename == str(path)
  ]
  if isinstance(error, SyntaxError):
    lines, text = [error.lineno] if error.lineno else [], error.msg
  else:
    text = " ".join(str(error).split())
  place = f"line {lines[-1]}: " if lines else ""
  return f"{place}{type(error).__name__}: {text}"
