"""Any picture of a digit -> what MNIST would have made of it.

A net that was trained on MNIST knows only images that went MNIST's way: cropped, fitted, centred,
light ink on black. So every picture has to go the same way: `load_picture`, `prepare`.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage

from mnist_mlp.inference import fitting
from mnist_mlp.inference.brightness import brightness, to_rgb, undithered
from mnist_mlp.inference.geometry import box
from mnist_mlp.inference.ink import find_ink

# What has not the shape of a digit. These bounds fit all but one of MNIST's 60,000 training images.
_WIDEST = 2.5  # width over height
_FULLEST = 0.85  # the share of the box that is ink, unless the box is as narrow as that of a one
_MOST_PIECES = 6  # strokes that do not touch


class Prepared(NamedTuple):
  """A picture as a net sees it."""

  pixels: np.ndarray | None  # uint8 [28, 28, 1], light ink on black; None if there is no ink
  doubt: str  # why the shape is probably not that of a digit, or ''


def prepare(image: Image.Image) -> Prepared:
  """Returns what MNIST would have made of a picture of any mode and size.

  The digit may be dark on light or light on dark. An image that looks like one of MNIST's, or like
  the negative of one, is left as it is.
  """
  gray = brightness(to_rgb(undithered(image)))
  pixels = fitting.as_it_is(gray)
  if pixels is None:
    ink = find_ink(gray)
    if ink is None:
      return Prepared(None, "")
    pixels = fitting.fit(ink)
  return Prepared(pixels[:, :, None], _doubt(pixels))


def _doubt(pixels: np.ndarray) -> str:
  """Returns why an image, uint8 [28, 28], has not the shape of a digit, or ''."""
  mask = pixels > 127
  if not mask.any():
    return "too little ink"
  rows, columns = box(mask)
  height, width = rows.stop - rows.start, columns.stop - columns.start
  pieces = ndimage.label(mask, np.ones((3, 3)))[1]
  if width > _WIDEST * height:
    return f"it is {width / height:.1f} times as wide as high"
  if width > height / 2 and mask[rows, columns].mean() > _FULLEST:
    return "it is solid"
  if pieces > _MOST_PIECES:
    return f"it is in {pieces} pieces"
  return ""
