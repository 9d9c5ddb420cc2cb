"""Files, folders and standard input -> pictures as they are, and as a net sees them."""

import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from PIL import Image

from mnist_mlp.data.pictures import load_picture
from mnist_mlp.errors import RunError
from mnist_mlp.inference.brightness import to_rgb
from mnist_mlp.inference.pictures import Prepared, prepare

# The files that are taken from a folder. A file that is named may be of any format of Pillow's.
_SUFFIXES = (
  ".avif", ".bmp", ".gif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm",
  ".tga", ".tif", ".tiff", ".webp",
)  # fmt: skip


class Picture(NamedTuple):
  """A picture that could be read."""

  name: str
  image: Image.Image  # RGB or RGBA, about 512x512 pixels at most
  prepared: Prepared


class Failure(NamedTuple):
  """A picture that could not be read, or a folder without pictures."""

  name: str
  reason: str  # one sentence


def read_all(
  arguments: Sequence[str], report: Callable[[str], None]
) -> tuple[list[Picture], list[Failure]]:
  """Returns all pictures that can be read, and what cannot.

  Args:
    arguments: files; folders, whose files with a picture's suffix are read in the order of their
      names; and '-', which stands for standard input.
    report: called at once with a line about each failure.
  """
  pictures, failures = [], []
  for name, source in _sources(arguments):
    try:
      pictures.append(_read(name, source))
    except RunError as error:
      failures.append(Failure(name, str(error)))
      report(f"error: {error}")
  return pictures, failures


def _sources(arguments: Sequence[str]) -> Iterator[tuple[str, Path | BinaryIO | RunError]]:
  """Yields the name and the source of each picture. For an unusable folder, it yields an error."""
  for argument in arguments:
    if argument == "-":
      yield "standard input", io.BytesIO(sys.stdin.buffer.read())
    elif os.path.isdir(argument):
      yield from _in_folder(Path(argument))
    else:
      yield argument, Path(argument)


def _in_folder(folder: Path) -> Iterator[tuple[str, Path | RunError]]:
  try:
    paths = sorted(path for path in folder.iterdir() if _is_picture(path))
  except OSError as error:
    yield str(folder), RunError(f"the folder {folder} cannot be read: {error.strerror}")
    return
  if not paths:
    yield str(folder), RunError(f"the folder {folder} holds no pictures")
  yield from ((str(path), path) for path in paths)


def _is_picture(path: Path) -> bool:
  hidden = path.name.startswith(".")  # A Mac leaves '._seven.png' beside 'seven.png'.
  return path.suffix.lower() in _SUFFIXES and not hidden and os.path.isfile(path)


def _read(name: str, source: Path | BinaryIO | RunError) -> Picture:
  if isinstance(source, RunError):
    raise source
  image = load_picture(source, name)
  prepared = prepare(image)
  return Picture(name, to_rgb(image), prepared)
