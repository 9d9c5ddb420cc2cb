import errno
import fcntl
import os

import pytest
from loading import assert_same, load, options, run_python

from mnist_mlp import data
from mnist_mlp.data import cache
from mnist_mlp.errors import RunError

# What is imported.


def test_cached_data_takes_neither_tensorflow_nor_tfds(digits_dir):
  run_python(f"""
load({str(digits_dir)!r})
assert "tensorflow_datasets" not in sys.modules and "tensorflow" not in sys.modules""")


def test_prepared_data_takes_no_tensorflow(uncached):
  run_python(f"""
load({str(uncached)!r})
assert "tensorflow_datasets" in sys.modules and "tensorflow" not in sys.modules""")


def test_only_preparing_needs_tensorflow_installed(uncached, tmp_path):
  process = run_python(f"""
from importlib.machinery import PathFinder
from mnist_mlp.errors import RunError
class WithoutTensorFlow(PathFinder):
  @classmethod
  def find_spec(cls, name, *args):
    return None if name == "tensorflow" else PathFinder.find_spec(name, *args)
sys.meta_path[sys.meta_path.index(PathFinder)] = WithoutTensorFlow
load({str(uncached)!r})
try:
  load({str(tmp_path / "empty")!r})
except RunError as error:
  print(error)""")
  assert "this takes TensorFlow, once, which is not installed" in process.stdout


# Locks and folders.


def test_waits_for_the_lock_and_then_takes_what_the_other_made(digits_dir, digits_copy):
  kept = digits_copy / "mnist_mlp" / "digits"
  kept.rename(digits_copy / "aside")
  said = []
  with open(digits_copy / "mnist_mlp" / ".lock") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)

    def report(line):
      said.append(line)
      if "waiting for another process" in line:
        (digits_copy / "aside").rename(kept)
        fcntl.flock(lock, fcntl.LOCK_UN)

    dataset = data.load(options(data_dir=digits_copy), report=report)
  assert "waiting for another process" in said[-1]
  assert_same(dataset, load(digits_dir)[0])


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_said_and_used(digits_dir, uncached, monkeypatch, number):
  def flock(file, operation):
    raise OSError(number, os.strerror(number))

  monkeypatch.setattr(cache.fcntl, "flock", flock)
  dataset, said = load(uncached)
  assert said.count("going on without a lock") == 1 and os.strerror(number) in said
  assert "waiting" not in said and "nothing can be kept" not in said
  assert_same(dataset, load(digits_dir)[0])
  assert "decoded once" not in load(uncached)[1]


def test_a_pipe_in_place_of_the_lock_is_not_waited_for(digits_dir, uncached):
  (uncached / "mnist_mlp").mkdir()
  os.mkfifo(uncached / "mnist_mlp" / ".lock")
  assert_same(load(uncached)[0], load(digits_dir)[0])


def test_a_data_dir_that_cannot_be_written_is_an_error(tmp_path):
  (tmp_path / "mnist_mlp").write_text("in the way")
  with pytest.raises(RunError, match=f"cannot be written.*{tmp_path}"):
    load(tmp_path)
