"""What a format of the user's own files must offer, and what the formats share."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from etils import epy

from mnist_mlp.errors import RunError

with epy.lazy_imports():  # Only reading pictures needs Pillow.
  from mnist_mlp.data import pictures

SPLITS = ("train", "test")
_MODES = {"1": "L", "L": "L", "P": "RGB", "RGB": "RGB"}  # Pillow's mode of a file: ours

Files = dict[str, list[Path]]  # the files of each split, in the order of the examples


class Row(NamedTuple):
  """One example as a file holds it."""

  where: str  # the file and the place in it, for messages
  picture: np.ndarray | bytes  # uint8 [H, W, C], or the content of a PNG or JPEG file
  label: int


class Format(NamedTuple):
  """A format of files.

  To add one: write a module like `idx` that ends with a `Format`, and list the module in
  `files.FORMATS`. No function changes anything on disk.
  """

  name: str  # in messages: 'IDX files'. A new name makes TFDS prepare all such files anew.
  example: str  # in messages: what a folder of this format holds

  # find(root) returns the files of each split that has any, without reading them, and {} if the
  # folder holds no file of this format. Raises UsageError if the files cannot be what is meant.
  find: Callable[[Path], Files]

  # count(files of one split) returns the number of examples, as cheaply as headers tell it.
  count: Callable[[list[Path]], int]

  # class_names(files) returns what the labels 0 to n - 1 are called. Raises RunError if the
  # labels, or the files that hold them, are not right.
  class_names: Callable[[Files], tuple[str, ...]]

  # rows(files of one split, class_names) yields the examples in order. Raises RunError for a file
  # that cannot be read, and for one whose content would not fit in memory, before it is unfolded.
  rows: Callable[[list[Path], tuple[str, ...]], Iterator[Row]]


def visible(folder: Path) -> list[Path]:
  """Returns what a folder holds, sorted by name, without hidden files."""
  paths = (path for path in folder.iterdir() if not path.name.startswith("."))
  return sorted(paths, key=lambda path: path.name)  # Paths themselves compare slowly.


def check_labels(labels: dict[str, list[tuple[str, np.ndarray]]]) -> tuple[str, ...]:
  """Returns the class names '0', '1', ... of labels that are numbers.

  Args:
    labels: for each split, pairs of a place, for messages, and the labels there: int [N].

  Raises:
    RunError: the labels of train are not 0 to n - 1, or test has a label that train lacks. The
      message names the first such label.
  """
  count = len(np.unique(np.concatenate([some for _, some in labels["train"]])))
  for split, rule in (
    ("train", f"but the {count} different labels of train must be 0 to {count - 1}"),
    ("test", f"which train has not; its labels are 0 to {count - 1}"),
  ):
    for where, some in labels[split]:
      wrong = (some < 0) | (some >= count)
      if wrong.any():
        index = int(wrong.argmax())
        raise RunError(f"{where} {index} has label {some[index]}, {rule}")
  return tuple(map(str, range(count)))


def decode_picture(content: bytes, where: str) -> np.ndarray:
  """Returns the content of a PNG or JPEG file, upright, as uint8 [H, W, 1] or [H, W, 3].

  Raises:
    RunError: the content is damaged or too large, or is neither 8-bit grayscale nor 8-bit RGB.
  """
  picture = pictures.load_picture(io.BytesIO(content), where, ("PNG", "JPEG"))
  if picture.mode not in _MODES or "transparency" in picture.info:
    raise RunError(
      f"{where} is neither grayscale nor RGB, of 8 bits and without transparency: "
      f"its mode is {picture.mode}"
    )
  pixels = np.asarray(picture.convert(_MODES[picture.mode]))
  return pixels.reshape(*pixels.shape[:2], -1)
