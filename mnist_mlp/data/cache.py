"""The decoded arrays of datasets, kept beside the prepared files of a TFDS data folder.

Later runs only map them into memory, without TFDS. All of this lies in the folder `mnist_mlp` of
the data folder; it is made under a lock and appears whole or not at all.
"""

import contextlib
import fcntl
import importlib.metadata
import json
import os
import shutil
import urllib.parse
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

_FORMAT = 1  # goes up when the layout of the cache changes

Report = Callable[[str], None]


class Split(NamedTuple):
  """Examples, in the order of the prepared files; the arrays are read-only."""

  images: np.ndarray  # uint8 [N, H, W, C]
  labels: np.ndarray  # int32 [N], in [0, num_classes)

  @property
  def num_examples(self) -> int:
    """N."""
    return len(self.labels)


class Arrays(NamedTuple):
  """A dataset as every way to obtain one returns it: complete, validation still in train."""

  version: str
  class_names: tuple[str, ...]
  train: Split
  test: Split
  fingerprint: str
  source: str


def _own(folder: Path) -> Path:
  return folder / "mnist_mlp"


def scratch(folder: Path) -> Path:
  """Where everything is made, under the lock; it is renamed when complete, or else swept away."""
  return _own(folder) / ".unfinished"


def place(name: str, folder: Path) -> Path:
  """Returns the folder of a dataset's arrays."""
  return _own(folder) / urllib.parse.quote(name, safe="")


@contextlib.contextmanager
def lock(folder: Path, report: Report) -> Iterator[str]:
  """Holds the lock of `folder`; yields '', or in words why it cannot be had."""
  with contextlib.ExitStack() as stack:
    try:
      _own(folder).mkdir(parents=True, exist_ok=True)
      file = stack.enter_context(open(_own(folder) / ".lock", "w"))
      try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
      except BlockingIOError:
        report(f"data: waiting for another process that prepares data in {folder}")
        fcntl.flock(file, fcntl.LOCK_EX)
      obstacle = ""
    except OSError as error:
      obstacle = str(error)
    else:
      shutil.rmtree(scratch(folder), ignore_errors=True)  # What a killed process left.
      stack.callback(shutil.rmtree, scratch(folder), ignore_errors=True)
    yield obstacle


def write(name: str, folder: Path, arrays: Arrays, prepared: Path) -> str:
  """Replaces the cache of a dataset; returns '', or in words why it cannot. Needs the lock."""
  unfinished, target = scratch(folder) / "cache", place(name, folder)
  facts = json.dumps(
    {
      "made_by": _maker(),
      "prepared": str(prepared.relative_to(folder)),
      "identity": _identity(prepared),
      "version": arrays.version,
      "class_names": arrays.class_names,
      "fingerprint": arrays.fingerprint,
    }
  )
  try:
    shutil.rmtree(target, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for split in ("train", "test"):
      for field, array in getattr(arrays, split)._asdict().items():
        np.save(unfinished / f"{split}_{field}.npy", array)
    (unfinished / "facts.json").write_text(f"{zlib.crc32(facts.encode()):08x}\n{facts}")
    os.rename(unfinished, target)
  except OSError as error:
    return str(error)
  return ""


def read(name: str, folder: Path) -> Arrays | None:
  """Returns the cached arrays, mapped into memory, or None unless they are whole and current."""
  kept = place(name, folder)
  try:
    checksum, text = (kept / "facts.json").read_text().split("\n")
    facts = json.loads(text)
    train, test = (
      Split(
        *(
          np.asarray(np.load(kept / f"{split}_{field}.npy", mmap_mode="r"))
          for field in Split._fields
        )
      )
      for split in ("train", "test")
    )
    prepared = folder / facts["prepared"]
    valid = (
      checksum == f"{zlib.crc32(text.encode()):08x}"
      and facts["made_by"] == _maker()
      and facts["identity"] == _identity(prepared)
      and facts["fingerprint"] == fingerprint(train, test)
    )
  except Exception:  # Whatever is wrong with a cache, it is no more than a cache.
    return None
  if not valid:
    return None
  return Arrays(
    facts["version"],
    tuple(facts["class_names"]),
    train,
    test,
    facts["fingerprint"],
    describe(prepared),
  )


def describe(prepared: str | Path) -> str:
  """Returns in words where a dataset is prepared."""
  return f"prepared in {prepared}"


def _maker() -> list:
  return [_FORMAT, importlib.metadata.version("tensorflow-datasets")]


def _identity(prepared: Path) -> list[list]:
  """Returns what changes whenever the prepared files do."""
  return [
    [path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in sorted(prepared.iterdir())
  ]


def fingerprint(*splits: Split) -> str:
  """Returns a hex digest of the arrays' shapes, types and contents."""
  crcs = []
  for array in (array for split in splits for array in split):
    crcs.append(zlib.crc32(array, zlib.crc32(f"{array.dtype}{array.shape}".encode())))
  return "".join(f"{crc:08x}" for crc in crcs)
