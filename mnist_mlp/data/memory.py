"""What fits in memory, which headers are asked before anything is unfolded."""

import contextlib
from pathlib import Path

from mnist_mlp.errors import RunError

_UNKNOWN = 2**36  # bytes, where the system does not say what it can give


def check_fits(what: str, size: int, way_out: str = "") -> None:
  """Raises a RunError if data are larger than the memory that is free.

  Args:
    what: the data, for the message.
    size: theirs, in bytes.
    way_out: ends the message: what to change.
  """
  free = free_bytes()
  if size > free:
    raise RunError(
      f"{what} would take {size / 1e9:,.1f} GB of memory, but only {free / 1e9:,.1f} GB are "
      f"free{way_out}"
    )


def free_bytes() -> int:
  """Returns how much memory the system can give, in bytes."""
  with contextlib.suppress(OSError, StopIteration):
    lines = Path("/proc/meminfo").read_text("utf-8").splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1])
  return _UNKNOWN
