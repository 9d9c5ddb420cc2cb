"""A file that holds a picture -> the picture, upright: training and prediction read the same.

Only the formats in FORMATS are opened: Pillow would hand some others to programs outside, such as
Ghostscript. The size of a file is known before it is read, that of a picture before it is decoded.
"""

import contextlib
import functools
import importlib.util
import os
import warnings
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np
from etils import epy
from PIL import Image, ImageChops, ImageOps, UnidentifiedImageError

from mnist_mlp.errors import RunError, listing

with epy.lazy_imports():  # Optional: photographs of many telephones are HEIF files.
  import pillow_heif

FORMATS = (
  "AVIF", "BMP", "GIF", "HEIF", "JPEG", "JPEG2000", "PNG", "PPM", "TGA", "TIFF", "WEBP",
)  # fmt: skip
MOST_BYTES = 300_000_000  # of a file; about three bytes for each of the most pixels below
MOST_PIXELS = 89_478_485  # the number beyond which Pillow warns of a decompression bomb

_MODES = {1: "L", 3: "RGB"}  # Pillow's mode of pictures with so many channels
_GRAY = 2  # levels of 255 between a gray pixel's channels at most: WebP leaves one

_HEIF_SUFFIXES = (".heic", ".heif")
_SUFFIXES = (
  ".avif", ".bmp", ".gif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm",
  ".tga", ".tif", ".tiff", ".webp",
)  # fmt: skip
ALL_SUFFIXES = _SUFFIXES + _HEIF_SUFFIXES  # in lower case, whether or not this machine reads them


def suffixes() -> tuple[str, ...]:
  """Returns the suffixes, in lower case, of the files that this machine can read."""
  return _SUFFIXES + (_HEIF_SUFFIXES if _reads_heif() else ())


def lacks(path: str | os.PathLike) -> str:
  """Returns in words what to install to read a file of this name, or '' if that is not known."""
  heif = str(path).lower().endswith(_HEIF_SUFFIXES)
  return "reading it takes pip install 'mnist_mlp[heif]'" if heif and not _reads_heif() else ""


def load_picture(
  source: str | os.PathLike | BinaryIO, name: str = "", formats: Sequence[str] = FORMATS
) -> Image.Image:
  """Returns a picture of any mode, turned as its EXIF data say. Of an animation: the first frame.

  Args:
    source: a path, or a file that is open for reading bytes and can be read twice.
    name: what messages call the picture; by default its path.
    formats: those of Pillow's formats that are accepted.

  Raises:
    RunError: the file is missing or cannot be read, is no picture of these formats, is damaged,
      has more than MOST_BYTES, or more pixels than MOST_PIXELS.
  """
  name = name or str(source)
  if not isinstance(source, str | os.PathLike):
    return _decoded(source, name, formats)
  with opened(source, name) as file:
    return _decoded(file, name, formats)


def read(path: str | os.PathLike, height: int, width: int, channels: int) -> np.ndarray:
  """Returns a picture file as training sees it: uint8 [height, width, channels].

  Args:
    path: a file of any of FORMATS.
    height: in pixels.
    width: in pixels.
    channels: 1, grayscale, or 3, RGB.

  Raises:
    RunError: as `load_picture` and `plain`.
  """
  return shaped(plain(load_picture(path), str(path)), height, width, channels)


def shaped(image: Image.Image, height: int, width: int, channels: int) -> np.ndarray:
  """Returns a picture that `plain` gave as uint8 [height, width, channels].

  A picture of this size keeps its pixels. Another one is resized as a whole, its aspect ratio kept,
  and the rest is filled with the median colour of its edges.
  """
  image = image.convert(_MODES[channels])
  if image.size != (width, height):
    image = ImageOps.pad(image, (width, height), color=_edge_colour(image))
  return np.asarray(image).reshape(height, width, channels)


def _edge_colour(image: Image.Image) -> int | tuple[int, ...]:
  pixels = np.asarray(image).reshape(image.height, image.width, -1)
  edges = (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1])
  median = np.median(np.concatenate(edges), axis=0).astype(int).tolist()
  return tuple(median) if len(median) > 1 else median[0]


def plain(image: Image.Image, name: str) -> Image.Image:
  """Returns a picture of any mode as grayscale, mode 'L', or else as RGB, of 8 bits each.

  RGB and palettes whose colours are all gray become grayscale. What is transparent lies on white.
  Of 16 bits, the upper 8 are kept.

  Args:
    image: as `load_picture` gives it.
    name: what messages call the picture.

  Raises:
    RunError: nothing tells the range of its values, which are of 32 bits, or are LAB colours.
  """
  if image.mode.startswith("I;16"):
    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
  if image.mode in ("I", "F", "LAB"):
    raise RunError(f"{name} has pixels of the mode {image.mode}; save it with 8 bits in RGB")
  if image.has_transparency_data:
    image = image.convert("RGBA")
    image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
  if image.mode in ("1", "L"):
    return image.convert("L")
  image = image.convert("RGB")
  return image.convert("L") if _is_gray(image) else image


def _is_gray(image: Image.Image) -> bool:
  red, green, blue = image.split()
  differences = (ImageChops.difference(red, green), ImageChops.difference(green, blue))
  return all(np.asarray(difference).max() <= _GRAY for difference in differences)


@contextlib.contextmanager
def opened(path: str | os.PathLike, name: str) -> Iterator[BinaryIO]:
  """Opens a file, of at most MOST_BYTES, for reading bytes.

  Raises:
    RunError: it is missing, is no regular file, is too large or cannot be read, now or within the
      `with` block.
  """
  if os.path.exists(path) and not os.path.isfile(path):  # Opening a pipe could wait for ever.
    raise RunError(f"{name} is not a file")
  try:
    file = open(path, "rb")  # noqa: SIM115 (the `with` block below closes it)
  except ValueError as error:  # It has a NUL, or characters that the file system cannot have.
    raise RunError(f"{name!r} cannot be the name of a file") from error
  except FileNotFoundError as error:
    raise RunError(f"{name} does not exist") from error
  except OSError as error:
    raise RunError(f"{name} cannot be read: {error.strerror}") from error
  with file:
    if os.fstat(file.fileno()).st_size > MOST_BYTES:
      raise RunError(_too_large(name))
    try:
      yield file
    except OSError as error:
      raise RunError(f"{name} cannot be read: {error.strerror}") from error


def read_stream(stream: BinaryIO, name: str) -> bytes:
  """Returns all that a stream of unknown length gives.

  Raises:
    RunError: it gives more than MOST_BYTES, or cannot be read.
  """
  try:
    content = stream.read(MOST_BYTES + 1)
  except OSError as error:
    raise RunError(f"{name} cannot be read: {error.strerror}") from error
  if len(content) > MOST_BYTES:
    raise RunError(_too_large(name))
  return content


def _too_large(name: str) -> str:
  return f"{name} has more than {MOST_BYTES / 1e6:.0f} MB; make it smaller"


def _decoded(file: BinaryIO, name: str, formats: Sequence[str]) -> Image.Image:
  if not file.read(1):
    raise RunError(f"{name} is empty")
  try:
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")  # Odd metadata do no harm.
      _announced(file, name, formats).verify()  # Checks all checksums of a PNG file.
      image = _announced(file, name, formats)  # Decoding ignores some checksums.
      image.load()
      return _upright(image)
  except RunError:
    raise
  except UnidentifiedImageError as error:
    raise RunError(
      f"{name} is not a picture of a known format ({listing(_registered(formats))})"
    ) from error
  except Exception as error:  # Decoders raise errors of many kinds when a file is damaged.
    raise RunError(f"{name} is damaged: {error}") from error


def _announced(file: BinaryIO, name: str, formats: Sequence[str]) -> Image.Image:
  """Returns the picture that a file announces, not yet decoded, once its size is known to be sane.

  Raises:
    RunError: the picture has more than MOST_PIXELS.
  """
  file.seek(0)
  try:
    image = Image.open(file, formats=_registered(formats))
    if image.width * image.height <= MOST_PIXELS:
      return image
  except Image.DecompressionBombError:  # Pillow's own limit is twice as high.
    pass
  raise RunError(f"{name} has more than {MOST_PIXELS:,} pixels; make it smaller")


def _upright(image: Image.Image) -> Image.Image:
  try:
    return ImageOps.exif_transpose(image)
  except Exception:  # Data that cannot be read do not turn the picture.
    return image


def _registered(formats: Sequence[str]) -> list[str]:
  """Returns those of the formats that Pillow reads on this machine."""
  if _reads_heif():
    pillow_heif.register_heif_opener()
  Image.init()
  return [name for name in formats if name in Image.OPEN]


@functools.cache
def _reads_heif() -> bool:
  return importlib.util.find_spec("pillow_heif") is not None
