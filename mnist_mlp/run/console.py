"""The terminal: lines, and a progress bar below them."""

import contextlib
import errno
import os
import shutil
import sys
from collections.abc import Iterator
from typing import Any

from etils import epy

with epy.lazy_imports():  # A log file needs no bar.
  import tqdm


class Console:
  """Prints lines. A bar below them shows examples a second and the time left.

  The bar is there on a terminal, and in a notebook.
  """

  def __init__(self, quiet: bool = False):
    """Shows nothing at all if it is quiet, as for the members of a sweep."""
    self._quiet = quiet
    self._bar: Any = None

  def start_bar(self, examples: int, done: int) -> None:
    """Shows the bar for `examples` in all, `done` of them before, where somebody watches it."""
    notebook = in_notebook()
    if not self._quiet and (notebook or sys.stderr.isatty()):
      self._bar = tqdm.tqdm(
        # A notebook shows its two streams apart: the bar would not stay below the lines.
        file=sys.stdout if notebook else sys.stderr,
        total=examples,
        initial=done,
        unit=" examples",
        unit_scale=True,
        leave=False,
        # Given, because tqdm hides the bar on a terminal that does not tell its size.
        ncols=min(120, shutil.get_terminal_size().columns),
        nrows=24,
      )

  def advance(self, examples: int) -> None:
    """Moves the bar on."""
    if self._bar is not None:
      with terminal_may_go():
        self._bar.update(examples)

  def stop_bar(self) -> None:
    """Removes the bar."""
    if self._bar is not None:
      with terminal_may_go():
        self._bar.close()
      self._bar = None

  def line(self, text: str) -> None:
    """Prints a line, above the bar if there is one."""
    if self._quiet:
      return
    with terminal_may_go():
      if self._bar is not None:
        self._bar.write(text, file=sys.stdout)
      else:
        print(text, flush=True)


@contextlib.contextmanager
def terminal_may_go() -> Iterator[None]:
  """Sends the rest of the output nowhere once the terminal is gone: a run is to be saved yet."""
  try:
    yield
  except OSError as error:
    if error.errno != errno.EIO:
      raise
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
      os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def clock(seconds: float) -> str:
  """Returns a duration as '3:10', or '1:03:10'."""
  minutes, rest = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def rounded(number: float) -> str:
  """Returns a number with two decimals at most: '3' for 2.9996."""
  return f"{number:.2f}".rstrip("0").rstrip(".")


def in_notebook() -> bool:
  """Returns whether a kernel of Jupyter, Colab or the like runs this process."""
  ipython = sys.modules.get("IPython")
  return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


def boxed(text: str) -> str:
  """Returns lines of text in a frame that cannot be overlooked."""
  lines = text.splitlines()
  width = max(map(len, lines))
  bar = "!" * (width + 6)
  return "\n".join([bar, *(f"!! {line:<{width}} !!" for line in lines), bar])
