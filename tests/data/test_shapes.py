"""Pictures of any size, mode and format become images of one shape."""

import io

import numpy as np
import pytest
from own_files import load, source
from PIL import Image

from mnist_mlp import config
from mnist_mlp.data import pictures
from mnist_mlp.data.survey import Survey
from mnist_mlp.errors import UsageError

GRAY = np.add.outer(np.arange(28), np.arange(28)).astype(np.uint8)
RED = Image.new("RGB", (28, 28), (200, 0, 0))


def as_modes():
  """Yields a grayscale picture in each of the ways in which a file may hold it."""
  gray = Image.fromarray(GRAY)
  rgb = gray.convert("RGB")
  yield from (gray, rgb, rgb.convert("RGBA"), gray.convert("LA"))
  yield rgb.quantize(256)
  yield Image.fromarray(GRAY.astype(np.uint16) << 8)


def test_gray_is_recognised_whatever_the_mode_and_keeps_its_pixels():
  for picture in as_modes():
    plain = pictures.plain(picture, "it")
    assert plain.mode == "L", picture.mode
    np.testing.assert_array_equal(pictures.shaped(plain, 28, 28, 1)[..., 0], GRAY)
    rgb = pictures.shaped(plain, 28, 28, 3)
    np.testing.assert_array_equal(rgb, np.stack([GRAY] * 3, -1))


def test_a_little_colour_is_colour():
  pixels = np.stack([GRAY] * 3, -1)
  pixels[3, 4, 0] += 20
  assert pictures.plain(Image.fromarray(pixels), "it").mode == "RGB"
  for mode in ("P", "CMYK", "RGBA", "YCbCr"):
    plain = pictures.plain(RED.convert(mode), "it")
    assert plain.mode == "RGB"
    np.testing.assert_allclose(pictures.shaped(plain, 1, 1, 3)[0, 0], (200, 0, 0), atol=2)


def test_transparent_parts_are_white():
  picture = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
  picture.putpixel((1, 0), (0, 0, 0, 255))
  assert pictures.shaped(pictures.plain(picture, "it"), 1, 2, 1).ravel().tolist() == [255, 0]


def test_a_picture_of_another_shape_stays_whole_on_the_colour_of_its_edges():
  wide = np.full((20, 100), 240, np.uint8)
  wide[4:14, 44:54] = 10
  image = pictures.shaped(Image.fromarray(wide), 50, 50, 1)[..., 0]
  assert (image[:19] == 240).all() and (image[-19:] == 240).all()
  rows, columns = np.nonzero(image < 100)
  assert (np.ptp(rows), np.ptp(columns)) == (4, 4)  # Ten pixels at half the size: still a square.
  assert (rows.min(), columns.min()) == (22, 22)


def test_predictions_can_read_a_file_as_training_does(tmp_path):
  exif = Image.Exif()
  exif[0x0112] = 6  # to be turned
  wide = Image.fromarray(np.repeat(GRAY, 2, axis=1))
  for folder in ("train/a", "train/b", "test/a"):
    (tmp_path / "mine" / folder).mkdir(parents=True)
    wide.save(tmp_path / "mine" / folder / "x.jpg", exif=exif)
  found = source(tmp_path / "mine", image_size=(40, 30), channels=3)
  (_, example), *_ = found.examples("test")
  read = pictures.read(tmp_path / "mine" / "test" / "a" / "x.jpg", 40, 30, 3)
  assert read.shape == (40, 30, 3) and read.dtype == np.uint8
  np.testing.assert_array_equal(read, example["image"])
  assert found.image_shape == (40, 30, 3)


@pytest.mark.parametrize(
  ("sizes", "expected"),
  [
    ({(28, 28): 3}, (28, 28)),
    ({(300, 200): 3}, (300, 200)),  # All have it: nothing is resized.
    ({(28, 20): 3, (900, 900): 2}, (28, 20)),
    ({(20, 40): 1, (30, 60): 1, (100, 50): 1}, (30, 50)),
    ({(3000, 4000): 2, (4000, 3000): 1}, (96, 128)),
    ({(1, 9999): 2, (2, 9999): 1}, (1, 128)),
  ],
)
def test_the_size_that_fits_the_pictures_best(sizes, expected):
  found = Survey.of([((size), True) for size, count in sizes.items() for _ in range(count)])
  assert found.size() == expected


def test_the_colours_that_fit_the_pictures_best():
  for gray, colour, expected in ((2, 2, 1), (1, 2, 3), (3, 0, 1)):
    pairs = [((2, 2), True)] * gray + [((2, 2), False)] * colour
    assert Survey.of(pairs).channels() == expected


KINDS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")


def mixed(root):
  """Makes pictures of two classes, in several formats and sizes; most are gray, of 28x28."""
  rng = np.random.default_rng(0)
  for number in range(48):
    picture = Image.fromarray(rng.integers(0, 255, (28, 28)).astype(np.uint8))
    if number % 4 == 0:
      picture = picture.convert("RGB").resize((20 + number, 31))
    if number % 12 == 3:
      picture = RED
    file = io.BytesIO()
    kind = KINDS[number % 6]
    picture.save(file, kind, **({"quality": 95} if kind in ("JPEG", "WEBP") else {}))
    path = root / "ab"[number % 2] / f"{number}.{kind.lower()}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(file.getvalue())


def test_mixed_pictures_become_what_most_of_them_are(tmp_path):
  mixed(tmp_path / "mine")
  dataset, said = load(tmp_path / "mine", tmp_path / "data")
  assert dataset.image_shape == (28, 28, 1) and dataset.class_names == ("a", "b")
  line = "48 pictures of 13 sizes, 44 of them grayscale, all become 28x28 pixels, grayscale; config"
  assert line in said and line in " ".join(dataset.describe()["remarks"])
  _, said = load(tmp_path / "mine", tmp_path / "data")
  assert line in said and "once" not in said
  chosen, said = load(tmp_path / "mine", tmp_path / "data", image_size=(8, 9), channels=3)
  assert chosen.image_shape == (8, 9, 3) and "once" in said
  assert "all pictures become 8x9 pixels, RGB" in said
  assert "once" not in load(tmp_path / "mine", tmp_path / "data")[1]  # Both are kept.


@pytest.mark.parametrize(
  ("field", "value", "said"),
  [
    ("image_size", (28,), "must be a height and a width"),
    ("image_size", (0, 28), "every element must lie in"),
    ("channels", 2, "must be 1, gray, 3, RGB, or 0"),
    ("columns", "image", "must be two names"),
    ("columns", "a,b,c", "must be two names"),
  ],
)
def test_choices_that_cannot_be_are_refused(field, value, said):
  c = config.default()
  c.data.files = "mine"
  c.data[field] = value
  with pytest.raises(UsageError, match=rf"config\.data\.{field} is .*{said}"):
    config.validate(c)


def test_choices_for_own_files_are_refused_without_them():
  c = config.default()
  c.data.image_size = (28, 28)
  with pytest.raises(UsageError, match=r"config\.data\.image_size is set, but config\.data\.files"):
    config.validate(c)
