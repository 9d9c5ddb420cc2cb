import gzip
import math
import os
import struct
import tracemalloc

import numpy as np
import pytest
from own_files import (
  TRAIN,
  assert_refused,
  examples,
  idx,
  load,
  put,
  rewrite,
  source,
  write_idx,
  write_idx_dotted,
)

from mnist_mlp.errors import RunError


def test_a_plain_file_counts_more_than_a_compressed_one(tmp_path):
  write_idx_dotted(tmp_path / "mine")
  (tmp_path / "mine" / "train-labels.idx1-ubyte.gz").write_bytes(b"not looked at")
  assert len(list(source(tmp_path / "mine").examples("train"))) == 120


BAD_FILES = [
  (
    write_idx,
    rewrite("train-images-idx3-ubyte.gz", lambda c: b"\1" + c[1:]),
    "train-images-idx3-ubyte.gz is not such an IDX file: .* 2051",
  ),
  (
    write_idx,
    rewrite("t10k-labels-idx1-ubyte.gz", lambda c: c[:3]),
    "t10k-labels-idx1-ubyte.gz is not such an IDX file: .* 2049",
  ),
  (
    write_idx,
    rewrite("train-images-idx3-ubyte.gz", lambda c: c[:-1]),
    "train-images-idx3-ubyte.gz is truncated: it does not hold the 9600 bytes .*120, 8, 10",
  ),
  (
    write_idx,
    rewrite("train-labels-idx1-ubyte.gz", lambda c: c + b"1"),
    "train-labels-idx1-ubyte.gz is too long: it holds more than the 120 bytes",
  ),
  (
    write_idx,
    lambda root: os.truncate(root / "train-images-idx3-ubyte.gz", 500),
    "train-images-idx3-ubyte.gz is damaged or cannot be read: .*ended before",
  ),
  (
    write_idx,
    put("t10k-images-idx3-ubyte.gz", b"PK"),
    "t10k-images-idx3-ubyte.gz is damaged or cannot be read: Not a gzipped",
  ),
  (
    write_idx,
    put("t10k-labels-idx1-ubyte.gz", gzip.compress(idx(np.zeros(39)))),
    "t10k-images-idx3-ubyte.gz holds 40 images, but {root}/t10k-labels-idx1-ubyte.gz 39 labels",
  ),
  (
    write_idx,
    put("t10k-images-idx3-ubyte.gz", gzip.compress(idx(np.zeros((40, 0, 9))))),
    r"t10k-images-idx3-ubyte.gz is empty: its dimensions are \(40, 0, 9\)",
  ),
  (
    write_idx,
    rewrite("t10k-labels-idx1-ubyte.gz", lambda c: c[:-1] + b"\x0a"),
    "t10k-labels-idx1-ubyte.gz: item 39 has the label 10, which is none of the 10 classes of",
  ),
]


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_idx_file_is_refused(tmp_path, case):
  assert_refused(tmp_path, RunError, case)


def sparse(size):
  """Returns a damage: images whose header is right, and which no machine can hold."""

  def damage(root):
    path = root / "train-images.idx3-ubyte"
    path.write_bytes(idx(np.zeros((1, 1, 1)))[:4] + struct.pack(">3I", *size))
    os.truncate(path, 16 + math.prod(size))

  return damage


TOO_MUCH = [
  (
    write_idx_dotted,
    sparse((2**8, 2**16, 2**16)),
    r"ubyte, of dimensions .*, would take 1,099.5 GB",
  ),
  (
    write_idx,
    rewrite("train-images-idx3-ubyte.gz", lambda c: c[:4] + b"\x7f" * 12 + c[16:]),
    "train-images-idx3-ubyte.gz is truncated: it does not hold the 9787",
  ),
]


@pytest.mark.parametrize("case", TOO_MUCH)
def test_what_no_memory_can_hold_is_refused_by_its_header(tmp_path, case):
  assert_refused(tmp_path, RunError, case)


def test_a_file_is_not_unfolded_beyond_what_its_header_announces(tmp_path):
  write_idx(tmp_path / "mine")
  path = tmp_path / "mine" / "train-images-idx3-ubyte.gz"
  with gzip.open(path, "wb", compresslevel=1) as file:
    file.write(idx(examples(TRAIN)[0]))
    for _ in range(200):
      file.write(bytes(10**6))
  tracemalloc.start()
  try:
    with pytest.raises(RunError, match="too long: it holds more than the 9600 bytes"):
      load(tmp_path / "mine", tmp_path / "data")
    assert tracemalloc.get_traced_memory()[1] < 50e6
  finally:
    tracemalloc.stop()


def test_mnists_original_files_are_read_as_they_are(mnist_files):
  found = source(mnist_files)
  assert tuple(found.classes.values()) == tuple("0123456789")
  assert found.image_shape == (28, 28, 1)
  for split, size, first in (("train", 60_000, [5, 0, 4]), ("test", 10_000, [7, 2, 1])):
    labels = [example["label"] for _, example in found.examples(split)]
    assert len(labels) == size and labels[:3] == first


@pytest.mark.slow
def test_mnists_original_files_are_mnist(mnist_files, mnist_dir, tmp_path):
  """The same bits, in the same order, as TFDS's own dataset: the same runs."""
  ours, _ = load(mnist_files, tmp_path)
  theirs, _ = load("", mnist_dir)
  assert ours.fingerprint == theirs.fingerprint and ours.class_names == theirs.class_names
