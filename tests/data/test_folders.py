import shutil

import numpy as np
import pytest
from own_files import TEST, assert_refused, encode, examples, load, put, source, write_pictures
from PIL import Image

from mnist_mlp.data import survey
from mnist_mlp.data.formats import Row
from mnist_mlp.errors import RunError, UsageError


@pytest.mark.parametrize(
  ("names", "expected"),
  [(["0", "10", "9", "1"], ("0", "1", "9", "10")), (["zebra", "10", "9"], ("10", "9", "zebra"))],
)
def test_class_folders_are_sorted(tmp_path, names, expected):
  for split in ("train", "test"):
    for index, name in enumerate(names):
      (tmp_path / split / name).mkdir(parents=True)
      (tmp_path / split / name / "x.png").write_bytes(encode(np.full((4, 4), index, np.uint8)))
  found = source(tmp_path)
  assert tuple(found.classes.values()) == expected
  for split in ("train", "test"):
    for _, example in found.examples(split):
      assert expected[example["label"]] == names[example["image"][0, 0, 0]]


def test_colour_jpegs_and_palettes_become_rgb(tmp_path):
  colours = np.zeros((16, 16, 3), np.uint8)
  colours[..., 0] = 200
  palette = Image.fromarray(colours).convert("P", palette=Image.Palette.ADAPTIVE)
  for split in ("train", "test"):
    (tmp_path / split / "red").mkdir(parents=True)
    (tmp_path / split / "red" / "a.jpg").write_bytes(encode(colours, "JPEG"))
    palette.save(tmp_path / split / "red" / "b.png")
    (tmp_path / split / "still red").mkdir()
    palette.save(tmp_path / split / "still red" / "c.png")
  images = [example["image"] for _, example in source(tmp_path).examples("train")]
  assert [image.shape for image in images] == [(16, 16, 3)] * 3
  for image in images:
    np.testing.assert_allclose(image, colours, atol=6)


GOOD = examples(TEST)[0][0]


BAD_FILES = [
  (write_pictures, put("train/3/a.png", b"no"), "train/3/a.png is not a picture of a known"),
  (write_pictures, put("test/3/a.png", encode(GOOD)[:-30]), "test/3/a.png is damaged.*; mend it"),
  (write_pictures, put("test/3/a.tif", encode(GOOD.astype(np.float32), "TIFF")), "of the mode F"),
  (
    write_pictures,
    put("test/10/a.png", encode(GOOD)),
    "{root}/test/10: picture 0 has the label '10', which is none of the 10 classes of train",
  ),
]


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_picture_is_refused(tmp_path, case):
  assert_refused(tmp_path, RunError, case)


# What folders may be called, and what may lie in them.


def rename(root, **names):
  for old, new in names.items():
    (root / old).rename(root / new)


@pytest.mark.parametrize(
  ("train", "test"), [("Training", "testing"), ("TRAIN", "Test"), ("training_set", "test images")]
)
def test_folders_of_splits_may_be_called_otherwise(tmp_path, train, test):
  write_pictures(tmp_path)
  expected = {split: list(source(tmp_path).examples(split)) for split in ("train", "test")}
  rename(tmp_path, train=train, test=test)
  found = source(tmp_path)
  assert found.splits == ("train", "test")
  for split in ("train", "test"):
    assert_same_examples(found.examples(split), expected[split])


def assert_same_examples(found, expected):
  for (_, a), (_, b) in zip(found, expected, strict=True):
    assert a["label"] == b["label"]
    np.testing.assert_array_equal(a["image"], b["image"])


def test_a_class_may_be_called_like_a_split(tmp_path):
  for name in ("train", "plane", "car"):
    (tmp_path / name).mkdir()
    for index in range(2):
      (tmp_path / name / f"{index}.png").write_bytes(encode(GOOD))
  assert list(source(tmp_path).classes) == ["car", "plane", "train"]


CLUTTER = ("Thumbs.db", ".DS_Store", "desktop.ini", "__MACOSX/._0.png", ".hidden/a.png")


def test_what_systems_leave_behind_is_passed_over(tmp_path):
  write_pictures(tmp_path)
  expected = list(source(tmp_path).examples("train"))
  for place in (".", "train", "train/3"):
    for name in CLUTTER:
      put(f"{place}/{name}", b"no picture")(tmp_path)
  found = source(tmp_path)
  assert_same_examples(found.examples("train"), expected)
  assert found.remarks == ()


def test_what_else_is_passed_over_is_said(tmp_path):
  write_pictures(tmp_path)
  put("train/3/notes.txt", b"")(tmp_path)
  put("more/a.png", encode(GOOD))(tmp_path)
  (remark,) = source(tmp_path).remarks
  assert remark == "passed over: train/3/notes.txt, more"


# Folders without splits.


def write_classes(root, count=100):
  """Writes pictures of three classes, all different."""
  rng = np.random.default_rng(1)
  for index in range(count):
    put(f"{'abc'[index % 3]}/{index}.png", encode(rng.integers(0, 9, (4, 4)).astype(np.uint8)))(
      root
    )


def sides(root):
  """Returns {bytes of a picture: {splits}}."""
  found, where = source(root), {}
  for split in ("train", "test"):
    for _, example in found.examples(split):
      where.setdefault(example["image"].tobytes(), set()).add(split)
  return where


def test_classes_without_splits_are_split_by_content(tmp_path):
  write_classes(tmp_path)
  before = sides(tmp_path)
  in_test = sum(split == {"test"} for split in before.values())
  assert len(before) == 100 and 10 <= in_test <= 30
  (remark,) = source(tmp_path).remarks
  assert remark.startswith(f"the files have no test split, so {in_test} of 100 pictures are it")
  # Neither new names and classes nor new pictures move the old ones, and copies go together.
  for path in list(tmp_path.glob("a/*"))[:20]:
    shutil.copy(path, tmp_path / "b" / f"copy of {path.name}")
  rename(tmp_path, c="z")
  put("b/new.png", encode(np.full((4, 4), 99, np.uint8)))(tmp_path)
  after = sides(tmp_path)
  assert len(after) == 101 and all(len(split) == 1 for split in after.values())
  assert before.items() <= after.items()


def test_a_train_folder_alone_is_split_likewise(tmp_path):
  write_classes(tmp_path / "mine" / "train")
  write_classes(tmp_path / "flat")
  assert sides(tmp_path / "mine") == sides(tmp_path / "flat")


def test_every_class_keeps_something_to_train_on_and_the_test_has_something():
  for count in (2, 3, 5, 8):
    for start in range(60):
      rows = [Row("", b"%d" % (start * 100 + index), index % 2) for index in range(count)]
      chosen = survey.for_test(rows)
      assert {row.label for row in rows if survey.digest(row) not in chosen} == {0, 1}
      assert bool(chosen) == (count > 2)


def test_one_picture_of_each_class_is_refused(tmp_path):
  write_classes(tmp_path, 3)
  with pytest.raises(RunError, match="no two pictures of any class"):
    list(source(tmp_path).examples("test"))


def test_copies_in_other_splits_and_classes_are_said(tmp_path):
  write_pictures(tmp_path)
  assert source(tmp_path).remarks == ()
  train, test = tmp_path / "train", tmp_path / "test"
  copied = sorted(train.glob("*/*.png"))[:5]
  for index, path in enumerate(copied):
    shutil.copy(path, test / path.parent.name / f"copy{index}.png")
  first = copied[0]
  other = train / "9" / "other.png"
  shutil.copy(first, other)
  leaked, contrary = source(tmp_path).remarks
  beginning = "copies of training pictures are in other splits, where a net knows them by heart: "
  named = [str(test / copied[index].parent.name / f"copy{index}.png") for index in range(3)]
  assert leaked == f"{beginning}{', '.join(named)} and 2 more"
  assert contrary == f"these pictures have copies of another class: {other}"


@pytest.mark.parametrize("choices", [{}, {"image_size": (8, 10), "channels": 1}])
def test_all_pictures_that_cannot_be_used_are_named_at_once(tmp_path, choices):
  write_pictures(tmp_path / "mine")
  bad = [f"{split}/{label}/bad.png" for split in ("test", "train") for label in range(10)]
  for name in bad:
    put(name, b"no")(tmp_path / "mine")
  put("train/3/more.png", b"")(tmp_path / "mine")
  with pytest.raises(RunError) as caught:
    load(tmp_path / "mine", tmp_path / "data", **choices)
  *lines, last = str(caught.value).split("\n")
  assert last == "and 1 more" and len(lines) == 20
  for line in lines:
    assert "is not a picture of a known format" in line or "is empty" in line
    assert line.endswith("mend it or take it out of the data")
  named = [line.split()[0] for line in lines]
  assert set(named) <= {str(tmp_path / "mine" / name) for name in [*bad, "train/3/more.png"]}


def test_pictures_in_no_folder_of_a_class_get_a_way_out(tmp_path):
  put("a.png", encode(GOOD))(tmp_path)
  with pytest.raises(UsageError, match="make a folder for each class in it, and move the pictures"):
    source(tmp_path)
  (tmp_path / "a.png").unlink()
  with pytest.raises(UsageError, match="give the folder in which they lie"):
    source(tmp_path)
