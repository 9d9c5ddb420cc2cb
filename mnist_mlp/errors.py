"""Errors that a user can cause: one clear sentence each, and the exit code that goes with it."""

import difflib
import traceback
from collections.abc import Iterable
from typing import Any

_LONGEST = 200  # characters of a value in a message


class UserError(Exception):
  """A mistake that its message explains; entry points print the message, without a traceback."""

  exit_code = 1


class UsageError(UserError, ValueError):
  """The config or the command line is wrong: nothing was started."""

  exit_code = 2


class RunError(UserError, RuntimeError):
  """The run could not start or go on: files, data, another run, a diverged loss."""


class HeldError(RunError):
  """Another process works in the folder."""


class Interrupted(UserError):
  """A signal ended the run, its state saved."""

  def __init__(self, message: str, signum: int):
    """Takes the signal's number; the exit code is 128 more: 130 for SIGINT."""
    super().__init__(message)
    self.exit_code = 128 + signum


def did_you_mean(name: str, known: Iterable[str]) -> str:
  """Returns '; did you mean X?' for the known name nearest to `name`, else ''."""
  matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
  return f"; did you mean {matches[0]!r}?" if matches else ""


def printable(text: str) -> str:
  """Returns text of one line without characters that command a terminal, such as ESC or newline.

  They are shown as Python shows them: '\\x1b', '\\n'. File names may hold any of them.
  """
  return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def listing(names: Iterable[str]) -> str:
  """Returns the names as they are shown in a message: 'a, b, c'."""
  return ", ".join(names)


def lines_of(file: str, error: BaseException) -> list[int]:
  """Returns the numbers of the lines of a file on the way to an error; the last one is nearest."""
  frames = traceback.extract_tb(error.__traceback__)
  return [frame.lineno for frame in frames if frame.filename == file and frame.lineno]


def brief(error: BaseException, text: str = "") -> str:
  """Returns 'ValueError: what it says', on one line, cut where it is too long for a message.

  Args:
    error: of code that is not the program's.
    text: what it says, if not its own text.
  """
  told = " ".join((text or str(error)).split())
  more = "..." if len(told) > _LONGEST else ""
  return f"{type(error).__name__}: {told[:_LONGEST]}{more}"


def shown(value: Any) -> str:
  """Returns the `repr` of a value, cut where it is too long for a message."""
  try:
    text = repr(value)
  except ValueError:  # Python refuses to write out an int of thousands of digits.
    return "a number of thousands of digits"
  return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
