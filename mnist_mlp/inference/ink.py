"""Brightness -> the ink of a digit, without paper, light and dirt."""

import numpy as np
from PIL import Image
from scipy import ndimage

from mnist_mlp.inference.geometry import box, rescale, resize

STROKE = 0.35  # A pixel with more ink than this is part of a stroke.

_LEAST_SIDE = 5  # pixels, the longer side of anything that could be a digit
_LEAST_CONTRAST = 0.08  # the least share of the paper's light that ink takes away
_PAPER_SIDE = 32  # pixels, the longer side of the reduced picture in which the paper is measured
_QUARTILE = 0.319  # A quarter of normal noise lies within so many standard deviations of 0.
_LEAST_MASS = 0.03  # A connected piece with a smaller share of the heaviest piece's ink is dirt.


def find_ink(gray: np.ndarray) -> np.ndarray | None:
  """Returns the digit's ink, cropped, float32 in [0, 1]; None if there is no ink.

  Ink takes light from the paper around it, and more light than noise does.

  Args:
    gray: the brightness, float32 [H, W] in [0, 1]. Ink may be darker or lighter than paper.
  """
  if max(gray.shape) < _LEAST_SIDE:
    return None
  paper = _paper(gray)
  # The cube lets the few pixels that differ most from paper decide whether ink is lighter.
  if ((gray - paper) ** 3).sum() > 0:
    gray, paper = 1 - gray, 1 - paper
  ink = (paper - gray) / np.maximum(paper, 0.1)
  # The standard deviation of normal noise. A quartile tells it although up to half may be ink.
  noise = np.quantile(np.abs(ink), 0.25) / _QUARTILE
  # How dark full ink is: a rank rather than the maximum, which a single pixel could set.
  rank = min(max(8, ink.size // 5000), ink.size)
  full = np.partition(ink, -rank, axis=None)[-rank]
  if full < max(_LEAST_CONTRAST, 4 * noise):
    return None
  strokes = _strokes(ink, max(0.15 * full, 3 * noise), 0.6 * full)
  if strokes is None:
    return None
  low = max(0.12 * full, 2 * noise)
  near = ndimage.binary_dilation(strokes, iterations=2)  # The edges of strokes are pale.
  ink = np.where(near, np.clip((ink - low) / (0.8 * full - low), 0, 1), 0).astype(np.float32)
  return ink[box(ink > STROKE)]


def _paper(gray: np.ndarray) -> np.ndarray:
  """Returns the brightness that each pixel would have without ink, float32 [H, W].

  It is a median over four fifths of the height and of the width. Fat strokes hardly change it, and
  it follows shadows.
  """
  scale = min(1.0, _PAPER_SIDE / max(gray.shape))
  small = rescale(gray, scale, Image.Resampling.BOX)
  window = [2 * (2 * side // 5) + 1 for side in small.shape]
  paper = ndimage.median_filter(small, size=window, mode="nearest")
  height, width = gray.shape
  return resize(paper, (height, width), Image.Resampling.BILINEAR)


def _strokes(ink: np.ndarray, low: float, high: float) -> np.ndarray | None:
  """Returns the mask of the digit's strokes, bool [H, W]; None if there are none.

  A stroke is a connected piece of ink above `low` that exceeds `high` somewhere and is not tiny
  beside the heaviest piece. The edge of the paper is connected to the edge of the picture. So if a
  large piece does not touch the picture's edge, pieces that do are left out.
  """
  labels, count = ndimage.label(ink > low, np.ones((3, 3)))
  if not count:
    return None
  pieces = np.arange(1, count + 1)
  strong = np.isin(pieces, labels[ink > high])
  mass = strong * ndimage.sum_labels(np.clip(ink, 0, None), labels, pieces)
  boxes = ndimage.find_objects(labels)
  inner = np.array([_is_inner(rows_and_columns, ink.shape) for rows_and_columns in boxes])
  heights = np.array([rows.stop - rows.start for rows, _ in boxes])
  if (inner & (mass > 0) & (heights >= ink.shape[0] / 4)).any():
    mass = mass * inner
  heaviest = boxes[mass.argmax()]
  if not mass.any() or max(part.stop - part.start for part in heaviest) < _LEAST_SIDE:
    return None
  return np.concatenate([[False], mass >= _LEAST_MASS * mass.max()])[labels]


def _is_inner(rows_and_columns: tuple[slice, slice], shape: tuple[int, ...]) -> bool:
  """Returns whether a box keeps clear of the edges of a picture of this shape."""
  pairs = zip(rows_and_columns, shape, strict=True)
  return all(part.start > 0 and part.stop < side for part, side in pairs)
