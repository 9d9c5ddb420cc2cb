"""Boxes around masks, and changes of size, for the other modules of pictures."""

import numpy as np
from PIL import Image
from scipy import ndimage

Box = tuple[slice, slice]  # rows and columns
EVERYWHERE: Box = (slice(None), slice(None))
NEIGHBOURS = np.ones((3, 3), bool)  # Pixels that touch at a corner are connected.


class NoInkError(ValueError):
  """Nothing is left of the ink."""


def box(mask: np.ndarray) -> Box:
  """Returns the rows and the columns of the smallest box around what is true in a bool mask.

  Raises:
    NoInkError: nothing is true.
  """
  rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
  if not len(rows):
    raise NoInkError("no ink")
  return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def height_of(where: Box) -> int:
  """Returns the number of rows."""
  return where[0].stop - where[0].start


def sides_of(where: Box) -> tuple[int, int]:
  """Returns the numbers of rows and of columns."""
  return height_of(where), where[1].stop - where[1].start


def wider(where: Box, by: int = 3) -> Box:
  """Returns a box that is wider by so many pixels on each side, but begins in the picture."""
  rows, columns = (slice(max(0, part.start - by), part.stop + by) for part in where)
  return rows, columns


def thickness(mask: np.ndarray) -> float:
  """Returns the mean thickness of strokes, a bool mask [H, W] that is not empty, in pixels.

  The mean distance of a stroke's pixels to its edge is a quarter of its thickness. The transform
  measures to the centre of the nearest pixel outside, half a pixel beyond the edge.
  """
  padded = np.pad(mask, 1)
  return 4 * (ndimage.distance_transform_edt(padded)[padded].mean() - 0.5)


def resize(array: np.ndarray, shape: tuple[int, int], how: Image.Resampling) -> np.ndarray:
  """Returns an array [H, W] of numbers or bools as float32 of another shape."""
  picture = Image.fromarray(np.ascontiguousarray(array, np.float32))
  return np.asarray(picture.resize(shape[::-1], how))


def rescale(array: np.ndarray, scale: float, how: Image.Resampling) -> np.ndarray:
  """Returns an array [H, W] as float32 whose sides are `scale` times as long, 1 at the least."""
  height, width = (max(1, round(side * scale)) for side in array.shape)
  return resize(array, (height, width), how)
