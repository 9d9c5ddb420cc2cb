"""A picture of several digits, in rows or in boxes -> each digit as a net sees it, line by line."""

import dataclasses
import itertools
from typing import NamedTuple

import numpy as np
from PIL import Image

from mnist_mlp.inference import fitting
from mnist_mlp.inference.brightness import brightness, to_rgb, undithered
from mnist_mlp.inference.geometry import Box, NoInkError, height_of, sides_of, wider
from mnist_mlp.inference.ink import Ink, find_ink
from mnist_mlp.inference.lines import without_lines
from mnist_mlp.inference.pictures import LEAST_STEEPNESS, Prepared, doubt_of
from mnist_mlp.inference.pieces import Pieces, at_edge, lines_of_digits, pieces_of, union

MOST_PIXELS = 1200**2  # Larger pictures are reduced to about so many pixels.

_LONG = 0.5  # What is at the picture's edge and spans more of a side is the edge of the paper.
_WIDE = 1.45  # width over height; of MNIST's digits one in a hundred is as wide
_SPACE = 1.0  # heights of a digit, the least gap between two numbers
_WIDE_GAP = 2.5  # A gap between numbers is so many times as wide as the usual one.


class Digit(NamedTuple):
  """A digit on a page."""

  prepared: Prepared
  where: Box  # its place in `Page.image`
  spaced: bool  # whether a gap before it separates two numbers


class Page(NamedTuple):
  """A picture of several digits."""

  image: Image.Image  # RGB or RGBA, about MOST_PIXELS at most
  lines: list[list[Digit]]  # from the top; the digits of a line from the left
  remarks: tuple[str, ...]  # what was left out


def prepare_page(image: Image.Image) -> Page:
  """Returns what MNIST would have made of each digit in a picture of any mode and size.

  Digits that touch each other are not told apart; such a digit has a doubt.
  """
  shown = to_rgb(undithered(image), MOST_PIXELS)
  try:
    ink = find_ink(brightness(shown))
    cleaned = without_lines(ink.mask)
    pieces = _without_paper(pieces_of(ink, cleaned.mask))
    lines, marks = lines_of_digits(pieces)
  except NoInkError:
    return Page(shown, [], ())
  found = [_digits(ink, pieces, line) for line in lines]
  remarks = [*cleaned.removed, *filter(None, [cleaned.left])]
  if marks:
    remarks.append(f"small marks that were left out: {len(marks)}")
  return Page(shown, [line for line in found if line], tuple(remarks))


def _without_paper(pieces: Pieces) -> Pieces:
  """Returns the pieces without the edges of the paper."""
  shape = pieces.labels.shape
  is_paper = [
    at_edge(where, shape) and bool((np.divide(sides_of(where), shape) > _LONG).any())
    for where in pieces.boxes
  ]
  return dataclasses.replace(pieces, mass=pieces.mass * ~np.array(is_paper))


def _digits(ink: Ink, pieces: Pieces, line: list[list[int]]) -> list[Digit]:
  """Returns the digits of a line that are ink rather than light, each given by its pieces."""
  found: list[tuple[Prepared, Box]] = []
  for numbers in line:
    where = union([pieces.box(number) for number in numbers])
    part = wider(where)
    strokes, near = pieces.mask(numbers, part), ink._replace(amount=ink.amount[part])
    try:
      if near.steepness(strokes) * max(sides_of(where)) < LEAST_STEEPNESS:
        continue
      pixels = fitting.fit(near.cut_out(strokes, near.mask & ~strokes))
    except NoInkError:
      continue
    height, width = sides_of(where)
    touching = width > _WIDE * height
    doubt = "it may be several that touch" if touching else doubt_of(pixels)
    cut = ("it touches the edge",) if at_edge(where, ink.amount.shape) else ()
    found.append((Prepared(pixels[:, :, None], doubt, cut), where))
  spaces = _spaces([where for _, where in found])
  return [Digit(*digit, spaced) for digit, spaced in zip(found, spaces, strict=True)]


def _spaces(boxes: list[Box]) -> list[bool]:
  """Returns for each digit of a line whether a gap before it separates two numbers."""
  if not boxes:
    return []
  gaps = [b[1].start - a[1].stop for a, b in itertools.pairwise(boxes)]
  least = max(
    _SPACE * float(np.median([height_of(where) for where in boxes])),
    _WIDE_GAP * float(np.median(gaps or [0])),
  )
  return [False, *(gap > least for gap in gaps)]
