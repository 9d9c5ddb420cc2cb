import re
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from own_files import TEST, assert_refused, encode, examples, load, put, rows, table, write_parquet

from mnist_mlp.errors import RunError


def drop(column):
  def damage(root):
    path = root / "data" / "test-00000-of-00001.parquet"
    pq.write_table(pq.read_table(path).drop_columns(column), path)

  return damage


def flip_bytes(root):
  """Damages data pages, which no footer checks."""
  path = root / "data" / "train-00001-of-00002.parquet"
  content = bytearray(path.read_bytes())
  content[200 : len(content) // 2] = bytes(len(content) // 2 - 200)
  path.write_bytes(content)


def flipped(png):
  """Returns the file with a bit of its pixels changed, which may well be decoded."""
  middle = png.index(b"IDAT") + 20
  return png[:middle] + bytes([png[middle] ^ 1]) + png[middle + 1 :]


GOOD = examples(TEST)[0][0]


TEST_PARQUET = "test-00000-of-00001.parquet: "


BAD_FILES = [
  (write_parquet, put("data/train-2.parquet", b"PAR"), "train-2.parquet is not a Parquet file"),
  (write_parquet, flip_bytes, "train-00001-of-00002.parquet is not a Parquet file, or is da"),
  (write_parquet, drop("label"), TEST_PARQUET + "it does not show which column holds labels"),
  (write_parquet, drop("image"), TEST_PARQUET + "it does not show which column holds pictures"),
  (write_parquet, rows(label_type=pa.float32()), "holds labels, as .*'label' .float."),
  (write_parquet, rows(labels=["7"] * 40, label_type=pa.string()), "row 0 has the label '7', wh"),
  (
    write_parquet,
    rows(images=["x"] * 40, image_type=pa.string()),
    TEST_PARQUET + "it does not show which column holds pictures, as bytes; .*'image' .string.",
  ),
  (write_parquet, rows(labels=[1, 2, None]), TEST_PARQUET + "row 2 has no label: it is null"),
  (write_parquet, rows(labels=[1, 2, 3, -4]), TEST_PARQUET + "row 3 has the label -4, which is"),
  (write_parquet, rows(labels=[1, 10]), TEST_PARQUET + "row 1 has the label 10, which is none"),
  (write_parquet, rows(images=[GOOD, None]), TEST_PARQUET + "row 1 has no picture: it is null"),
  (
    write_parquet,
    rows(images=[GOOD, None], image_type=pa.binary()),
    TEST_PARQUET + "row 1 has no picture: it is null",
  ),
  (
    write_parquet,
    rows(images=[GOOD, GOOD, b"GIF"]),
    TEST_PARQUET + "the picture of row 2 is not a picture of a known format",
  ),
  (
    write_parquet,
    rows(images=[encode(GOOD)[:-20]]),
    TEST_PARQUET + "the picture of row 0 is damaged",
  ),
  (
    write_parquet,
    rows(images=[GOOD, flipped(encode(GOOD))]),
    TEST_PARQUET + "the picture of row 1 is damaged",
  ),
  (write_parquet, put("data/test-00000-of-00001.parquet", b"PAR1"), "is not a Parquet file"),
  (
    write_parquet,
    lambda root: pq.write_table(table([], []), root / "data" / "test-00000-of-00001.parquet"),
    "test-00000-of-00001.parquet has no rows, nor has any other file of the same",
  ),
]


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_parquet_file_is_refused(tmp_path, case):
  assert_refused(tmp_path, RunError, case)


def test_more_pictures_than_memory_can_hold_are_refused_before_any_is_unfolded(tmp_path):
  """A million rows, almost all of them without a picture, take little space in a file."""
  write_parquet(tmp_path / "mine")
  for path in (tmp_path / "mine" / "data").iterdir():
    picture = encode(np.zeros((2000, 2000), np.uint8))
    images = pa.array([picture, *[None] * (10**6 - 1)], pa.binary())
    pq.write_table(pa.table({"image": images, "label": np.arange(10**6) % 10}), path)
  with pytest.raises(RunError, match=r"3,000,000 images of 2000x2000x1, would take 12,000.0 GB"):
    load(tmp_path / "mine", tmp_path / "data", image_size=(2000, 2000), channels=1)


def test_without_pyarrow_the_error_says_how_to_install_it(tmp_path, monkeypatch):
  write_parquet(tmp_path / "mine")
  monkeypatch.setitem(sys.modules, "pyarrow", None)
  with pytest.raises(RunError, match=re.escape("pip install 'mnist_mlp[parquet]'")):
    load(tmp_path / "mine", tmp_path / "data")
