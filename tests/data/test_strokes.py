"""What are pen strokes like MNIST's, and what are not."""

import numpy as np
import sheets

from mnist_mlp.data.strokes import are_pen_strokes

DIGITS = sheets.digits(60)[..., None]


def clothes(count):
  """Returns light, filled shapes amid black, uint8 [N, 28, 28, 1]."""
  images = np.zeros((count, 28, 28, 1), np.uint8)
  for index, image in enumerate(images):
    image[4 : 18 + index % 6, 6:20] = 150 + index % 100
  return images


def test_digits_are_pen_strokes():
  assert are_pen_strokes(DIGITS)
  some_others = np.concatenate([DIGITS, clothes(4)])
  assert are_pen_strokes(some_others)


def test_other_images_are_not():
  assert not are_pen_strokes(clothes(60))
  assert not are_pen_strokes(255 - DIGITS)  # ink on paper
  assert not are_pen_strokes(np.zeros_like(DIGITS))
  assert not are_pen_strokes(np.repeat(DIGITS, 3, -1))
  assert not are_pen_strokes(np.pad(DIGITS, ((0, 0), (2, 2), (2, 2), (0, 0))))
  at_edges = np.roll(DIGITS, 9, 2)  # Strokes are cut there.
  assert not are_pen_strokes(at_edges)
  mixed = np.concatenate([DIGITS, clothes(20)])
  assert not are_pen_strokes(mixed)


def test_of_many_images_some_are_looked_at():
  many = np.concatenate([np.repeat(DIGITS, 20, 0), clothes(1)])
  assert are_pen_strokes(many)
  assert not are_pen_strokes(np.concatenate([np.repeat(DIGITS, 10, 0), clothes(1000)]))
