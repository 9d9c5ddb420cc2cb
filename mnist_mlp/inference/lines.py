"""Ruled lines, margins and frames among the ink, told from digits by how straight they are."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from mnist_mlp.inference.geometry import NEIGHBOURS, height_of, sides_of

_LEAST_SIDE = 40  # pixels; in smaller pictures and frames, a stroke may look like a ruled line
_STEEPEST = 0.07  # pixels up or down for each pixel along a line
_LEAST_COVER = 0.85  # the share of its length in which a line must have ink
_EDGE = 0.05  # the share of a line's length that is called its end
_THICKEST_RULE = 0.03  # thickness of ruled lines, as a share of the picture's shorter side
_THICKEST_FRAME = 0.15  # thickness of a frame's lines, as a share of the frame's shorter side
_CROSSED = 1.6  # Where the ink is so many times as thick as the line, a stroke crosses the line.
_AT_SIDE = 0.15  # A frame's lines lie within this share of its height and width from its sides.
_LEAST_INSIDE = 0.25  # height of what could be a digit, as a share of the frame's inside
_LEAST_BETWEEN = 0.08  # height of what could be a digit beside a line, as a share of the picture


class Cleaned(NamedTuple):
  """Ink without lines."""

  mask: np.ndarray  # bool [H, W]
  removed: tuple[str, ...]  # in words, what was taken out
  left: str  # in words, a line that was left, or ''


class _Line(NamedTuple):
  rows: np.ndarray  # int [W], the row in which a nearly horizontal line lies in each column
  thickness: float  # pixels


def without_lines(mask: np.ndarray) -> Cleaned:
  """Takes out ruled lines, margins and frames, but for the places where strokes cross them.

  A single line, or a frame, is taken out only if what is left could be a digit. A digit that stands
  free inside a ring or a frame of any form loses the frame as well.

  Args:
    mask: where there is ink, bool [H, W].
  """
  rest, count = _without_rules(mask)
  if count == 1 and _tallest(rest) < _LEAST_BETWEEN * len(mask):
    return Cleaned(mask, (), "a straight line crosses the whole picture")
  cleaned = _without_frames(rest)
  rules = ("ruled lines were left out",) if count else ()
  return cleaned._replace(removed=(*rules, *cleaned.removed))


def _without_rules(mask: np.ndarray) -> tuple[np.ndarray, int]:
  """Returns the mask without thin lines from edge to edge of the picture, and their number."""
  if min(mask.shape) < _LEAST_SIDE:
    return mask, 0
  rest, count = mask.copy(), 0
  thickest = max(3.0, _THICKEST_RULE * min(mask.shape))
  for ink, left in ((mask, rest), (mask.T, rest.T)):
    for line in _lines(ink, thickest):
      # A digit that fills the picture may have a straight stroke at the edge of the picture.
      near_edge = line.thickness + 1
      inside = near_edge < line.rows.mean() < len(ink) - 1 - near_edge
      if inside and _reaches_both_ends(ink, line):
        left &= ~_of_line(ink, line)
        count += 1
  if not count:
    return mask, 0
  return _without_crumbs(mask, rest, thickest), count


def _without_crumbs(mask: np.ndarray, rest: np.ndarray, thickest: float) -> np.ndarray:
  """Returns what is left of a mask without the spots where two lines crossed, up to so thick."""
  labels, _ = ndimage.label(rest, NEIGHBOURS)
  near_line = labels[ndimage.binary_dilation(mask & ~rest)]
  crumbs = np.zeros(labels.max() + 1, bool)
  for number in np.unique(near_line[near_line > 0]):
    crumbs[number] = True
  for number, where in enumerate(ndimage.find_objects(labels), 1):
    crumbs[number] &= max(sides_of(where)) <= 2 * thickest
  return rest & ~crumbs[labels]


def _without_frames(mask: np.ndarray) -> Cleaned:
  """Takes out frames around digits."""
  mask, seen, left = mask.copy(), [], ""
  labels, _ = ndimage.label(mask, NEIGHBOURS)
  for number, where in enumerate(ndimage.find_objects(labels), 1):
    if min(sides_of(where)) < _LEAST_SIDE / 2:
      continue
    own = labels[where] == number
    drawn = _frame_lines(own)
    others = mask[where] & ~own & ndimage.binary_fill_holes(own)
    if drawn.any():
      inside = (own & ~drawn) | others
      if _tallest(inside) >= _LEAST_INSIDE * _usual_cell(drawn):
        mask[where] &= ~drawn
        seen.append("a frame was left out")
      else:
        left = "it is straight on all sides, as a frame is"
    elif others.any() and _tallest(others) >= _LEAST_INSIDE * own.shape[0]:
      mask[where] &= ~own
      seen.append("what surrounds it was left out")
  return Cleaned(mask, tuple(sorted(set(seen))), left)


def _frame_lines(own: np.ndarray) -> np.ndarray:
  """Returns the lines, bool, of a piece of ink that has straight lines along all four sides.

  A table has more lines between them.
  """
  found = np.zeros_like(own)
  thickest = max(3.0, _THICKEST_FRAME * min(own.shape))
  for ink, out in ((own, found), (own.T, found.T)):
    lines = list(_lines(ink, thickest))
    middles = [line.rows.mean() / len(ink) for line in lines]
    if not lines or min(middles) > _AT_SIDE or max(middles) < 1 - _AT_SIDE:
      return np.zeros_like(own)
    for line in lines:
      out |= _of_line(ink, line)
  thick = max(line.thickness for line in lines)
  return own & ~_without_crumbs(own, own & ~found, thick)


def _usual_cell(drawn: np.ndarray) -> float:
  """Returns the median height of the holes between lines."""
  labels, count = ndimage.label(ndimage.binary_fill_holes(drawn) & ~drawn)
  boxes = ndimage.find_objects(labels)
  heights = [height_of(where) for where in boxes if min(sides_of(where)) >= 5]
  return float(np.median(heights)) if count and heights else float(len(drawn))


def _tallest(mask: np.ndarray) -> int:
  """Returns the height of the tallest connected piece, 0 if there is none."""
  return max(map(height_of, ndimage.find_objects(ndimage.label(mask, NEIGHBOURS)[0])), default=0)


def _lines(ink: np.ndarray, thickest: float) -> Iterator[_Line]:
  """Yields the nearly horizontal lines from the left edge of a mask to its right edge."""
  height, width = ink.shape
  if ink.any(0).mean() < _LEAST_COVER:
    return  # No line can have ink in enough columns.
  ys, xs = np.nonzero(ink)
  from_middle = xs - width / 2
  best, slopes = np.zeros(height), np.zeros(height)
  for slope in np.arange(-_STEEPEST, _STEEPEST + 1e-9, 2 / width):
    rows = np.rint(ys - slope * from_middle).astype(int)
    inside = (rows >= 0) & (rows < height)
    hit = np.zeros((height + 2, width), bool)
    hit[rows[inside] + 1, xs[inside]] = True
    cover = (hit[:-2] | hit[1:-1] | hit[2:]).mean(1)
    slopes[cover > best] = slope
    best = np.maximum(best, cover)
  if best.max(initial=0) < _LEAST_COVER:
    return
  lengths = _vertical_runs(ink)
  while best.max(initial=0) >= _LEAST_COVER:
    row = _middle_of_peak(best)
    rows = np.clip(np.rint(row + slopes[row] * (np.arange(width) - width / 2)), 0, height - 1)
    line = _line(lengths, rows.astype(int))
    reach = int(np.ceil(line.thickness)) + 2
    best[max(0, row - reach) : row + reach + 1] = 0
    if line.thickness <= thickest:
      yield line


def _middle_of_peak(values: np.ndarray) -> int:
  """Returns the index in the middle of the first run of the largest value."""
  first = int(values.argmax())
  below = np.flatnonzero(values[first:] < values[first])
  last = first + int(below[0]) - 1 if len(below) else len(values) - 1
  return (first + last) // 2


def _line(lengths: np.ndarray, rows: np.ndarray) -> _Line:
  thickness = _along(lengths, rows)
  return _Line(rows, float(np.median(thickness[thickness > 0])))


def _along(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
  """Returns the largest of the values in each column at a row and at the rows beside it: [W]."""
  columns = np.arange(len(rows))
  near = [np.clip(rows + step, 0, len(values) - 1) for step in (-1, 0, 1)]
  return np.max([values[each, columns] for each in near], axis=0)


def _reaches_both_ends(ink: np.ndarray, line: _Line) -> bool:
  inked = _along(ink, line.rows) > 0
  end = max(1, round(_EDGE * len(inked)))
  return bool(inked[:end].mean() > 0.5 and inked[-end:].mean() > 0.5)


def _of_line(ink: np.ndarray, line: _Line) -> np.ndarray:
  """Returns the mask of a line, bool [H, W], without the strokes that cross it."""
  distance = np.abs(np.arange(len(ink))[:, None] - line.rows)
  thin = _vertical_runs(ink) <= _CROSSED * line.thickness + 1
  return ink & thin & (distance <= line.thickness + 1)


def _vertical_runs(ink: np.ndarray) -> np.ndarray:
  """Returns for each pixel of ink how many pixels above and below are ink without a gap, int."""
  steps = np.diff(np.pad(ink, ((1, 1), (0, 0))).astype(np.int8), axis=0).T
  starts, ends = np.nonzero(steps == 1)[1], np.nonzero(steps == -1)[1]
  lengths = np.zeros(ink.shape, np.int64)
  lengths.T[ink.T] = np.repeat(ends - starts, ends - starts)
  return lengths
