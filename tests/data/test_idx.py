import gzip
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
  pairs,
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


def immense(root):
  """Images that no machine can hold, in a file whose header is right."""
  path = root / "train-images.idx3-ubyte"
  path.write_bytes(idx(np.zeros((1, 1, 1)))[:4] + struct.pack(">3I", 10, 2**19, 2**19))
  os.truncate(path, 16 + 10 * 2**38)
  (root / "train-labels.idx1-ubyte").write_bytes(idx(np.arange(10)))


TOO_MUCH = [
  (write_idx_dotted, immense, r"ubyte: an image of dimensions .* would take 274.9 GB"),
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


def write_emnist(root, mapping=""):
  """Writes EMNIST's own names: every image transposed, labels from 1."""
  root.mkdir()
  for split, part in (("train", TRAIN), ("test", slice(120, 160))):
    images, labels = examples(part)
    for kind, array in (("images-idx3", images.swapaxes(1, 2)), ("labels-idx1", labels + 1)):
      name = f"emnist-letters-{split}-{kind}-ubyte.gz"
      (root / name).write_bytes(gzip.compress(idx(array)))
  if mapping:
    (root / "emnist-letters-mapping.txt").write_text(mapping)


def test_emnists_own_files_are_turned_and_named(tmp_path):
  write_emnist(tmp_path / "mine", "".join(f"{n} {64 + n} {96 + n}\n" for n in range(1, 11)))
  dataset, _ = load(tmp_path / "mine", tmp_path / "data")
  assert dataset.class_names == tuple("ABCDEFGHIJ") and dataset.image_shape == (8, 10, 1)
  assert pairs(*dataset.train) == pairs(*examples(TRAIN))


def test_without_its_mapping_the_labels_are_the_names(tmp_path):
  write_emnist(tmp_path / "mine")
  found = source(tmp_path / "mine")
  assert found.classes == {label: str(label) for label in range(1, 11)}
  (_, example), *_ = found.examples("train")
  np.testing.assert_array_equal(example["image"][..., 0], examples(TRAIN)[0][0])
  assert example["label"] == examples(TRAIN)[1][0]


def test_a_mapping_that_is_none_is_refused(tmp_path):
  write_emnist(tmp_path / "mine", "A 1\n")
  with pytest.raises(RunError, match=r"emnist-letters-mapping.txt is not EMNIST's, or damaged"):
    load(tmp_path / "mine", tmp_path / "data")
