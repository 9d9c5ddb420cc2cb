"""Config files: Python files with a function get_config(). An error in one becomes one sentence."""

import contextlib
import os
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict, FrozenConfigDict

from mnist_mlp import config as config_lib
from mnist_mlp.errors import UsageError, brief, did_you_mean, lines_of, listing
from mnist_mlp.paths import expand

_ROOM = Path(__file__).parents[1]


def recipes() -> dict[str, Path]:
  """Returns the config files that come with the program, by their names: 'adam', 'sweep_size'.

  They lie in the folder `configs`: of the checkout, or of the installed package.
  """
  folders = (_ROOM / "configs", _ROOM.parent / "configs")
  folder = next(filter(Path.is_dir, folders), folders[0])
  return {path.stem: path for path in sorted(folder.glob("*.py"))}


def find(name: str | os.PathLike) -> str:
  """Returns the path of the config file that a name means.

  These are tried in turn: the file itself; the file with '.py' added; the recipe of that name that
  comes with the program, as 'adam' or 'configs/adam.py'. If there is none, the name is returned.
  """
  path = expand(name)
  for candidate in (path, path.with_name(f"{path.name}.py") if path.name else path):
    if os.path.isfile(candidate):
      return str(candidate)
  known = recipes() if path.parent in (Path(), Path("configs")) else {}
  shipped = known.get(path.name.removesuffix(".py"))
  return os.path.relpath(shipped) if shipped and _is_below_here(shipped) else str(shipped or path)


def _is_below_here(path: Path) -> bool:
  with contextlib.suppress(OSError):  # The current folder may be gone.
    return path.is_relative_to(Path.cwd())
  return False


def recipe(name: str | os.PathLike) -> ConfigDict:
  """Returns the config of a recipe that comes with the program, or of a config file.

  Args:
    name: 'adam', or a path; see `find`.

  Raises:
    UsageError: there is no such file, or it is broken.
  """
  return load_config(find(name))


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
      "a ConfigDict, such as config.default() returns"
    )
  return config


def load_module(path: str | Path) -> dict[str, Any]:
  """Runs a config file and returns its global names; raises a UsageError like `load_config`."""
  if not os.path.isfile(path):
    raise UsageError(f"the config file {str(path)!r} does not exist{_nearest(Path(path))}")
  with broken_file(path):
    return runpy.run_path(str(path))


def _nearest(path: Path) -> str:
  """Returns a hint at the config file that is meant by the path of one that does not exist."""
  beside = sorted(str(file) for file in path.parent.glob("*.py"))
  known = recipes()
  return (
    did_you_mean(str(path), beside)
    or did_you_mean(path.stem, known)
    or (f"; there are {listing(beside)}" if beside else f"; known names are {listing(known)}")
  )


@contextlib.contextmanager
def broken_file(path: str | Path) -> Iterator[None]:
  """Turns any error in the code of a config file into a UsageError that names the line."""
  try:
    yield
  except (Exception, SystemExit) as error:
    raise UsageError(f"the config file {path} is broken: {_where(error, path)}") from error


def _where(error: BaseException, path: str | Path) -> str:
  """Returns 'line 7: NameError: ...', for the last line of the file on the way to the error."""
  lines, text = lines_of(str(path), error), _about_field(str(error))
  if isinstance(error, SyntaxError):
    lines, text = [error.lineno] if error.lineno else [], error.msg
  place = f"line {lines[-1]}: " if lines else ""
  return f"{place}{brief(error, text)}"


def _about_field(message: str) -> str:
  """Returns what is wrong if a file sets a field that does not exist, or a whole section, else ''.

  Args:
    message: that of a ConfigDict's error, which would list all fields with their values.
  """
  match = re.search(r'Key "(\w+)" does not exist', message) or re.search(
    r"Could not override field '(\w+)'.* to type <class 'ml_collections[^>]*ConfigDict'>", message
  )
  if match:
    try:
      config_lib.check_known(match[1], config_lib.FIELDS)
    except UsageError as error:
      return str(error)
  return ""
