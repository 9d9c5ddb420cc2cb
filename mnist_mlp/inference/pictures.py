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
from mnist_mlp.inference.geometry import NEIGHBOURS, NoInkError, box, sides_of, thickness
from mnist_mlp.inference.ink import Ink, find_ink
from mnist_mlp.inference.lines import without_lines
from mnist_mlp.inference.pieces import at_edge, inner, lines_of_digits, pieces_of

# What has not the shape of a digit. These bounds fit all but one in 10,000 of MNIST's images.
_WIDEST = 2.0  # width over height
_FULLEST = 0.85  # the share of the box that is ink, unless the box is as narrow as that of a one
_MOST_PIECES = 6  # strokes that do not touch

# Of what is wider than high, this is probably two digits that touch. Two of MNIST's digits in a
# hundred look like that, and most pairs of them.
_WIDE = 1.3  # width over height
_MIDDLE = (0.3, 0.7)  # where digits join, as shares of the width
_NARROW = 0.45  # rows that the ink spans where they join, as a share of the height
_TALL = 0.8  # likewise, at both sides of it

# What fills so much of its box, holes included, and of which so much are holes, is no digit of
# MNIST's. A frame is.
_CLOSED = 0.86
_HOLLOW = 0.3

# What fades more slowly is light: the change of ink from pixel to pixel at the edges of strokes,
# times the longer side of the digit, and, at the picture's edge, times the strokes' thickness.
LEAST_STEEPNESS = 5.0
_LEAST_STEEPNESS_AT_EDGE = 1.5


class Prepared(NamedTuple):
  """A picture as a net sees it."""

  pixels: np.ndarray | None  # uint8 [H, W, C], of digits light on black; None if there is no ink
  doubt: str  # why the shape is probably not that of a digit, or ''
  remarks: tuple[str, ...] = ()  # what else was seen: lines that were left out, a cut digit
  is_digit: bool = True  # whether the picture was taken for one of a digit


def prepare(image: Image.Image) -> Prepared:
  """Returns what MNIST would have made of a picture of any mode and size.

  The digit may be dark on light or light on dark. An image that looks like one of MNIST's, or like
  the negative of one, is left as it is.
  """
  gray = brightness(to_rgb(undithered(image)))
  pixels = fitting.as_it_is(gray)
  if pixels is not None:
    return Prepared(pixels[:, :, None], doubt_of(pixels))
  try:
    return _prepared(find_ink(gray))
  except NoInkError:
    return Prepared(None, "")


def _prepared(ink: Ink) -> Prepared:
  """Returns all strokes of a picture as one digit. Raises NoInkError if there are none."""
  cleaned = without_lines(ink.mask)
  found = inner(pieces_of(ink, cleaned.mask))
  strokes = found.mask(found.strokes)
  where, steepness = box(strokes), ink.steepness(strokes)
  if steepness * max(sides_of(where)) < LEAST_STEEPNESS:
    raise NoInkError("it fades like light")
  pixels = fitting.fit(ink.cut_out(strokes, ink.mask & ~cleaned.mask))
  digits = sum(map(len, lines_of_digits(found)[0]))
  cut = at_edge(where, strokes.shape)
  if digits > 1:
    doubt = f"there are {digits} side by side or in lines (--several reads each)"
  elif cut and steepness * thickness(strokes) < _LEAST_STEEPNESS_AT_EDGE:
    doubt = "it fades like light from a side"
  else:
    doubt = cleaned.left or doubt_of(pixels) or _frame_doubt(strokes[where])
  remarks = list(cleaned.removed)
  if cut:
    remarks.append("it touches the edge of the picture, so a part may be missing")
  if not doubt and _may_be_two(strokes[where]):
    remarks.append("it is wide: it may be two that touch")
  return Prepared(pixels[:, :, None], doubt, tuple(remarks))


def _may_be_two(mask: np.ndarray) -> bool:
  """Returns whether strokes, bool [H, W], cropped, may be two digits that touch."""
  height, width = mask.shape
  if width <= height or width > _WIDE * height:
    return width > height
  start, stop = (round(share * width) for share in _MIDDLE)
  spans = [_span(mask[:, column]) for column in range(start, stop)]
  join = start + int(np.argmin(spans))
  sides = min(_span(np.any(side, axis=1)) for side in (mask[:, :join], mask[:, join + 1 :]))
  return min(spans) < _NARROW * height and sides > _TALL * height


def _span(inked: np.typing.ArrayLike) -> int:
  """Returns from the first to the last that is true in bool [N], how many there are; or 0."""
  found = np.flatnonzero(inked)
  return int(found[-1] - found[0] + 1) if len(found) else 0


def _frame_doubt(mask: np.ndarray) -> str:
  """Returns why strokes, bool [H, W], cropped, may be a frame drawn by hand, or ''."""
  filled = ndimage.binary_fill_holes(mask)
  if filled.mean() > _CLOSED and (filled & ~mask).mean() > _HOLLOW:
    return "it may be a frame, with or without a digit that touches it"
  return ""


def doubt_of(pixels: np.ndarray) -> str:
  """Returns why an image, uint8 [28, 28], has not the shape of a digit, or ''."""
  mask = pixels > 127
  if not mask.any():
    return "too little ink"
  rows, columns = box(mask)
  height, width = rows.stop - rows.start, columns.stop - columns.start
  pieces = ndimage.label(mask, NEIGHBOURS)[1]
  if width > _WIDEST * height:
    return f"it is {width / height:.1f} times as wide as high"
  if width > height / 2 and mask[rows, columns].mean() > _FULLEST:
    return "it is solid"
  if pieces > _MOST_PIECES:
    return f"it is in {pieces} pieces"
  return ""
