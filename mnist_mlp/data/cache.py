"""Decoded arrays on disk, beside the prepared files of a TFDS data folder.

Later runs map the arrays into memory and need no TFDS. Everything lies in the folder `mnist_mlp`
of the data folder. A dataset's arrays are written under a lock, in a scratch folder that is then
renamed: they appear complete or not at all.
"""

import contextlib
import fcntl
import importlib.metadata
import json
import os
import shutil
import urllib.parse
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from mnist_mlp.core.spec import Examples

_FORMAT = 1  # Increase it when the layout of the cache changes.

Report = Callable[[str], None]  # is called with one line for the user


class Arrays(NamedTuple):
  """A whole dataset. Without a validation split, validation examples are the last ones of train."""

  version: str
  class_names: tuple[str, ...]
  train: Examples  # NumPy, read-only, in the order of the prepared files
  test: Examples  # likewise
  fingerprint: str  # of all splits, see `fingerprint_of`
  origin: str  # one line: where the data came from
  validation: Examples | None = None  # as train, if the source has such a split
  remarks: tuple[str, ...] = ()  # of the source: lines that every start shows

  def splits(self) -> dict[str, Examples]:
    """Returns the splits that there are, by their names."""
    found = {"train": self.train, "test": self.test}
    return found if self.validation is None else {**found, "validation": self.validation}


def scratch(folder: Path) -> Path:
  """Returns the folder for unfinished work, which whoever holds the lock may use.

  A finished result is renamed to its place. Everything else is deleted when the lock is released.
  """
  return _own(folder) / ".unfinished"


def place(key: str, folder: Path) -> Path:
  """Returns the folder of a dataset's arrays; `key` is the one of its source."""
  return _own(folder) / urllib.parse.quote(key, safe="")


def _own(folder: Path) -> Path:
  return folder / "mnist_mlp"


@contextlib.contextmanager
def lock(folder: Path, report: Report) -> Iterator[str]:
  """Holds the lock of a data folder, and waits for it if another process holds it.

  Yields '', or in words why nothing can be written there. Some file systems know no locks: that is
  said, and then two processes may prepare the same data at the same time, which only costs time.
  """
  with contextlib.ExitStack() as stack:
    try:
      _own(folder).mkdir(parents=True, exist_ok=True)
      # For reading too: a pipe of that name, opened for writing alone, would be waited for.
      file = stack.enter_context(open(_own(folder) / ".lock", "ab+"))
      _hold(file, folder, report)
      obstacle = ""
    except OSError as error:
      obstacle = str(error)
    else:
      shutil.rmtree(scratch(folder), ignore_errors=True)  # A killed process may have left it.
      stack.callback(shutil.rmtree, scratch(folder), ignore_errors=True)
    yield obstacle


def _hold(file: BinaryIO, folder: Path, report: Report) -> None:
  try:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      report(f"data: waiting for another process that prepares data in {folder}")
      fcntl.flock(file, fcntl.LOCK_EX)
  except OSError as error:  # ENOLCK, ENOSYS, EOPNOTSUPP
    report(
      f"data: going on without a lock, which the file system of {folder} cannot give: "
      f"{error.strerror}; start one process at a time until the data are prepared"
    )


def write(key: str, folder: Path, arrays: Arrays, prepared: Path) -> str:
  """Replaces the arrays of a dataset on disk. The caller must hold the lock.

  Args:
    key: the key of the dataset's source.
    folder: the data folder.
    arrays: what to write.
    prepared: the folder, inside `folder`, of the prepared files that the arrays came from.

  Returns:
    '', or in words why the arrays cannot be written.
  """
  unfinished, target = scratch(folder) / "cache", place(key, folder)
  facts = json.dumps(
    {
      "made_by": _maker(),
      "prepared": str(prepared.relative_to(folder)),
      "identity": _identity(prepared),
      "version": arrays.version,
      "class_names": arrays.class_names,
      "fingerprint": arrays.fingerprint,
      "splits": list(arrays.splits()),
      "remarks": arrays.remarks,
    }
  )
  try:
    shutil.rmtree(target, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for split, examples in arrays.splits().items():
      for field, array in examples._asdict().items():
        np.save(unfinished / f"{split}_{field}.npy", array)
    (unfinished / "facts.json").write_text(f"{zlib.crc32(facts.encode()):08x}\n{facts}", "utf-8")
    os.rename(unfinished, target)
  except OSError as error:
    return str(error)
  return ""


def read(key: str, folder: Path) -> Arrays | None:
  """Returns the arrays of a dataset, mapped into memory.

  Returns None if there are no arrays, if they are damaged, or if the prepared files, TFDS or this
  module have changed since the arrays were written.
  """
  kept = place(key, folder)
  try:
    checksum, text = (kept / "facts.json").read_text("utf-8").split("\n")
    facts = json.loads(text)
    # Earlier versions wrote these two splits, and no names of splits.
    names = facts.get("splits", ["train", "test"])
    splits = {split: _map_split(kept, split) for split in names}
    prepared = folder / facts["prepared"]
    valid = (
      checksum == f"{zlib.crc32(text.encode()):08x}"
      and facts["made_by"] == _maker()
      and facts["identity"] == _identity(prepared)
      and facts["fingerprint"] == fingerprint_of(splits)
    )
  except Exception:  # A damaged cache can raise anything, and must only cost time.
    return None
  if not valid:
    return None
  return Arrays(
    facts["version"],
    tuple(facts["class_names"]),
    splits["train"],
    splits["test"],
    facts["fingerprint"],
    describe(prepared),
    splits.get("validation"),
    tuple(facts.get("remarks", ())),
  )


def _map_split(kept: Path, split: str) -> Examples:
  # asarray: plain arrays whose memory is the file's, since np.memmap makes every slice slower.
  paths = (kept / f"{split}_{field}.npy" for field in Examples._fields)
  arrays = (np.load(path, mmap_mode="r", allow_pickle=False) for path in paths)
  return Examples(*map(np.asarray, arrays))


def describe(prepared: str | Path) -> str:
  """Returns in words where a dataset is prepared."""
  return f"prepared in {prepared}"


def _maker() -> list[int | str]:
  return [_FORMAT, importlib.metadata.version("tensorflow-datasets")]


def _identity(prepared: Path) -> list[list[str | int]]:
  """Returns the names, sizes and times of the prepared files."""
  return [
    [path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in sorted(prepared.iterdir())
  ]


def fingerprint_of(splits: Mapping[str, Examples]) -> str:
  """Returns a hex digest of the arrays' shapes, dtypes and contents: train, test, validation."""
  crcs = []
  ordered = (splits[name] for name in ("train", "test", "validation") if name in splits)
  for array in (array for split in ordered for array in split):
    crcs.append(zlib.crc32(array, zlib.crc32(f"{array.dtype}{array.shape}".encode())))
  return "".join(f"{crc:08x}" for crc in crcs)
