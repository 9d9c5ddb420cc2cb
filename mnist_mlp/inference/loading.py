"""A file of any format that Pillow reads -> a picture, upright."""

import os
import warnings
from typing import BinaryIO

from PIL import Image, ImageOps, UnidentifiedImageError

from mnist_mlp.errors import RunError


def load_picture(source: str | os.PathLike | BinaryIO, name: str = "") -> Image.Image:
  """Returns a picture of any mode, turned as its EXIF data say. Of an animation: the first frame.

  Args:
    source: a path, or a file that is open for reading bytes.
    name: what messages call the picture; by default its path.

  Raises:
    RunError: the file is missing or cannot be read, is no picture, is damaged, or has more pixels
      than Pillow considers safe.
  """
  name = name or str(source)
  if not isinstance(source, str | os.PathLike):
    return _decoded(source, name)
  if os.path.exists(source) and not os.path.isfile(source):
    raise RunError(f"{name} is not a file")
  try:
    with open(source, "rb") as file:
      return _decoded(file, name)
  except FileNotFoundError as error:
    raise RunError(f"{name} does not exist") from error
  except OSError as error:
    raise RunError(f"{name} cannot be read: {error.strerror}") from error


def _decoded(file: BinaryIO, name: str) -> Image.Image:
  if not file.read(1):
    raise RunError(f"{name} is empty")
  file.seek(0)
  try:
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")  # Odd metadata do no harm.
      warnings.simplefilter("error", Image.DecompressionBombWarning)
      image = Image.open(file)
      image.load()
      return ImageOps.exif_transpose(image)
  except UnidentifiedImageError as error:
    raise RunError(f"{name} is not a picture of a known format") from error
  except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
    raise RunError(
      f"{name} has more than {Image.MAX_IMAGE_PIXELS:,} pixels; make it smaller"
    ) from error
  except Exception as error:  # Decoders raise errors of many kinds when a file is damaged.
    raise RunError(f"{name} is damaged: {error}") from error
