"""Decoded arrays on disk, beside the prepared files of a TFDS data folder.

Later runs map the arrays into memory and need no TFDS. Everything lies in the folder `mnist_mlp`
of the data folder. A dataset's arrays are written under a lock, in a scratch folder that is then
renamed: they appear complete or not at all. No more than some pieces of them are ever in memory.
"""

import contextlib
import fcntl
import importlib.metadata
import json
import os
import secrets
import shutil
import urllib.parse
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

from mnist_mlp.core.spec import Examples
from mnist_mlp.data import memory, npy

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


@contextlib.contextmanager
def unfinished(key: str, folder: Path, size: int) -> Iterator[Path]:
  """Yields a new folder for the files of a dataset's arrays, which `finish` puts in their place.

  The caller must hold the lock. What is not finished is removed in the end, and the arrays that
  were there before are removed at once: whoever writes found that they are of no use.

  Args:
    key: the key of the dataset's source.
    folder: the data folder.
    size: of the arrays, in bytes.

  Raises:
    OSError: the folder cannot be made, or there is no room for the arrays.
  """
  shutil.rmtree(place(key, folder), ignore_errors=True)
  # A name of its own: not everywhere does the lock hold others off.
  new = scratch(folder) / f"cache_{secrets.token_hex(4)}"
  new.mkdir(parents=True)
  free = memory.free_on_disk(new)
  try:
    if size > free:
      need, has = memory.in_words(size), memory.in_words(free)
      raise OSError(f"that takes {need} of the disk, but only {has} are free")
    yield new
  finally:
    shutil.rmtree(new, ignore_errors=True)


def files_of(folder: Path, split: str) -> Examples:
  """Returns the paths of the files, in a folder of arrays, that hold a split."""
  return Examples(*(folder / f"{split}_{field}.npy" for field in Examples._fields))


def finish(key: str, folder: Path, arrays: Arrays, written: Path, prepared: Path) -> None:
  """Puts arrays in the place of a dataset's. The caller must hold the lock.

  Nothing is flushed: should the power fail, the next start finds damage and decodes anew.

  Args:
    key: the key of the dataset's source.
    folder: the data folder.
    arrays: what the files in `written` hold.
    written: the folder that `unfinished` gave.
    prepared: the folder, inside `folder`, of the prepared files that the arrays came from.

  Raises:
    OSError: something cannot be written.
  """
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
  (written / "facts.json").write_text(f"{zlib.crc32(facts.encode()):08x}\n{facts}", "utf-8")
  os.rename(written, place(key, folder))


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
    splits = {split: Examples(*map(npy.mapped, files_of(kept, split))) for split in names}
    crcs = {split: [npy.crc_of_file(path) for path in files_of(kept, split)] for split in names}
    prepared = folder / facts["prepared"]
    valid = (
      checksum == f"{zlib.crc32(text.encode()):08x}"
      and facts["made_by"] == _maker()
      and facts["identity"] == _identity(prepared)
      and facts["fingerprint"] == fingerprint_of(crcs)
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


def fingerprint_of(crcs: Mapping[str, Iterable[int]]) -> str:
  """Returns a hex digest of all arrays, from the CRC-32 of each split's images and labels."""
  ordered = (crcs[name] for name in ("train", "test", "validation") if name in crcs)
  return "".join(f"{crc:08x}" for split in ordered for crc in split)
