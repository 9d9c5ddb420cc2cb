"""What a command needs before its modules are imported, which takes seconds.

Ctrl-C says a line and ends the process: some modules turn a KeyboardInterrupt that comes while they
are imported into an error of their own, and at the exit it can be raised amid what is torn down.
"""

import atexit
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

_RETRY = 0.1  # seconds
# Functions in which no KeyboardInterrupt is raised. The first two are called by garbage collection,
# where it would be lost. In the last one JAX starts a timer, before it is ready to stop it: the
# process would wait a minute for it at its end, and then warn of a slow TPU.
_NOT_WITHIN = ("__del__", "_xla_gc_callback", "tpu_client_timer_callback")


def prepare() -> None:
  """Prepares the process of a command; ends the process of a module that is none."""
  open_standard_streams()
  leave_at_once()
  _check_command()


def _check_command() -> None:
  """Says what to run, and exits, if `python -m` names a module of the package without a command."""
  words = sys.orig_argv
  name = words[words.index("-m") + 1] if "-m" in words[:-1] else ""
  package, _, module = name.partition(".")
  path = Path(__file__).parent.joinpath(*module.split(".")).with_suffix(".py")
  if not module or not path.is_file() or '\nif __name__ == "__main__":' in path.read_text("utf-8"):
    return
  print(f"error: {name} is no command; python -m {package} lists the commands", file=sys.stderr)
  sys.exit(2)


def open_standard_streams() -> None:
  """Opens the standard streams that the caller closed, as `>&-` does, to read and write nothing.

  Otherwise the next files that are opened would get their numbers, and what is printed with them.
  """
  for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
    try:
      os.fstat(number)
    except OSError:
      os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # Gets the lowest free number.
    if getattr(sys, name) is None:
      stream = open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
      setattr(sys, name, stream)


def leave(number: int, frame: FrameType | None) -> None:
  """Handles SIGINT: says a line and ends the process at once, with 130."""
  del number, frame
  with contextlib.suppress(OSError):  # Standard error may be closed.
    os.write(2, b"interrupted\n")
  os._exit(128 + signal.SIGINT)


def leave_at_once() -> None:
  """Installs `leave`, unless SIGINT is ignored or handled otherwise, as by nohup or a notebook."""
  if (
    threading.current_thread() is threading.main_thread()
    and signal.getsignal(signal.SIGINT) is signal.default_int_handler
  ):
    signal.signal(signal.SIGINT, leave)
    # Registered first, so called last: what a module does at the exit can still be interrupted.
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
  """Within the block, SIGINT raises a KeyboardInterrupt again, for cleaning up."""
  if signal.getsignal(signal.SIGINT) is not leave:
    yield
    return
  signal.signal(signal.SIGINT, interrupt_between_imports)
  try:
    yield
  finally:
    signal.signal(signal.SIGINT, leave)


def interrupt_between_imports(number: int, frame: FrameType | None) -> None:
  """Handles SIGINT: raises a KeyboardInterrupt, once that can neither be lost nor misunderstood."""
  while frame:
    code = frame.f_code
    if code.co_filename.startswith("<frozen importlib") or code.co_name in _NOT_WITHIN:
      retry = threading.Timer(_RETRY, signal.raise_signal, [number])
      retry.daemon = True
      retry.start()
      return
    frame = frame.f_back
  raise KeyboardInterrupt
