"""Connected pieces of ink -> the digits that they form."""

import dataclasses

import numpy as np
from scipy import ndimage

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
    """The numbers of the pieces that are strokes, rather than dirt."""
    return 1 + np.flatnonzero(self.mass >= _LEAST_MASS * self.mass.max(initial=1e-9))

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
  numbers = pieces.strokes.tolist()
  if not numbers:
    raise NoInkError("no strokes")
  usual = _usual_height(pieces, numbers)
  tall = [n for n in numbers if height_of(pieces.box(n)) >= _TALL * usual]
  digits: list[list[int]] = []
  for number in sorted(tall, key=lambda n: pieces.box(n)[1].start):
    same = [d for d in digits if any(_overlap(pieces, number, other) for other in d)]
    for each in same:
      digits.remove(each)
    digits.append([number, *(n for each in same for n in each)])
  marks = []
  for number in set(numbers) - set(tall):
    near = [digit for digit in digits if _belongs(pieces, number, digit, _REACH * usual)]
    if near:
      near[0].append(number)
    else:
      marks.append(number)
  for cluster in _clusters(pieces, marks, _CLOSE * usual):
    if height_of(union([pieces.box(n) for n in cluster])) >= _TALL * usual:
      digits.append(cluster)
      marks = [n for n in marks if n not in cluster]
  return _in_lines(pieces, digits), marks


def _usual_height(pieces: Pieces, numbers: list[int]) -> float:
  """Returns the height that half of the ink reaches."""
  heights = np.array([height_of(pieces.box(n)) for n in numbers])
  order = np.argsort(heights)
  mass = pieces.mass[np.array(numbers)[order] - 1].cumsum()
  return float(heights[order][np.searchsorted(mass, mass[-1] / 2)])


def _overlap(pieces: Pieces, a: int, b: int) -> bool:
  """Returns whether two tall pieces are of one digit."""
  rows, columns = (_shared(*pair) for pair in zip(pieces.box(a), pieces.box(b), strict=True))
  return columns > _SAME_COLUMNS and rows > -_NEAR_ROWS


def _belongs(pieces: Pieces, number: int, digit: list[int], reach: float) -> bool:
  """Returns whether a small piece lies above, in or below a digit, at most `reach` pixels away."""
  where, whole = pieces.box(number), union([pieces.box(n) for n in digit])
  return _shared(where[1], whole[1]) > _SAME_COLUMNS and _distance(where, whole) <= reach


def _clusters(pieces: Pieces, numbers: list[int], reach: float) -> list[list[int]]:
  """Returns the pieces in groups, whose members lie at most `reach` pixels from another one."""
  clusters: list[list[int]] = []
  for number in numbers:
    where = pieces.box(number)
    near = [c for c in clusters if min(_distance(where, pieces.box(n)) for n in c) <= reach]
    clusters = [c for c in clusters if c not in near]
    clusters.append([number, *(n for cluster in near for n in cluster)])
  return clusters


def _shared(a: slice, b: slice) -> float:
  """Returns the share of the shorter one that lies in the other; below 0, how far apart."""
  shorter = min(a.stop - a.start, b.stop - b.start)
  return (min(a.stop, b.stop) - max(a.start, b.start)) / shorter


def _distance(a: Box, b: Box) -> float:
  """Returns the distance of two boxes in pixels, 0 if they overlap."""
  gaps = [max(p.start - q.stop, q.start - p.stop, 0) for p, q in zip(a, b, strict=True)]
  return float(np.hypot(*gaps))


def _in_lines(pieces: Pieces, digits: list[list[int]]) -> list[list[list[int]]]:
  """Returns digits, in which order they are, by lines."""
  lines: list[list[list[int]]] = []
  where = {id(digit): union([pieces.box(n) for n in digit]) for digit in digits}
  for digit in sorted(digits, key=lambda d: where[id(d)][1].start):
    rows = where[id(digit)][0]
    # Lines may rise or fall a little: the digit to the left counts, not the whole line.
    fits = [(_shared(rows, where[id(line[-1])][0]), line) for line in lines]
    share, line = max(fits, key=lambda fit: fit[0], default=(0.0, []))
    if share >= _SAME_ROW:
      line.append(digit)
    else:
      lines.append([digit])
  return sorted(lines, key=lambda line: np.mean([where[id(d)][0].start for d in line]))


def union(boxes: list[Box]) -> Box:
  """Returns the smallest box around boxes."""
  rows, columns = zip(*boxes, strict=True)
  return _hull(rows), _hull(columns)


def _hull(parts: tuple[slice, ...]) -> slice:
  return slice(min(part.start for part in parts), max(part.stop for part in parts))
