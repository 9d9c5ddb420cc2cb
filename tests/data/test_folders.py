import numpy as np
import pytest
from own_files import TEST, assert_refused, encode, examples, put, source, write_pictures
from PIL import Image

from mnist_mlp.errors import RunError


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
