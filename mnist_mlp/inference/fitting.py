"""The ink of a digit -> an image as MNIST's are.

The digits of MNIST were cropped, fitted into 20x20 pixels with their aspect ratio kept and their
edges smoothed, and placed with the centre of their mass in the centre of 28x28 pixels (LeCun et
al., "Gradient-based learning applied to document recognition", 1998, section III.A).
"""

import numpy as np
from PIL import Image
from scipy import ndimage

from mnist_mlp.inference.geometry import box, rescale, thickness
from mnist_mlp.inference.ink import STROKE

SIZE = 28  # pixels, a side of an image

_BOX = 20  # pixels, a side of the square that a digit fills
_CENTRE = 14  # the row and the column, counted from 0, of the centre of mass in MNIST's images
_ZOOM = 8  # Strokes are measured and widened at so many times the final resolution.
_THINNEST = 2.0  # pixels. The strokes of four in five MNIST images are wider.


def as_it_is(gray: np.ndarray) -> np.ndarray | None:
  """Returns an image of MNIST's, or its negative, as it is: uint8 [28, 28]; None for any other.

  An image is taken for one of MNIST's if it is light on black, and if the digit in it is fitted and
  centred as MNIST's are.

  Args:
    gray: the brightness of a picture, float32 [H, W] in [0, 1].
  """
  if gray.shape != (SIZE, SIZE):
    return None
  for candidate in (gray, 1 - gray):
    ink = np.where(candidate > 0.1, candidate, 0)  # The black of compressed pictures varies.
    if ink.max() < 0.9 or np.median(ink):
      continue
    side = max(part.stop - part.start for part in box(ink > 0))
    off_centre = np.abs(np.subtract(ndimage.center_of_mass(ink), _CENTRE)).max()
    if _BOX - 2 <= side <= _BOX and off_centre < 0.7:
      return np.round(255 * candidate).astype(np.uint8)
  return None


def fit(ink: np.ndarray) -> np.ndarray:
  """Returns an image as MNIST's, light on black, uint8 [28, 28], of ink, float32 in [0, 1]."""
  return _centred(_reduced(_widened(_enlarged(ink))))


def _enlarged(ink: np.ndarray) -> np.ndarray:
  """Returns the ink as a mask, bool, whose longer side has _ZOOM * _BOX pixels."""
  ink = np.pad(ink, 1)
  mask = rescale(ink, _ZOOM * _BOX / max(ink.shape), Image.Resampling.BICUBIC) > STROKE
  return mask[box(mask)]


def _widened(mask: np.ndarray) -> np.ndarray:
  """Returns the mask with strokes that are not thinner than MNIST's, since pens differ."""
  padded = np.pad(mask, _ZOOM * _BOX // 8)
  width = thickness(mask) / _ZOOM
  if width >= _THINNEST:
    return mask
  wider = ndimage.distance_transform_edt(~padded) <= _ZOOM * (_THINNEST - width) / 2
  return wider[box(wider)]


def _reduced(mask: np.ndarray) -> np.ndarray:
  """Returns the mask with its longer side reduced to 20 pixels, float32 in [0, 1]."""
  return rescale(mask, _BOX / max(mask.shape), Image.Resampling.BOX)


def _centred(digit: np.ndarray) -> np.ndarray:
  """Returns a digit whose longer side is 20 pixels, placed in a uint8 [28, 28] image.

  The centre of its mass lies in the centre of the image, as far as the digit then fits.
  """
  top, left = (
    int(np.clip(round(_CENTRE - centre), 0, SIZE - side))
    for centre, side in zip(ndimage.center_of_mass(digit), digit.shape, strict=True)
  )
  pixels = np.zeros((SIZE, SIZE), np.uint8)
  height, width = digit.shape
  pixels[top : top + height, left : left + width] = np.round(255 * np.clip(digit, 0, 1))
  return pixels
