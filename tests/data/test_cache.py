import errno
import os
import pickle
import shutil

import numpy as np
import pytest
from loading import assert_same, listing_of, load, run_python

from mnist_mlp.data import cache
from mnist_mlp.data import tfds as tfds_source


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


def test_a_process_killed_while_caching_leaves_no_damage(digits_dir, uncached):
  run_python(
    f"""
saves = itertools.count()
save = np.save
np.save = lambda *args: os.kill(os.getpid(), 9) if next(saves) == 2 else save(*args)
load({str(uncached)!r})""",
    returncode=-9,
  )
  assert (uncached / "mnist_mlp" / ".unfinished" / "cache").is_dir()
  assert_same(load(uncached)[0], load(digits_dir)[0])
  assert listing_of(uncached) == listing_of(digits_dir)


def test_folder_that_cannot_be_written_costs_only_the_cache(digits_dir, uncached):
  (uncached / "mnist_mlp").write_text("in the way")
  dataset, said = load(uncached)
  assert "decode digits anew" in said
  assert_same(dataset, load(digits_dir)[0])
  assert not dataset.train.images.flags.writeable


def test_full_disk_costs_only_the_cache(digits_dir, uncached, monkeypatch):
  def save(path, array):
    path.write_bytes(b"half")
    raise OSError(errno.ENOSPC, "No space left on device")

  monkeypatch.setattr(np, "save", save)
  dataset, said = load(uncached)
  assert "No space left on device" in said
  assert_same(dataset, load(digits_dir)[0])
  assert listing_of(uncached / "mnist_mlp") == [".lock"]
