"""What fits in memory and on the disk, which is asked before anything is unfolded."""

import shutil
from pathlib import Path

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
      f"{what} would take {in_words(size)} of memory, but only {in_words(free)} are free{way_out}"
    )


def check_fits_disk(what: str, size: int, folder: Path, way_out: str = "") -> None:
  """Raises a RunError if data fit neither on the disk of a folder nor in memory.

  Args:
    what: the data, for the message.
    size: theirs, in bytes.
    folder: where they are to be kept; it need not exist.
    way_out: ends the message: what to change.
  """
  on_disk, free = free_on_disk(folder), cgroup.available()
  if size > on_disk and free is not None and size > free:
    raise RunError(
      f"{what} would take {in_words(size)}, but only {in_words(on_disk)} are free on the disk of "
      f"{folder}, and {in_words(free)} of memory{way_out}"
    )


def free_on_disk(folder: Path) -> int:
  """Returns how many bytes can be written in a folder, or in the folder where it would lie."""
  existing = next(path for path in (folder, *folder.parents) if path.exists())
  return shutil.disk_usage(existing).free


def in_words(size: int) -> str:
  """Returns a number of bytes in GB, or in MB."""
  return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
