"""Files, folders and standard input -> pictures as they are, and as a net sees them."""

import io
import os
import select
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

from PIL import Image

from mnist_mlp.data import pictures
from mnist_mlp.errors import RunError, listing
from mnist_mlp.inference.brightness import to_rgb
from mnist_mlp.inference.pictures import Prepared
from mnist_mlp.inference.ways import Prepare

_PATIENCE = 2.0  # seconds without anything on standard input, before a line says what is waited for
_MOST_NAMED = 5  # what a folder holds besides pictures

T = TypeVar("T")
Report = Callable[[str], None]
Source = Path | BinaryIO | RunError  # an error stands for what cannot be had


class Picture(NamedTuple):
  """A picture that could be read."""

  name: str
  image: Image.Image  # RGB or RGBA, about 512x512 pixels at most
  prepared: Prepared


class Failure(NamedTuple):
  """A picture that could not be read, or a folder without pictures."""

  name: str
  reason: str  # one sentence


def picture_of(name: str, image: Image.Image, *, prepare: Prepare) -> Picture:
  """Returns a picture of any mode and size, and what a net sees of it; see `ways.preparer`."""
  return Picture(name, to_rgb(image), prepare(image, name))


def read_all(
  arguments: Sequence[str], report: Report, make: Callable[[str, Image.Image], T]
) -> tuple[list[T], list[Failure]]:
  """Returns all pictures that can be read, and what cannot.

  Args:
    arguments: files; folders, whose files with a picture's suffix are read in the order of their
      names; and '-', which stands for standard input.
    report: called at once with a line about each failure, about what a folder holds besides
      pictures, and about waiting.
    make: makes what is returned of the name and the picture, `picture_of` for example.
  """
  read, failures = [], []
  for name, source in _sources(arguments, report):
    try:
      if isinstance(source, RunError):
        raise source
      read.append(make(name, pictures.load_picture(source, name)))
    except RunError as error:
      failures.append(Failure(name, str(error)))
      report(f"error: {error}")
  return read, failures


def _sources(arguments: Sequence[str], report: Report) -> Iterator[tuple[str, Source]]:
  """Yields the name and the source of each picture. For what has none, it yields an error."""
  for argument in arguments:
    if argument == "-":
      yield "standard input", _standard_input(report)
    elif os.path.isdir(argument):
      yield from _in_folder(Path(argument), report)
    else:
      yield argument, Path(argument)


def _standard_input(report: Report) -> BinaryIO | RunError:
  if sys.stdin is None:
    return RunError("standard input is closed")
  if not select.select([sys.stdin], [], [], _PATIENCE)[0]:
    report("waiting for a picture on standard input")
  try:
    return io.BytesIO(pictures.read_stream(sys.stdin.buffer, "standard input"))
  except RunError as error:
    return error


def _in_folder(folder: Path, report: Report) -> Iterator[tuple[str, Path | RunError]]:
  try:
    # A Mac leaves '._seven.png' beside 'seven.png'.
    paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
  except OSError as error:
    yield str(folder), RunError(f"the folder {folder} cannot be read: {error.strerror}")
    return
  found = [path for path in paths if _is_picture(path)]
  others = [_described(path) for path in paths if not _is_picture(path)]
  if others:
    more = f" and {len(others) - _MOST_NAMED} more" if len(others) > _MOST_NAMED else ""
    report(f"note: passed over in {folder}: {listing(others[:_MOST_NAMED])}{more}")
  if not found:
    inside = "; name the folders in it" if any(path.is_dir() for path in paths) else ""
    yield str(folder), RunError(f"the folder {folder} holds no pictures{inside}")
  yield from ((str(path), path) for path in found)


def _is_picture(path: Path) -> bool:
  return path.suffix.lower() in pictures.suffixes() and os.path.isfile(path)


def _described(path: Path) -> str:
  if os.path.isdir(path):
    return f"{path.name}{os.sep}"
  lacks = pictures.lacks(path)
  return f"{path.name} ({lacks})" if lacks else path.name
