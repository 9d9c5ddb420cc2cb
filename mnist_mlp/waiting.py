"""Nothing waits long without a line that says for what."""

import contextlib
import threading
from collections.abc import Callable, Iterator

_PATIENCE = 5.0  # seconds


@contextlib.contextmanager
def said_if_slow(report: Callable[[str], None], text: str) -> Iterator[None]:
  """Reports a line, once, if the block takes longer than some seconds.

  Args:
    report: called with the line, in a thread of its own.
    text: says what is being done.
  """
  timer = threading.Timer(_PATIENCE, report, [text])
  timer.daemon = True
  timer.start()
  try:
    yield
  finally:
    timer.cancel()
