"""A picture of any mode -> the brightness of its pixels."""

import numpy as np
from PIL import Image, ImageFilter
from scipy import ndimage

MOST_PIXELS = 512**2  # Larger pictures are reduced to about so many pixels.

# A picture in black and white may be dithered: it shows gray by single dots.
_DOTS = 1.5  # pixels, the standard deviation of the blur that turns dots into gray
_LEAST_DOTTED = 56  # pixels, the shorter side of pictures that may be dithered
_LEAST_DOTS = 0.02  # the share of single dots from which on a picture counts as dithered
_MOST_DOTTED = 16 * MOST_PIXELS  # Reducing a larger picture turns its dots into gray.


def undithered(image: Image.Image) -> Image.Image:
  """Returns a picture of any mode. If the picture is dithered, its dots are blurred into gray.

  A picture is dithered if it has two colours and many single dots. A single dot is a pixel whose
  four neighbours all have the other colour.
  """
  if (
    image.mode not in ("1", "L", "P", "RGB")
    or image.has_transparency_data
    or min(image.size) < _LEAST_DOTTED
    or image.width * image.height > _MOST_DOTTED
    or image.getcolors(2) is None
  ):
    return image
  light = np.asarray(image.convert("L")) > 127
  # How many are light of a pixel and its four neighbours.
  lit = ndimage.convolve(light.astype(np.uint8), ndimage.generate_binary_structure(2, 1))
  dots = np.where(light, lit == 1, lit == 4)
  if dots.mean() < _LEAST_DOTS:
    return image
  return image.convert("RGB").filter(ImageFilter.GaussianBlur(_DOTS))


def to_rgb(image: Image.Image, most_pixels: int = MOST_PIXELS) -> Image.Image:
  """Returns a picture of any mode as RGB, or as RGBA if it has transparent parts.

  A picture of more than `most_pixels` is reduced to about as many. Nothing tells the range of
  values of 16 and 32 bits, so they are stretched to the full range.
  """
  if image.mode[0] in "IF":
    # Reduced first: NumPy's copies of the largest pictures would take gigabytes.
    image = _stretched(_reduced(image.convert("F" if image.mode == "F" else "I"), most_pixels))
  if image.mode == "LAB":
    image = image.getchannel("L")
  mode = "RGBA" if image.has_transparency_data else "RGB"
  return _reduced(image if image.mode == mode else image.convert(mode), most_pixels)


def _reduced(image: Image.Image, most_pixels: int) -> Image.Image:
  factor = int(np.ceil(np.sqrt(image.width * image.height / most_pixels)))
  return image.reduce(factor) if factor > 1 else image


def _stretched(image: Image.Image) -> Image.Image:
  """Returns a picture of 32 bits as one of 8 bits whose values fill the range."""
  values = np.nan_to_num(np.asarray(image, np.float64), posinf=0.0, neginf=0.0)
  span = values.max() - values.min()
  return Image.fromarray(np.round(255 * (values - values.min()) / (span or 1)).astype(np.uint8))


def brightness(image: Image.Image) -> np.ndarray:
  """Returns the brightness of an RGB or RGBA picture, float32 [H, W] in [0, 1].

  Colours are projected on the direction in which they vary most. So red ink on a green wall shows
  as well as black ink on paper.
  """
  colors = np.asarray(image, np.float32) / 255
  if colors.shape[-1] == 4:
    colors = _on_paper(colors)
  flat = colors.reshape(-1, 3)
  deviations = flat - flat.mean(0)
  direction = np.linalg.eigh(deviations.T @ deviations)[1][:, -1]
  # Of the two ways along this line, the one to more light. The result then spans an interval of
  # length 1, which the last line moves to [0, 1].
  direction = direction * (np.sign(direction.sum()) or 1.0) / np.abs(direction).sum()
  return colors @ direction - np.minimum(direction, 0).sum(dtype=np.float32)


def _on_paper(colors: np.ndarray) -> np.ndarray:
  """Returns the colours, float32 [H, W, 3], of RGBA colours [H, W, 4] before paper.

  The colour of the paper follows from the opaque pixels. If they vary in brightness, they show ink
  on paper, and the paper is their median. If not, they are all ink, and the paper is white behind
  dark ink and black behind light ink.
  """
  colors, opacity = colors[:, :, :3], colors[:, :, 3:]
  opaque = colors[opacity[:, :, 0] > 0.5]
  if not len(opaque):
    paper = np.zeros(3, np.float32)
  elif opaque.mean(-1).std() > 0.1:
    paper = np.median(opaque, axis=0)
  else:
    paper = np.full(3, float(opaque.mean() < 0.5), np.float32)
  return colors * opacity + paper * (1 - opacity)
