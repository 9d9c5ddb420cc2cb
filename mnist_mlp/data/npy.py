"""Arrays that may be larger than memory: filled, and read through, some pieces at a time."""

import os
import zlib
from pathlib import Path

import numpy as np

_PIECE = 2**20  # bytes of a file in memory


def column(path: Path | None, shape: tuple[int, ...], dtype: type) -> "InMemory | OnDisk":
  """Returns an array to be filled from its beginning to its end: in a new file, or in memory."""
  return OnDisk(path, shape, dtype) if path else InMemory(shape, dtype)


class InMemory:
  """An array that is filled in memory, batch by batch."""

  def __init__(self, shape: tuple[int, ...], dtype: type):
    """Takes memory for an array of that shape and dtype."""
    self._array: np.ndarray = np.empty(shape, dtype)
    self._filled = 0
    self.crc = _initial_crc(shape, self._array.dtype)  # of shape, dtype and the bytes until now

  def append(self, batch: np.ndarray) -> None:
    """Adds the next items, a contiguous array [n, ...] of the array's dtype."""
    end = self._filled + len(batch)
    self._array[self._filled : end] = batch
    self._filled = end
    self.crc = zlib.crc32(batch.data, self.crc)

  def finished(self) -> np.ndarray:
    """Returns the whole array, read-only."""
    self._array.flags.writeable = False
    return self._array


class OnDisk:
  """An array that is filled in a new .npy file, which has the same bytes as np.save's.

  Plain writes rather than a mapping: on a full disk, they raise an OSError, while writing to a
  mapping would end the process.
  """

  def __init__(self, path: Path, shape: tuple[int, ...], dtype: type):
    """Begins a new file for an array of that shape and dtype; raises OSError if it cannot."""
    self._path, descr = path, np.dtype(dtype).str
    with path.open("xb") as file:
      header = {"descr": descr, "fortran_order": False, "shape": shape}
      np.lib.format.write_array_header_1_0(file, header)
    self.crc = _initial_crc(shape, np.dtype(dtype))

  def append(self, batch: np.ndarray) -> None:
    """Adds the next items; raises OSError if they cannot be written."""
    with self._path.open("r+b") as file:  # No new file: another process may have removed it.
      file.seek(0, os.SEEK_END)
      file.write(batch.data)
    self.crc = zlib.crc32(batch.data, self.crc)

  def finished(self) -> np.ndarray:
    """Returns the whole array, mapped into memory."""
    return mapped(self._path)


def mapped(path: Path) -> np.ndarray:
  """Returns the array of a .npy file, mapped into memory, read-only.

  It is a plain array, since np.memmap makes every slice slower. Its `base` is the np.memmap. A
  file of Python objects is refused: ValueError.
  """
  return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))


def _initial_crc(shape: tuple[int, ...], dtype: np.dtype) -> int:
  """Returns the CRC-32 of an array's shape and dtype, with which that of its bytes begins."""
  return zlib.crc32(f"{dtype}{shape}".encode())


def crc_of_file(path: Path) -> int:
  """Returns the CRC-32 of the array in a .npy file: of its shape, its dtype and its bytes.

  The file is read, not mapped: nothing of it stays with this process.
  """
  whole = np.load(path, mmap_mode="r", allow_pickle=False)
  crc, left = _initial_crc(whole.shape, whole.dtype), whole.nbytes
  buffer = memoryview(bytearray(_PIECE))
  with path.open("rb", buffering=0) as file:
    file.seek(whole.offset)
    while left and (count := file.readinto(buffer[: min(left, _PIECE)])):
      crc, left = zlib.crc32(buffer[:count], crc), left - count
  return crc
