"""What is done to a picture of a digit."""

import io

import numpy as np
import pytest
from handwriting import gray_picture, saved, seven
from PIL import Image, ImageCms
from scipy import ndimage

from mnist_mlp import inference
from mnist_mlp.inference.geometry import box


def test_the_digit_is_fitted_and_its_mass_centred():
  for ink in (seven(), seven(60, 100), seven(180, 60)):
    pixels = inference.prepare(gray_picture(ink)).pixels
    assert pixels.shape == (28, 28, 1) and pixels.dtype == np.uint8
    rows, columns = box(pixels[:, :, 0] > 0)
    sides = rows.stop - rows.start, columns.stop - columns.start
    assert max(sides) == 20
    height, width = (part - 80 for part in ink.shape)
    assert sides[0] / sides[1] == pytest.approx(height / width, rel=0.25, abs=0.05)
    centre = ndimage.center_of_mass(pixels[:, :, 0])
    assert np.abs(np.subtract(centre, 14)).max() <= 0.5
    assert pixels.max() == 255 and len(np.unique(pixels)) > 5  # smooth edges


def test_size_place_and_contrast_change_nothing():
  reference = inference.prepare(gray_picture(seven())).pixels.astype(int)
  ink = np.pad(seven(), ((300, 20), (10, 200)))
  variants = {
    "elsewhere": gray_picture(ink),
    "pale": gray_picture(seven(), 180, 210),
    "light on dark": gray_picture(seven(), 220, 40),
    "a quarter": gray_picture(seven()).resize((35, 45), Image.Resampling.BOX),
    "huge": gray_picture(seven()).resize((1400, 1800), Image.Resampling.BICUBIC),
    "20,000 wide": gray_picture(np.pad(seven(), ((0, 0), (15000, 4860)))),
  }
  for name, picture in variants.items():
    difference = np.abs(inference.prepare(picture).pixels - reference)
    assert difference.mean() < 8, name


def modes():
  """One picture of a 7, in every mode that files have."""
  ink = seven()
  gray = gray_picture(ink)
  alpha = Image.fromarray(np.uint8(255 * ink))
  rgb = gray.convert("RGB")
  lab = ImageCms.profileToProfile(
    rgb, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
  )
  values = 30000.0 - 20000 * ink
  palette = gray.convert("P")
  palette.info["transparency"] = 230  # the index of the paper's gray
  black, white = (Image.new("L", gray.size, level) for level in (0, 255))
  return {
    "1": gray_picture(ink, 0, 255).convert("1"),
    "L": gray,
    "P": gray.convert("P"),
    "RGB": rgb,
    "CMYK": rgb.convert("CMYK"),
    "YCbCr": rgb.convert("YCbCr"),
    "HSV": rgb.convert("HSV"),
    "dithered": gray.convert("1"),
    "dithered palette": gray.convert("1").convert("P"),
    "LAB": lab,
    "I;16": Image.fromarray(values.astype(np.uint16)),
    "I": Image.fromarray(values.astype(np.int32)),
    "F": Image.fromarray(values / 1e6),
    "black on nothing": Image.merge("LA", (black, alpha)),
    "white on nothing": Image.merge("LA", (white, alpha)),
    "hidden colour below": Image.merge("RGBA", (black, black, black, alpha)),
    "transparent palette": palette,
    "opaque sheet on nothing": _sheet_on_nothing(gray),
    "red on green of equal brightness": Image.merge(
      "RGB",
      (Image.fromarray(np.uint8(200 * ink)), Image.fromarray(np.uint8(102 * (1 - ink))), black),
    ),
  }


def _sheet_on_nothing(gray):
  sheet = Image.new("RGBA", (gray.width + 60, gray.height + 90))
  sheet.paste(gray.convert("RGBA"), (30, 45))
  return sheet


@pytest.mark.parametrize("name", modes())
def test_every_mode_shows_the_same(name):
  reference = inference.prepare(gray_picture(seven())).pixels.astype(int)
  prepared = inference.prepare(modes()[name])
  assert prepared.pixels is not None
  assert np.abs(prepared.pixels - reference).mean() < 3


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_exif_orientation_is_obeyed(orientation):
  content = saved(gray_picture(seven()), "PNG", orientation)
  reference = inference.prepare(gray_picture(seven())).pixels
  assert (inference.prepare(inference.load_picture(io.BytesIO(content))).pixels == reference).all()


def test_thin_strokes_become_as_wide_as_mnists():
  ink = np.zeros((400, 300), np.float32)
  ink[100:300, 150:152] = ink[100:102, 100:152] = 1
  pixels = inference.prepare(gray_picture(ink)).pixels[:, :, 0]
  assert 1.6 <= (pixels[10:20] / 255).sum(1).mean() <= 2.4


def test_thin_slanted_lines_are_not_taken_for_dots():
  ink = np.zeros((90, 80), np.float32)
  ink[range(15, 65), range(62, 12, -1)] = ink[15, 20:63] = 1
  one_bit = gray_picture(ink, 0, 255).convert("1")
  more_colors = one_bit.convert("L")
  more_colors.putpixel((0, 0), 254)
  assert (inference.prepare(one_bit).pixels == inference.prepare(more_colors).pixels).all()


def test_dirt_and_the_papers_edge_are_no_ink():
  reference = inference.prepare(gray_picture(seven())).pixels.astype(int)
  picture = np.array(gray_picture(np.pad(seven(), 30)))
  picture[5:8, 5:8] = 30  # a speck
  picture[:, -12:] = 20  # the table
  assert np.abs(inference.prepare(Image.fromarray(picture)).pixels - reference).mean() < 3
