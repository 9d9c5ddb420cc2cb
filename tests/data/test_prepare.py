import contextlib
import os
import resource
import threading

import own_files
import pytest
from loading import assert_same, listing_of, load, run_python
from pixels import PixelsOne, PixelsTwo, serve
from tensorflow_datasets.core import shuffle

from mnist_mlp import cgroup
from mnist_mlp.errors import RunError


@pytest.mark.slow
def test_a_process_killed_while_preparing_leaves_no_damage(digits_dir, tmp_path):
  folder = tmp_path / "data"
  run_python(
    f"""
from mnist_mlp.data import digits
def examples(self, images, labels):
  yield 0, {{"image": images[0], "label": 3}}
  os.kill(os.getpid(), 9)
digits.Digits._generate_examples = examples
load({str(folder)!r})""",
    returncode=-9,
  )
  assert (folder / "mnist_mlp" / ".unfinished").is_dir()
  assert_same(load(folder)[0], load(digits_dir)[0])
  assert listing_of(folder) == listing_of(digits_dir)


@pytest.mark.slow
def test_two_processes_prepare_at_once_and_ask_no_network(digits_dir, tmp_path):
  code = f"""
import socket
def refuse(*args, **kwargs):
  print("NETWORK", args)
  raise OSError
socket.getaddrinfo = socket.socket.connect = refuse
print(load({str(tmp_path)!r}).fingerprint)"""
  with contextlib.ExitStack() as stack:
    outcomes = []
    threads = [threading.Thread(target=lambda: outcomes.append(run_python(code))) for _ in range(2)]
    for thread in threads:
      thread.start()
      stack.callback(thread.join)
  assert len(outcomes) == 2
  for outcome in outcomes:
    assert outcome.stdout.endswith(load(digits_dir)[0].fingerprint + "\n")
    assert outcome.stdout.count("\n") <= 3, outcome.stdout
    assert outcome.stderr == ""
  assert listing_of(tmp_path) == listing_of(digits_dir)


def test_what_memory_cannot_hold_is_sorted_on_disk_into_the_same_order(tmp_path, monkeypatch):
  """There, TFDS opens more files than a process may by default, while it reads the pictures."""
  own_files.write_pictures(tmp_path / "mine")
  in_memory, _ = own_files.load(tmp_path / "mine", tmp_path / "data")
  buckets, add = set(), shuffle._Bucket.add
  monkeypatch.setattr(
    shuffle._Bucket, "add", lambda bucket, *args: (buckets.add(bucket), add(bucket, *args))
  )
  monkeypatch.setattr(cgroup, "available", lambda: 20_000)
  before = resource.getrlimit(resource.RLIMIT_NOFILE)
  try:
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 60, before[1]))
    on_disk, _ = own_files.load(tmp_path / "mine", tmp_path / "other")
  finally:
    resource.setrlimit(resource.RLIMIT_NOFILE, before)
  assert len(buckets) > 100
  assert_same(on_disk, in_memory)


def test_an_incomplete_folder_in_the_way_is_an_error(tmp_path):
  (tmp_path / "digits" / "1.0.0").mkdir(parents=True)
  with pytest.raises(RunError, match=f"{tmp_path}/digits/1.0.0: .*no complete dataset"):
    load(tmp_path)


def test_same_file_names_do_not_mix_datasets(tmp_path, make_files):
  for builder, values in [(PixelsOne, (1, 2)), (PixelsTwo, (3, 4))]:
    dataset, said = load(
      tmp_path / "data",
      name=builder.name,
      validation_examples=0,
      manual_dir=make_files(builder, values),
    )
    assert "from the original files in" in said and "original files" in dataset.source
    assert sorted(dataset.train.images[:, 0, 0, 0]) == list(values)
    assert dataset.class_names == ("cat", "dog") and dataset.image_shape == (4, 4, 3)


def test_a_download_is_prepared(tmp_path, make_files):
  with serve(tmp_path / "files") as url:
    make_files(PixelsOne, (7, 9), url)
    dataset, said = load(tmp_path / "data", name="pixels_one", validation_examples=0)
  assert "once, from a download" in said
  assert sorted(dataset.train.images[:, 0, 0, 0]) == [7, 9]
  assert "once" not in load(tmp_path / "data", name="pixels_one", validation_examples=0)[1]
  assert not (tmp_path / "data" / "mnist_mlp" / ".unfinished").exists()


def test_a_failing_download_is_an_error_and_leaves_nothing(tmp_path, make_files):
  with serve(tmp_path / "files") as url:
    (make_files(PixelsOne, (7, 9), url) / "pixels.gz").write_bytes(b"something else")
    with pytest.raises(RunError, match=r"could not be prepared in .*checksum"):
      load(tmp_path / "data", name="pixels_one", validation_examples=0)
  assert listing_of(tmp_path / "data") == ["mnist_mlp", "mnist_mlp/.lock"]
