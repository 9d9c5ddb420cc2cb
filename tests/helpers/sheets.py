"""What people write digits on: ruled and squared paper, boxes, rows of digits, uneven light."""

import numpy as np
from handwriting import stroke_mask
from PIL import Image
from scipy import ndimage
from sklearn.datasets import load_digits


def digits(count):
  """Returns real digits, one of each class in turn, uint8 [N, 28, 28], light on black."""
  source = load_digits()
  images = [source.images[source.target == index % 10][index // 10] for index in range(count)]
  return np.stack([_enlarged(np.uint8(15 * image)) for image in images])


def _enlarged(image):
  large = Image.fromarray(image).resize((20, 20), Image.Resampling.BICUBIC)
  return np.pad(np.asarray(large), 4)


def paper(height, width):
  """Returns ink, float [H, W] in [0, 1], of which there is none."""
  return np.zeros((height, width))


def write(page, image, rng, middle, size, pen=0.09):
  """Writes a digit, uint8 [28, 28], about a place (row, column); with an rng, not quite upright."""
  ink = stroke_mask(image, size, pen, rng.uniform(-6, 6) if rng else 0.0)
  top, left = (round(m - side / 2) for m, side in zip(middle, ink.shape, strict=True))
  place = page[top : top + ink.shape[0], left : left + ink.shape[1]]
  np.maximum(place, ink[: place.shape[0], : place.shape[1]], out=place)


def rule(page, spacing, amount=0.5, thickness=2, margin=None, squared=False, first=None):
  """Draws ruled lines across the page; a margin line, or lines in both directions."""
  for ink in (page, page.T) if squared else (page,):
    for row in range(spacing // 2 if first is None else first, len(ink) - thickness, spacing):
      ink[row : row + thickness] = np.maximum(ink[row : row + thickness], amount)
  if margin is not None:
    column = page[:, margin : margin + thickness]
    np.maximum(column, amount, out=column)


def frame(page, where, thickness=4, amount=1.0):
  """Draws a frame: (top, left, bottom, right)."""
  top, left, bottom, right = where
  inner = page[top + thickness : bottom - thickness, left + thickness : right - thickness].copy()
  page[top:bottom, left:right] = amount
  page[top + thickness : bottom - thickness, left + thickness : right - thickness] = inner


def scanned(page, rng, turned=0.0, noise=0.02, ink=0.15, sheet=0.92):
  """Returns the page as a scanner sees it: turned by degrees, blurred a little, with noise."""
  picture = Image.fromarray(page.astype(np.float32)).rotate(turned, Image.Resampling.BICUBIC)
  amount = ndimage.gaussian_filter(np.asarray(picture), 0.7)
  gray = sheet + (ink - sheet) * np.clip(amount, 0, 1) + rng.normal(0, noise, page.shape)
  return Image.fromarray(np.uint8(255 * np.clip(gray, 0, 1)))
