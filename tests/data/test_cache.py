import os
import pickle
import re
import shutil
import zlib

import limits
import numpy as np
import pytest
from loading import assert_same, listing_of, load, run_python

from mnist_mlp import cgroup
from mnist_mlp.data import cache
from mnist_mlp.data import tfds as tfds_source
from mnist_mlp.errors import RunError


def flip(path, offset):
  content = bytearray(path.read_bytes())
  content[offset] ^= 1
  path.write_bytes(content)


DAMAGES = {
  "truncated images": lambda cache: os.truncate(cache / "train_images.npy", 500_000),
  "flipped pixel": lambda cache: flip(cache / "test_images.npy", 100_000),
  "flipped label": lambda cache: flip(cache / "train_labels.npy", 2000),
  "flipped shape": lambda cache: flip(cache / "train_images.npy", 65),
  "missing file": lambda cache: (cache / "test_labels.npy").unlink(),
  "empty file": lambda cache: (cache / "test_labels.npy").write_bytes(b""),
  "swapped files": lambda cache: os.replace(cache / "test_labels.npy", cache / "train_labels.npy"),
  "flipped class name": lambda cache: (cache / "facts.json").write_text(
    (cache / "facts.json").read_text().replace('"7"', '"8"')
  ),
  "empty facts": lambda cache: (cache / "facts.json").write_text(""),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_cache_is_rebuilt(digits_dir, digits_copy, damage):
  reference, _ = load(digits_dir)
  DAMAGES[damage](digits_copy / "mnist_mlp" / "digits")
  dataset, said = load(digits_copy)
  assert "decoded once" in said
  assert_same(dataset, reference)
  dataset, said = load(digits_copy)
  assert "decoded once" not in said
  assert_same(dataset, reference)
  assert listing_of(digits_copy) == listing_of(digits_dir)


class Executed:
  """Unpickled, it makes a folder: a pickle can run any code."""

  def __init__(self, folder):
    self.folder = folder

  def __reduce__(self):
    return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("write", ["pickle", "npy"])
def test_a_pickle_is_never_loaded(digits_dir, digits_copy, tmp_path, write):
  trap = tmp_path / "executed"
  path = digits_copy / "mnist_mlp" / "digits" / "test_labels.npy"
  if write == "pickle":
    path.write_bytes(pickle.dumps(Executed(trap)))
  else:
    np.save(path, np.array([Executed(trap)], object), allow_pickle=True)
  assert_same(load(digits_copy)[0], load(digits_dir)[0])
  assert not trap.exists()


def test_cache_follows_the_prepared_files(digits_copy):
  prepared = digits_copy / "digits" / "1.0.0"
  os.utime(next(prepared.glob("*train*")), (1, 1))
  assert "decoded once" in load(digits_copy)[1]
  shutil.rmtree(prepared)
  assert "preparing digits" in load(digits_copy)[1]


@pytest.mark.parametrize(
  "module, name, value", [(cache, "_FORMAT", 99), (tfds_source, "EMBEDDED", {"digits": "9.0.0"})]
)
def test_cache_of_other_code_is_rebuilt(digits_copy, monkeypatch, module, name, value):
  monkeypatch.setattr(module, name, value)
  assert "decoded once" in load(digits_copy)[1]


def test_cache_of_another_tfds_is_rebuilt(digits_copy, monkeypatch):
  monkeypatch.setattr(cache.importlib.metadata, "version", lambda package: "99.0")
  assert "decoded once" in load(digits_copy)[1]


def test_the_files_and_the_fingerprint_are_those_of_the_whole_arrays(digits_dir, tmp_path):
  """Decoding writes piece by piece. Runs keep the fingerprint, so it may never change."""
  dataset, _ = load(digits_dir, validation_examples=0)
  crcs = []
  for split in ("train", "test"):
    for field, array in getattr(dataset, split)._asdict().items():
      kept = digits_dir / "mnist_mlp" / "digits" / f"{split}_{field}.npy"
      np.save(tmp_path / "saved.npy", array)
      assert kept.read_bytes() == (tmp_path / "saved.npy").read_bytes()
      file = array if isinstance(array.base, np.memmap) else array.base  # Train is a slice.
      assert isinstance(file.base, np.memmap) and not array.flags.writeable
      crcs.append(zlib.crc32(array, zlib.crc32(f"{array.dtype}{array.shape}".encode())))
  assert dataset.fingerprint == "".join(f"{crc:08x}" for crc in crcs)


def test_a_process_killed_while_caching_leaves_no_damage(digits_dir, uncached):
  run_python(
    f"""
from mnist_mlp.data import npy
appends, append = itertools.count(), npy.OnDisk.append
def append_or_die(column, batch):
  append(column, batch)
  if next(appends) == 2:
    os.kill(os.getpid(), 9)
npy.OnDisk.append = append_or_die
load({str(uncached)!r})""",
    returncode=-9,
  )
  (left,) = (uncached / "mnist_mlp" / ".unfinished").glob("cache_*/train_images.npy")
  assert left.stat().st_size > 500_000
  assert_same(load(uncached)[0], load(digits_dir)[0])
  assert listing_of(uncached) == listing_of(digits_dir)


def test_folder_that_cannot_be_written_costs_only_the_cache(digits_dir, uncached):
  (uncached / "mnist_mlp").write_text("in the way")
  dataset, said = load(uncached)
  assert "decode digits anew" in said
  assert_same(dataset, load(digits_dir)[0])
  assert not dataset.train.images.flags.writeable


def test_a_disk_that_fills_up_costs_only_the_cache(digits_dir, uncached):
  with limits.small_files(500_000):
    dataset, said = load(uncached)
  assert "nothing can be kept" in said and "File too large" in said
  assert_same(dataset, load(digits_dir)[0])
  assert listing_of(uncached / "mnist_mlp") == [".lock"]


@pytest.fixture
def full_disk(uncached, tmp_path):
  """A data folder with prepared digits on a disk with too little room for the arrays."""
  with limits.small_disk(tmp_path / "disk") as resized:
    size = sum(path.stat().st_size for path in uncached.rglob("*") if path.is_file())
    yield shutil.copytree(uncached, resized(size // 1024 + 500), dirs_exist_ok=True)


def test_without_room_on_the_disk_nothing_is_written(digits_dir, full_disk):
  dataset, said = load(full_disk)
  assert re.search(r"takes 1.4 MB of the disk, but only 0.\d MB are free", said)
  assert_same(dataset, load(digits_dir)[0])


def test_without_room_on_the_disk_and_in_memory_one_sentence_says_so(full_disk, monkeypatch):
  monkeypatch.setattr(cgroup, "available", lambda: 10**6)
  sentence = r"digits, decoded, would take 1.4 MB of memory, .*1.0 MB .*, and nothing can be kept"
  with pytest.raises(RunError, match=sentence) as caught:
    load(full_disk)
  assert "\n" not in str(caught.value)
