"""Ruled lines, margins and frames: what is left out, what is said, and what must stay."""

import numpy as np
import pytest
import sheets
from handwriting import gray_picture, stroke_mask

from mnist_mlp import inference
from mnist_mlp.inference.lines import without_lines

HEIGHT, WIDTH = 300, 260
DIGITS = sheets.digits(10)


def written(image, middle=(150, 130), size=110):
  page = sheets.paper(HEIGHT, WIDTH)
  sheets.write(page, image, np.random.default_rng(0), middle, size)
  return page


def prepared(page, turned=0.0):
  return inference.prepare(sheets.scanned(page, np.random.default_rng(1), turned))


def difference(page, image, turned=0.0):
  """Returns how much what a net sees differs from the same digit on plain paper, 0 to 255."""
  plain, seen = prepared(written(image), turned).pixels, prepared(page, turned).pixels
  return np.abs(plain.astype(int) - seen).mean()


PAPERS = {
  "ruled": {"spacing": 55},
  "ruled as dark as ink": {"spacing": 50, "amount": 1.0},
  "margin": {"spacing": 55, "margin": 40},
  "only a margin": {"spacing": 1000, "margin": 40},
  "squared": {"spacing": 45, "squared": True},
}


@pytest.mark.parametrize("turned", [0.0, 2.0])
@pytest.mark.parametrize("name", PAPERS)
def test_ruled_lines_are_left_out(name, turned):
  differences = []
  for image in DIGITS[::2]:
    page = written(image)
    sheets.rule(page, **PAPERS[name])
    differences.append(difference(page, image, turned))
    assert "ruled lines were left out" in prepared(page, turned).remarks
  assert np.mean(differences) < 6
  assert max(differences) < 20


@pytest.mark.parametrize("turned", [0.0, -3.0])
@pytest.mark.parametrize("thickness", [3, 9])
def test_frames_are_left_out(thickness, turned):
  for image in DIGITS[1::2]:
    page = written(image)
    sheets.frame(page, (60, 50, 240, 210), thickness)
    assert difference(page, image, turned) < 6
    assert prepared(page, turned).remarks == ("a frame was left out",)


def test_frames_that_the_digit_touches_are_left_out():
  differences = []
  for image in DIGITS:
    page = written(image)
    bottom = np.flatnonzero(page.any(1))[-1]
    sheets.frame(page, (60, 50, bottom + 2, 210))
    differences.append(difference(page, image))
    assert prepared(page).remarks == ("a frame was left out",)
  assert np.mean(differences) < 20


def test_rings_are_left_out():
  y, x = np.mgrid[:HEIGHT, :WIDTH]
  for image in DIGITS:
    page = np.maximum(written(image), abs(np.hypot(y - 150, x - 130) - 90) < 3)
    assert difference(page, image) < 6
    assert prepared(page).remarks == ("what surrounds it was left out",)


def test_strokes_of_digits_are_no_lines():
  """Of digits of any size, in the middle of the paper and filling it, nothing is left out."""
  for image in DIGITS:
    ink = stroke_mask(image, 140, 0.08)
    for margin in (0, 1, 30):
      cleaned = without_lines(np.pad(ink, margin) > 0.5)
      assert (cleaned.mask == (np.pad(ink, margin) > 0.5)).all()
      assert cleaned.removed == () and cleaned.left == ""


def test_a_seven_that_fills_the_picture_keeps_its_bar():
  ink = np.zeros((200, 150), np.float32)
  ink[:4] = ink[:, 146:] = 1
  assert without_lines(ink > 0).mask.sum() == ink.sum()


def test_an_empty_form_is_no_digit():
  frame = sheets.paper(HEIGHT, WIDTH)
  sheets.frame(frame, (60, 50, 240, 210))
  assert prepared(frame).doubt == "it is straight on all sides, as a frame is"
  ruled = sheets.paper(HEIGHT, WIDTH)
  sheets.rule(ruled, 60, amount=1.0)
  assert prepared(ruled).pixels is None
  line = np.zeros((HEIGHT, WIDTH), np.float32)
  line[:, 128:132] = 1
  assert inference.prepare(gray_picture(line)).doubt == "a straight line crosses the whole picture"


def test_pictures_without_ink_and_with_nothing_but_ink_have_no_lines():
  for mask in (np.zeros((60, 60), bool), np.ones((60, 60), bool), np.ones((3, 500), bool)):
    assert (without_lines(mask).mask == mask).all()
