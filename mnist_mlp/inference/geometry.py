"""Boxes around masks, and changes of size, for the other modules of pictures."""

import numpy as np
from PIL import Image


def box(mask: np.ndarray) -> tuple[slice, slice]:
  """Returns the rows and the columns of the smallest box around a bool mask that is not empty."""
  rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
  return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def resize(array: np.ndarray, shape: tuple[int, int], how: Image.Resampling) -> np.ndarray:
  """Returns an array [H, W] of numbers or bools as float32 of another shape."""
  picture = Image.fromarray(np.ascontiguousarray(array, np.float32))
  return np.asarray(picture.resize(shape[::-1], how))


def rescale(array: np.ndarray, scale: float, how: Image.Resampling) -> np.ndarray:
  """Returns an array [H, W] as float32 whose sides are `scale` times as long, 1 at the least."""
  height, width = (max(1, round(side * scale)) for side in array.shape)
  return resize(array, (height, width), how)
