"""Paths as a user gives them: on the command line, in a config, or as an argument."""

import os
from pathlib import Path

from mnist_mlp.errors import UsageError


def expand(path: str | os.PathLike) -> Path:
  """Returns the path that a user means: `~` and `~user` are home folders, all else is literal.

  A folder that is really called `~` is named `./~`. To expand a path twice does no harm.

  Raises:
    UsageError: the home folder is not known, or no file can have such a name.
  """
  text = os.fspath(path)
  if "\0" in text:
    raise UsageError(f"the path {text!r} holds a NUL character, which no file name can hold")
  _check_encoding(text)
  expanded = os.path.expanduser(text)
  if expanded.startswith("~"):
    raise UsageError(
      f"the home folder of the path {text!r} is not known: {_why_unknown(Path(text).parts[0])}; "
      "give the whole path instead"
    )
  literal = Path(expanded)
  # Path("./~") is Path("~"), which would mean the home folder the next time.
  return literal.absolute() if str(literal).startswith("~") else literal


def _check_encoding(text: str) -> None:
  try:
    os.fsencode(text)
  except UnicodeEncodeError as error:
    raise UsageError(
      f"the path {text!a} cannot be named in {error.encoding}, the encoding of file names here; "
      "set the variable LC_ALL to C.UTF-8"
    ) from error


def _why_unknown(user: str) -> str:
  if user == "~":
    return "HOME is not set, and the system has no entry for this user"
  return f"there is no user called {user[1:]!r}"
