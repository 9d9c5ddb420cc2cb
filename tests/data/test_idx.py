import gzip
import os

import numpy as np
import pytest
from own_files import assert_refused, idx, load, put, rewrite, write_idx, write_idx_dotted

from mnist_mlp.data import files
from mnist_mlp.errors import RunError


def test_a_plain_file_counts_more_than_a_compressed_one(tmp_path):
  write_idx_dotted(tmp_path / "mine")
  (tmp_path / "mine" / "train-labels.idx1-ubyte.gz").write_bytes(b"not looked at")
  assert len(list(files.find(str(tmp_path / "mine")).examples("train", None))) == 120


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
    "train-images-idx3-ubyte.gz is truncated: it holds 9615 bytes, but 9616 .*120, 8, 10",
  ),
  (
    write_idx,
    rewrite("train-labels-idx1-ubyte.gz", lambda c: c + b"1"),
    "train-labels-idx1-ubyte.gz is too long: it holds 129 bytes, but 128",
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
    put("t10k-images-idx3-ubyte.gz", gzip.compress(idx(np.zeros((40, 9, 8))))),
    "t10k-images-idx3-ubyte.gz: image 0 is 9x8x1, but the first one of train is 8x10x1",
  ),
  (
    write_idx,
    rewrite("train-labels-idx1-ubyte.gz", lambda c: c[:11] + b"\x17" + c[12:]),
    "train-labels-idx1-ubyte.gz: item 3 has label 23, but the 11 different labels of train must",
  ),
  (
    write_idx,
    rewrite("t10k-labels-idx1-ubyte.gz", lambda c: c[:-1] + b"\x0a"),
    "t10k-labels-idx1-ubyte.gz: item 39 has label 10, which train has not; .* 0 to 9",
  ),
]


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_idx_file_is_refused(tmp_path, case):
  assert_refused(tmp_path, RunError, case)


def test_mnists_original_files_are_read_as_they_are(mnist_files):
  source = files.find(str(mnist_files))
  assert source.class_names == tuple("0123456789") and source.image_shape == (28, 28, 1)
  for split, size, first in (("train", 60_000, [5, 0, 4]), ("test", 10_000, [7, 2, 1])):
    labels = [example["label"] for _, example in source.examples(split, (28, 28, 1))]
    assert len(labels) == size and labels[:3] == first


@pytest.mark.slow
def test_mnists_original_files_are_mnist(mnist_files, mnist_dir, tmp_path):
  """The same bits, in the same order, as TFDS's own dataset: the same runs."""
  ours, _ = load(mnist_files, tmp_path)
  theirs, _ = load("", mnist_dir)
  assert ours.fingerprint == theirs.fingerprint and ours.class_names == theirs.class_names
