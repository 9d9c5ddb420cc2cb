"""Brightness -> ink, without paper, light and noise."""

from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage

from mnist_mlp.inference.geometry import NoInkError, box, rescale, resize, wider

STROKE = 0.35  # A pixel with more ink than this is part of a stroke.

LEAST_SIDE = 5  # pixels, the longer side of anything that could be a digit
_LEAST_CONTRAST = 0.08  # the least share of the paper's light that ink takes away
_PAPER_SIDE = 32  # pixels, the longer side of the reduced picture in which the paper is measured
_QUARTILE = 0.319  # A quarter of normal noise lies within so many standard deviations of 0.


class Ink(NamedTuple):
  """How much light the ink takes from the paper at each place."""

  amount: np.ndarray  # float32 [H, W]; 0 is paper, noise goes below it
  full: float  # the amount of full ink
  noise: float  # the standard deviation of the paper's noise

  @property
  def mask(self) -> np.ndarray:
    """Where there is more than noise, bool [H, W]."""
    return self.amount > max(0.15 * self.full, 3 * self.noise)

  @property
  def strong(self) -> np.ndarray:
    """Where the ink is certain, bool [H, W]. Each stroke is strong somewhere."""
    return self.amount > 0.6 * self.full

  def cut_out(self, strokes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns the ink of a digit, cropped, float32 in [0, 1].

    Args:
      strokes: the strokes of the digit, bool [H, W].
      others: ink that does not belong to the digit, bool [H, W].

    Raises:
      NoInkError: the strokes have too little ink.
    """
    part = wider(box(strokes))
    near = ndimage.binary_dilation(strokes[part], iterations=2)  # Edges are pale.
    low = max(0.12 * self.full, 2 * self.noise)
    ink = np.clip((self.amount[part] - low) / (0.8 * self.full - low), 0, 1)
    ink = np.where(near & ~others[part], ink, 0).astype(np.float32)
    return ink[box(ink > STROKE)]

  def steepness(self, strokes: np.ndarray) -> float:
    """Returns how fast the ink fades from pixel to pixel at the edges of strokes.

    Args:
      strokes: the strokes, bool [H, W].

    Returns:
      The median change, as a share of full ink. Light and shadow change slowly.

    Raises:
      NoInkError: the strokes have too little ink.
    """
    part = wider(box(strokes))
    amount = self.amount[part] / self.full
    inside = strokes[part] & (amount > 0.5)
    edges = inside & ~ndimage.binary_erosion(inside, border_value=1)
    if not edges.any():
      raise NoInkError("the strokes have too little ink")
    # From a pixel to the paler one of its two neighbours: a line of one pixel is steep as well.
    drops = (amount - ndimage.minimum_filter1d(amount, 3, axis) for axis in (0, 1))
    return float(np.median(np.hypot(*drops)[edges]))


def find_ink(gray: np.ndarray) -> Ink:
  """Returns the ink of a picture: what takes light from the paper around it, more than noise does.

  Args:
    gray: the brightness, float32 [H, W] in [0, 1]. Ink may be darker or lighter than paper.

  Raises:
    NoInkError: there is no ink.
  """
  if max(gray.shape) < LEAST_SIDE:
    raise NoInkError("the picture is too small")
  paper = _paper(gray)
  # The cube lets the few pixels that differ most from paper decide whether ink is lighter.
  if ((gray - paper) ** 3).sum() > 0:
    gray, paper = 1 - gray, 1 - paper
  ink = (paper - gray) / np.maximum(paper, 0.1)
  # The standard deviation of normal noise. A quartile tells it although up to half may be ink.
  noise = float(np.quantile(np.abs(ink), 0.25) / _QUARTILE)
  # How dark full ink is: a rank rather than the maximum, which a single pixel could set.
  rank = min(max(8, ink.size // 5000), ink.size)
  full = float(np.partition(ink, -rank, axis=None)[-rank])
  if full < max(_LEAST_CONTRAST, 4 * noise):
    raise NoInkError("nothing is darker than noise")
  return Ink(ink, full, noise)


def _paper(gray: np.ndarray) -> np.ndarray:
  """Returns the brightness that each pixel would have without ink, float32 [H, W].

  It is a median over four fifths of the height and of the width. Fat strokes hardly change it, and
  it follows shadows.
  """
  scale = min(1.0, _PAPER_SIDE / max(gray.shape))
  small = rescale(gray, scale, Image.Resampling.BOX)
  margins = [2 * side // 5 for side in small.shape]
  around = _continued(small, margins)
  (height, width), size = small.shape, [2 * margin + 1 for margin in margins]
  # ndimage.median_filter gives the same, but takes the medians in the margins, too.
  windows = np.array(np.lib.stride_tricks.sliding_window_view(around, size))
  medians = np.median(windows.reshape(height * width, -1), axis=1, overwrite_input=True)
  paper = medians.reshape(height, width)
  if min(height, width) == 1:
    return resize(paper, gray.shape, Image.Resampling.BILINEAR)
  larger = Image.fromarray(_continued(paper, [1, 1]))
  inside = (1, 1, width + 1, height + 1)
  return np.asarray(larger.resize(gray.shape[::-1], Image.Resampling.BILINEAR, inside))


def _continued(brightness: np.ndarray, margins: list[int]) -> np.ndarray:
  """Returns an array [H, W] with margins, in which light goes on changing as it does inside."""
  widths = [(margin, margin) for margin in margins]
  return np.pad(brightness, widths, mode="reflect", reflect_type="odd")
