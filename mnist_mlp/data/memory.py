"""What fits in memory, which headers are asked before anything is unfolded."""

from mnist_mlp import cgroup
from mnist_mlp.errors import RunError


def check_fits(what: str, size: int, way_out: str = "") -> None:
  """Raises a RunError if data are larger than the memory that is free, if the system says so.

  Args:
    what: the data, for the message.
    size: theirs, in bytes.
    way_out: ends the message: what to change.
  """
  free = cgroup.available()
  if free is not None and size > free:
    raise RunError(
      f"{what} would take {size / 1e9:,.1f} GB of memory, but only {free / 1e9:,.1f} GB are "
      f"free{way_out}"
    )
