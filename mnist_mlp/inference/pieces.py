"""Connected pieces of ink -> the digits that they form."""

import dataclasses

import numpy as np
from scipy import ndimage
from scipy.sparse import csgraph

from mnist_mlp.inference.geometry import (
  EVERYWHERE,
  NEIGHBOURS,
  Box,
  NoInkError,
  height_of,
  sides_of,
)
from mnist_mlp.inference.ink import LEAST_SIDE, Ink

_LEAST_MASS = 0.03  # A piece with a smaller share of the heaviest piece's ink is dirt.
_MOST_STROKES = 1500  # in a picture
_TALL = 0.5  # A piece of at least this share of the usual height is a digit, or most of one.
_SAME_COLUMNS = 0.25  # Pieces that share more of the narrower one's columns are of one digit.
_NEAR_ROWS = 0.1  # Pieces of one digit lie no farther above each other, in heights of the lower.
_SAME_ROW = 0.5  # Pieces that share less of the lower one's rows are not beside each other.
_REACH = 0.4  # So far, in heights of a digit, a small piece may lie from the digit it belongs to.
_CLOSE = 0.2  # So far small pieces may lie from each other that form a digit by themselves.


@dataclasses.dataclass(frozen=True)
class Pieces:
  """The pieces of ink of a picture, by their numbers 1, 2, ..."""

  labels: np.ndarray  # int [H, W], the number of the piece at each place, 0 where there is none
  boxes: list[Box]
  mass: np.ndarray  # float, how much ink each piece has; 0 for what is no stroke

  @property
  def strokes(self) -> np.ndarray:
    """The numbers of the pieces that are strokes, rather than dirt; of many, the heaviest."""
    found = np.flatnonzero(self.mass >= _LEAST_MASS * self.mass.max(initial=1e-9))
    return 1 + np.sort(found[np.argsort(-self.mass[found], kind="stable")[:_MOST_STROKES]])

  def box(self, number: int) -> Box:
    """Returns the box around a piece."""
    return self.boxes[number - 1]

  def mask(self, numbers: np.ndarray | list[int], part: Box = EVERYWHERE) -> np.ndarray:
    """Returns where these pieces are in a part of the picture, bool."""
    chosen = np.zeros(len(self.boxes) + 1, bool)
    chosen[numbers] = True
    return chosen[self.labels[part]]


def pieces_of(ink: Ink, mask: np.ndarray) -> Pieces:
  """Returns the pieces of what a mask, bool [H, W], leaves of the ink.

  Raises:
    NoInkError: no piece is large enough to be a digit.
  """
  labels, count = ndimage.label(mask, NEIGHBOURS)
  numbers = np.arange(1, count + 1)
  strong = np.isin(numbers, labels[ink.strong])
  mass = strong * ndimage.sum_labels(np.clip(ink.amount, 0, None), labels, numbers)
  pieces = Pieces(labels, ndimage.find_objects(labels), np.atleast_1d(mass))
  if not pieces.mass.any():
    raise NoInkError("no piece of ink is dark enough")
  return pieces


def inner(pieces: Pieces) -> Pieces:
  """Returns the pieces without those at the picture's edge, if a large piece is not at the edge.

  The edge of the paper is connected to the edge of the picture.

  Raises:
    NoInkError: the heaviest piece that is left is too small to be a digit.
  """
  shape = pieces.labels.shape
  clear = np.array([not at_edge(where, shape) for where in pieces.boxes])
  tall = np.array([height_of(where) >= shape[0] / 4 for where in pieces.boxes])
  mass = pieces.mass * clear if (clear & tall & (pieces.mass > 0)).any() else pieces.mass
  if max(sides_of(pieces.boxes[mass.argmax()])) < LEAST_SIDE:
    raise NoInkError("all ink is in specks")
  return dataclasses.replace(pieces, mass=mass)


def at_edge(where: Box, shape: tuple[int, ...]) -> bool:
  """Returns whether a box touches the edge of a picture of this shape."""
  return any(part.start == 0 or part.stop == side for part, side in zip(where, shape, strict=True))


def lines_of_digits(pieces: Pieces) -> tuple[list[list[list[int]]], list[int]]:
  """Returns the digits that pieces form, and the pieces that belong to none.

  The digits are a list of lines, from the top; a line is a list of digits, from the left; a digit
  is a list of the numbers of its pieces.

  Raises:
    NoInkError: there are no strokes.
  """
  strokes = pieces.strokes
  if not len(strokes):
    raise NoInkError("no strokes")
  usual = _usual_height(pieces, strokes)
  is_tall = np.array([height_of(pieces.box(n)) >= _TALL * usual for n in strokes])
  tall, small = strokes[is_tall], strokes[~is_tall]
  rows, columns = _shared(_corners(pieces, tall), _corners(pieces, tall))
  digits = _groups(tall, (columns > _SAME_COLUMNS) & (rows > -_NEAR_ROWS))
  whole = _array([union([pieces.box(n) for n in digit]) for digit in digits])
  # A small piece belongs to a digit that it lies above, in or below.
  columns = _shared(_corners(pieces, small), whole)[1]
  distance = _distance(_corners(pieces, small), whole)
  belongs = (columns > _SAME_COLUMNS) & (distance <= _REACH * usual)
  for number, fits in zip(small.tolist(), belongs, strict=True):
    if fits.any():
      digits[fits.argmax()].append(number)
  marks = small[~belongs.any(1)]
  left = []
  close = _distance(_corners(pieces, marks), _corners(pieces, marks)) <= _CLOSE * usual
  for group in _groups(marks, close):
    is_digit = height_of(union([pieces.box(n) for n in group])) >= _TALL * usual
    digits.append(group) if is_digit else left.extend(group)
  return _in_lines(pieces, digits), left


def _usual_height(pieces: Pieces, numbers: np.ndarray) -> float:
  """Returns the height that half of the ink reaches."""
  heights = np.array([height_of(pieces.box(n)) for n in numbers])
  order = np.argsort(heights)
  mass = pieces.mass[numbers[order] - 1].cumsum()
  return float(heights[order][np.searchsorted(mass, mass[-1] / 2)])


def _groups(numbers: np.ndarray, pairs: np.ndarray) -> list[list[int]]:
  """Returns the numbers in groups that pairs, bool [N, N], connect."""
  if len(numbers) < 2:  # The usual case, in a tenth of the time.
    return [numbers.tolist()] if len(numbers) else []
  count, labels = csgraph.connected_components(pairs, directed=False)
  return [numbers[labels == label].tolist() for label in range(count)]


def _corners(pieces: Pieces, numbers: np.ndarray) -> np.ndarray:
  return _array([pieces.box(number) for number in numbers])


def _array(boxes: list[Box]) -> np.ndarray:
  """Returns boxes as int [N, 2, 2]: rows and columns, start and stop."""
  corners = [[(part.start, part.stop) for part in where] for where in boxes]
  return np.array(corners, int).reshape(-1, 2, 2)


def _gaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  """Returns the gaps in rows and in columns between boxes [N, 2, 2] and [M, 2, 2]: int [2, N, M].

  Below 0, a gap is the number of rows or columns that two boxes share.
  """
  a, b = a[:, None], b[None]
  gaps = np.maximum(a[..., 0], b[..., 0]) - np.minimum(a[..., 1], b[..., 1])
  return np.moveaxis(gaps, -1, 0)


def _shared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  """Returns which share of the shorter one's rows and columns two boxes share, [2, N, M].

  Below 0, it is the gap between them.
  """
  lengths = np.minimum((a[..., 1] - a[..., 0])[:, None], (b[..., 1] - b[..., 0])[None])
  return -_gaps(a, b) / np.moveaxis(lengths, -1, 0)


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  """Returns the distances between boxes in pixels, [N, M], 0 where they overlap."""
  return np.hypot(*np.maximum(_gaps(a, b), 0))


def _in_lines(pieces: Pieces, digits: list[list[int]]) -> list[list[list[int]]]:
  """Returns digits, in which order they are, by lines."""
  where = _array([union([pieces.box(n) for n in digit]) for digit in digits])
  lines: list[list[int]] = []
  for index in np.argsort(where[:, 1, 0], kind="stable").tolist():
    # Lines may rise or fall a little: the digit to the left counts, not the whole line.
    last = [line[-1] for line in lines]
    shares = _shared(where[[index]], where[last])[0, 0]
    if shares.max(initial=0) >= _SAME_ROW:
      lines[shares.argmax()].append(index)
    else:
      lines.append([index])
  lines.sort(key=lambda line: where[line, 0, 0].mean())
  return [[digits[index] for index in line] for line in lines]


def union(boxes: list[Box]) -> Box:
  """Returns the smallest box around boxes."""
  rows, columns = zip(*boxes, strict=True)
  return _hull(rows), _hull(columns)


def _hull(parts: tuple[slice, ...]) -> slice:
  return slice(min(part.start for part in parts), max(part.stop for part in parts))
