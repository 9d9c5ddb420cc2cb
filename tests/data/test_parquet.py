import json
import re
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from own_files import (
  TEST,
  assert_refused,
  encode,
  examples,
  load,
  put,
  rows,
  source,
  table,
  write_parquet,
)

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


# Other labels and columns.


NAMES = ["no", "yes", "perhaps", "never"]


def write_table(path, labels, image="image", label="label", **options):
  """Writes a file of pictures, which differ, with such labels."""
  names = options.pop("names", None)
  images = [encode(np.full((4, 4), number, np.uint8)) for number in range(len(labels))]
  columns = {
    image: pa.array(images, options.pop("image_type", pa.binary())),
    label: pa.array(labels, options.pop("label_type", None)),
    **options,
  }
  rows = pa.table(columns)
  if names:
    features = {label: {"_type": "ClassLabel", "names": names}, image: {"_type": "Image"}}
    about = json.dumps({"info": {"features": features}})
    rows = rows.replace_schema_metadata({"huggingface": about})
  path.parent.mkdir(parents=True, exist_ok=True)
  pq.write_table(rows, path)


def labelled(root, **changes):
  """Returns the names of the classes, and the class of each picture of train."""
  found = source(root, **changes)
  names = list(found.classes.values())
  examples_ = [example for _, example in found.examples("train")]
  assert [int(example["image"][0, 0, 0]) for example in examples_] == list(range(len(examples_)))
  return names, [names[example["label"]] for example in examples_]


@pytest.mark.parametrize(
  ("labels", "options", "names", "given"),
  [
    ([1, 26, 3, 1], {}, ["1", "3", "26"], ["1", "26", "3", "1"]),
    ([-1, 7], {}, ["-1", "7"], ["-1", "7"]),
    (["b", "a", "b"], {}, ["a", "b"], ["b", "a", "b"]),
    (["10", "9"], {"label_type": pa.large_string()}, ["9", "10"], ["10", "9"]),
    (["b", "a"], {"label_type": pa.string_view()}, ["a", "b"], ["b", "a"]),
    (["b", "a"], {"label_type": pa.dictionary(pa.int8(), pa.string())}, ["a", "b"], ["b", "a"]),
    ([1, 0, 2], {"names": NAMES}, NAMES, ["yes", "no", "perhaps"]),
    ([0, 1], {"image_type": pa.binary_view()}, ["0", "1"], ["0", "1"]),
    ([0, 1], {"image": "img", "label": "fine"}, ["0", "1"], ["0", "1"]),
    ([1, 0], {"label": "digit", "id": [3, 4], "names": NAMES}, NAMES, ["yes", "no"]),
  ],
)
def test_labels_and_columns_of_all_kinds(tmp_path, labels, options, names, given):
  for split in ("train", "test"):
    write_table(tmp_path / f"{split}.parquet", labels, **options)
  assert labelled(tmp_path) == (names, given)


def test_columns_are_asked_for_where_several_may_be_meant_and_taken_as_given(tmp_path):
  for split in ("train", "test"):
    write_table(tmp_path / f"{split}.parquet", [0, 1], label="fine", coarse=["x", "y"])
  with pytest.raises(RunError, match=r"train.parquet: it does not show which column holds labels"):
    labelled(tmp_path)
  assert labelled(tmp_path, columns="image, coarse") == (["x", "y"], ["x", "y"])
  with pytest.raises(RunError, match=r"column 'size' does not hold labels.*; there are 'image' "):
    labelled(tmp_path, columns="image,size")


def test_a_label_without_a_name_is_refused(tmp_path):
  for split in ("train", "test"):
    write_table(tmp_path / f"{split}.parquet", [0, 1, -1], names=NAMES)
  with pytest.raises(RunError, match=r"train.parquet: row 2 has the label -1, which is none of"):
    labelled(tmp_path)


def test_files_that_name_no_split_are_split_by_content(tmp_path):
  write_table(tmp_path / "a.parquet", list(range(5)) * 8)
  found = source(tmp_path)
  train, test = (len(list(found.examples(split))) for split in ("train", "test"))
  assert train + test == 40 and 2 <= test <= 16
  assert found.remarks[0].startswith(f"the files have no test split, so {test} of 40 pictures")


def test_a_validation_split_is_found(tmp_path):
  for split in ("train", "validation", "test"):
    write_table(tmp_path / "data" / f"{split}-00000-of-00001.parquet", [0, 1])
  assert source(tmp_path).splits == ("train", "validation", "test")
