"""Pictures as people make them of MNIST's digits: drawn anywhere, with any pen, in any light.

A picture is made of an MNIST test image by undoing what made it fit: another size, place, slant,
pen, paper, ink and light. What it shows is known, and no net has seen it so.
"""

import io

import numpy as np
from PIL import Image
from scipy import ndimage

_ORIENTATION = 0x0112  # the EXIF tag
_STORED = {  # how the pixels lie in a file of this orientation
  1: (),
  3: (Image.Transpose.ROTATE_180,),
  6: (Image.Transpose.ROTATE_90,),
  8: (Image.Transpose.ROTATE_270,),
}


def stroke_mask(image, size, pen, angle=0.0):
  """Returns a digit's ink, float [h, w] in [0, 1], its longer side `size`.

  Args:
    image: uint8 [28, 28].
    size: int, pixels.
    pen: width of the strokes as a share of `size`.
    angle: degrees.
  """
  zoom = 8
  large = Image.fromarray(image).resize((28 * zoom, 28 * zoom), Image.Resampling.BICUBIC)
  mask = np.asarray(large.rotate(angle, Image.Resampling.BICUBIC)) > 110
  inside = ndimage.distance_transform_edt(mask)
  excess = 4 * inside[mask].mean() - 20 * zoom * pen
  if excess < 0:
    mask = ndimage.distance_transform_edt(~mask) < -excess / 2
  else:
    thinner = inside > excess / 2
    whole = _parts(thinner) == _parts(mask) and thinner.sum() > 0.3 * mask.sum()
    mask = thinner if whole else mask  # A pen that thin would not be the same digit.
  mask = mask[np.flatnonzero(mask.any(1))][:, np.flatnonzero(mask.any(0))]
  scale = size / max(mask.shape)
  shape = [max(1, round(side * scale)) for side in mask.shape]
  picture = Image.fromarray(mask.astype(np.float32))
  return np.clip(np.asarray(picture.resize(shape[::-1], Image.Resampling.LANCZOS)), 0, 1)


def _parts(mask):
  return ndimage.label(mask, np.ones((3, 3)))[1]


def _placed(ink, shape, rng):
  canvas = np.zeros(shape, np.float32)
  top, left = (rng.integers(1, side - part) for side, part in zip(shape, ink.shape, strict=True))
  canvas[top : top + ink.shape[0], left : left + ink.shape[1]] = ink
  return canvas


def drawing(image, rng):
  """Returns a small drawing, 28x28, dark on light, sometimes pale and noisy."""
  ink = stroke_mask(image, rng.integers(11, 25), rng.uniform(0.045, 0.16), rng.uniform(-8, 8))
  gray = 1 - _placed(ink, (28, 28), rng) * rng.uniform(0.6, 1.0)
  if rng.random() < 0.35:
    gray = 0.5 + rng.uniform(0.25, 0.5) * (gray - 0.5) + rng.uniform(-0.1, 0.25)
    gray += rng.normal(0, rng.uniform(0, 0.05), gray.shape)
  return Image.fromarray(np.uint8(255 * np.clip(gray, 0, 1)))


def photograph(image, rng, shadow=False):
  """Returns a JPEG file's bytes: coloured ink and paper, blur, uneven light, noise, EXIF."""
  height, width = rng.integers(100, 420, 2)
  size = int(min(height, width) * rng.uniform(0.25, 0.85))
  ink = stroke_mask(image, size, rng.uniform(0.06, 0.16), rng.uniform(-8, 8))
  ink = ndimage.gaussian_filter(
    _placed(ink, (height, width), rng), rng.uniform(0.3, 1 + 0.012 * size)
  )[:, :, None]
  light_ink = rng.random() < 0.25
  paper = rng.uniform(*((0.05, 0.3) if light_ink else (0.7, 1.0)), 3)
  color = rng.uniform(*((0.75, 1.0) if light_ink else (0.0, 0.35)), 3)
  colors = (paper * (1 - ink) + color * ink) * _light((height, width), shadow, rng)[:, :, None]
  colors += rng.normal(0, rng.uniform(0, 0.04), colors.shape)
  upright = Image.fromarray(np.uint8(255 * np.clip(colors, 0, 1)))
  orientation = int(rng.choice(list(_STORED)))
  return saved(upright, "JPEG", orientation, quality=int(rng.integers(50, 95)))


def _light(shape, shadow, rng):
  """Returns the light's share that reaches each place, float [h, w]: from a side, and a shadow."""
  y, x = (np.mgrid[: shape[0], : shape[1]].T / shape).T - 0.5
  angle = rng.uniform(0, 2 * np.pi)
  slope = np.cos(angle) * x + np.sin(angle) * y
  light = 1 - rng.uniform(0, 0.6) * (slope - slope.min()) / np.ptp(slope)
  light *= 1 - rng.uniform(0, 0.6) * (x**2 + y**2)
  if shadow:
    angle = rng.uniform(0, 2 * np.pi)
    distance = np.cos(angle) * x + np.sin(angle) * y - rng.uniform(-0.25, 0.25)
    light *= 1 - rng.uniform(0.2, 0.5) / (1 + np.exp(-np.clip(distance / 0.015, -50, 50)))
  return light


def saved(upright, kind, orientation=1, **options):
  """Returns a file's bytes whose EXIF orientation, 1, 3, 6 or 8, turns its pixels upright."""
  stored = upright
  for operation in _STORED[orientation]:
    stored = stored.transpose(operation)
  exif = Image.Exif()
  exif[_ORIENTATION] = orientation
  file = io.BytesIO()
  stored.save(file, kind, exif=exif, **options)
  return file.getvalue()


def seven(height=100, width=60):
  """Ink of a 7, float [h, w] in [0, 1], in the middle of much paper."""
  ink = np.zeros((height, width), np.float32)
  ink[:12] = 1
  for row in range(12, height):
    left = int((width - 14) * (1 - row / height))
    ink[row, left : left + 14] = 1
  return np.pad(ink, 40)


def gray_picture(ink, ink_level=30, paper_level=230):
  return Image.fromarray(np.uint8(paper_level + (ink_level - paper_level) * ink))
