"""Reading from arrays that are files mapped into memory, in bounded memory.

What was read of a mapped file counts as memory of the process until the system wants it back. Here,
what was read of a large file is let go of at once; the system's cache of files keeps it. All other
arrays can be read in the same way.
"""

import mmap
from collections.abc import Iterator

import numpy as np

# A file of at most so many bytes is not let go of, which would cost a small dataset time.
_SMALL = 2**27
# Rows that are read from random places before they are let go of. For each of them, the system may
# map all of a huge page, 2 MiB.
_ROWS = 16
_PIECE = 2**22  # bytes that are read one after the other before they are let go of


def rows(array: np.ndarray, indices: np.ndarray) -> np.ndarray:
  """Returns the rows of an array at some indices, in any order: int [...] to [..., *row]."""
  flat = indices.reshape(-1)
  found = np.empty((flat.size, *array.shape[1:]), array.dtype)
  step = _ROWS if _is_large(array) else max(1, flat.size)
  for start in range(0, flat.size, step):
    part = slice(start, start + step)
    # 'clip' writes without a buffer. Nothing is clipped: the indices are of the array.
    np.take(array, flat[part], axis=0, out=found[part], mode="clip")
    let_go(array)
  return found.reshape(*indices.shape, *array.shape[1:])


def pieces(array: np.ndarray) -> Iterator[np.ndarray]:
  """Yields an array in pieces, one after the other."""
  size = max(1, _PIECE // max(1, array[:1].nbytes))
  for start in range(0, len(array), size):
    yield array[start : start + size]
    let_go(array)


def read_at_random(array: np.ndarray) -> None:
  """Tells the system that rows will be read in no order, so that it reads none but these."""
  if _is_large(array):
    _mapping(array).madvise(mmap.MADV_RANDOM)


def let_go(array: np.ndarray) -> None:
  """Gives back the memory that a large mapped file takes; later reads find the same content."""
  if _is_large(array):
    _mapping(array).madvise(mmap.MADV_DONTNEED)


def _is_large(array: np.ndarray) -> bool:
  mapping = _mapping(array)
  return mapping is not None and len(mapping) > _SMALL and hasattr(mmap, "MADV_DONTNEED")


def _mapping(array):
  """Returns the mmap in which an array lies, None if it lies in none."""
  while array is not None and not isinstance(array, mmap.mmap):
    array = getattr(array, "base", None)
  return array
