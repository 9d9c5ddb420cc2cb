"""Pictures of several digits: which digits are found, in which order."""

import itertools

import numpy as np
import pytest
import sheets
from PIL import Image

from mnist_mlp import inference
from mnist_mlp.inference.pages import prepare_page

DIGITS = sheets.digits(30)
CELL, MARGIN = 90, 40


def sheet(rows, columns, boxes=False, ruled=False, turned=0.0, left_out=()):
  """Returns a picture of digits 0, 1, 2, ... of DIGITS in a grid, without those of `left_out`."""
  rng = np.random.default_rng(0)
  page = sheets.paper(CELL * rows + 2 * MARGIN, CELL * columns + 2 * MARGIN)
  for index in range(rows * columns):
    top, left = MARGIN + CELL * (index // columns), MARGIN + CELL * (index % columns)
    if index not in left_out:
      middle = np.array([top, left]) + CELL // 2 + rng.integers(-4, 5, 2)
      sheets.write(page, DIGITS[index], None, middle, 52)
    if boxes:
      sheets.frame(page, (top - 2, left - 2, top + CELL + 2, left + CELL + 2))
  if ruled:
    sheets.rule(page, CELL, first=MARGIN - 2)
  return sheets.scanned(page, rng, turned)


def places(page):
  """Returns (row, column) of the cell of each digit, in the order of the page, line by line."""
  return [
    [tuple((part.start + part.stop) / 2 // 1 for part in digit.where) for digit in line]
    for line in page.lines
  ]


@pytest.mark.parametrize("turned", [0.0, 1.5, -1.5])
@pytest.mark.parametrize("boxes", [False, True])
@pytest.mark.parametrize(("rows", "columns"), [(1, 6), (4, 5), (5, 2)])
def test_digits_are_read_line_by_line(rows, columns, boxes, turned):
  page = prepare_page(sheet(rows, columns, boxes, turned=turned))
  assert [len(line) for line in page.lines] == [columns] * rows
  for row, line in enumerate(places(page)):
    for column, (y, x) in enumerate(line):
      place = np.array([MARGIN + CELL * row, MARGIN + CELL * column]) + CELL / 2
      assert np.abs(place - (y, x)).max() < 25
  assert page.remarks == (("a frame was left out",) if boxes else ())


def test_each_digit_is_what_it_would_be_alone():
  page = prepare_page(sheet(3, 6, boxes=True))
  found = [digit.prepared for line in page.lines for digit in line]
  differences = []
  for image, digit in zip(DIGITS[:18], found, strict=True):
    alone = sheets.paper(150, 150)
    sheets.write(alone, image, None, (75, 75), 52)
    reference = inference.prepare(sheets.scanned(alone, np.random.default_rng(0)))
    differences.append(np.abs(reference.pixels.astype(int) - digit.pixels).mean())
    assert digit.doubt == "" and digit.remarks == ()
  assert np.median(differences) < 2
  assert max(differences) < 25


def test_ruled_lines_are_left_out():
  page = prepare_page(sheet(3, 5, ruled=True))
  assert [len(line) for line in page.lines] == [5, 5, 5]
  assert page.remarks == ("ruled lines were left out",)


def test_a_gap_separates_numbers():
  page = prepare_page(sheet(2, 7, left_out=(3, 4, 9)))
  spaced = [[digit.spaced for digit in line] for line in page.lines]
  assert spaced == [[False, False, False, True, False], [False, False, True, False, False, False]]


def test_what_is_small_is_left_out_and_counted():
  picture = np.array(sheet(1, 4))
  picture[120:126, [125, 126, 127, 128]] = 30  # a comma
  page = prepare_page(Image.fromarray(picture))
  assert [len(line) for line in page.lines] == [4]
  assert page.remarks == ("small marks that were left out: 1",)


def test_digits_that_touch_are_doubted():
  page = sheets.paper(150, 300)
  rng = np.random.default_rng(0)
  sheets.write(page, DIGITS[0], rng, (75, 100), 70)
  sheets.write(page, DIGITS[3], rng, (75, 168), 70)
  page[74:80, 90:180] = 1
  (line,) = prepare_page(sheets.scanned(page, rng)).lines
  assert [digit.prepared.doubt for digit in line] == ["it may be several that touch"]


def test_the_table_below_the_paper_is_no_digit():
  picture = np.array(sheet(1, 4))
  picture[:, -25:] = 20
  page = prepare_page(Image.fromarray(picture))
  assert [len(line) for line in page.lines] == [4]


@pytest.mark.parametrize(
  "values",
  [
    np.zeros((1, 1)),
    np.full((200, 300), 200),
    np.random.default_rng(0).normal(128, 20, (300, 200)),
    np.tile(np.linspace(120, 220, 300), (300, 1)),
  ],
  ids=["1x1", "blank", "noise", "light"],
)
def test_no_ink(values):
  page = prepare_page(Image.fromarray(np.uint8(np.clip(values, 0, 255))))
  assert page.lines == [] and page.remarks == ()


def test_uneven_writing_is_one_number():
  page = sheets.paper(150, 320)
  for left, image in zip((60, 108, 190, 238), DIGITS[2:6], strict=True):
    sheets.write(page, image, None, (75, left), 52)
  (line,) = prepare_page(sheets.scanned(page, np.random.default_rng(0))).lines
  gaps = [b.where[1].start - a.where[1].stop for a, b in itertools.pairwise(line)]
  assert max(gaps) > 2.5 * np.median(gaps)
  assert not any(digit.spaced for digit in line)


def test_a_digit_in_small_pieces_is_found():
  picture = np.array(sheet(1, 4))
  middle = MARGIN + CELL // 2
  picture[middle - 4 : middle + 4, MARGIN + 2 * CELL : MARGIN + 3 * CELL] = picture[0, 0]
  page = prepare_page(Image.fromarray(picture))
  assert [len(line) for line in page.lines] == [4] and page.remarks == ()
  rows = page.lines[0][2].where[0]
  assert rows.start < middle - 10 and rows.stop > middle + 10
