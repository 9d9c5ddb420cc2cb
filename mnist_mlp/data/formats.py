"""What a format of the user's own files must offer, and what the formats share."""

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from etils import epy

from mnist_mlp.errors import RunError

with epy.lazy_imports():  # Only reading pictures needs Pillow.
  from PIL import Image

  from mnist_mlp.data import pictures

SPLITS = ("train", "validation", "test")

_WORDS = {
  "train": "train", "training": "train",
  "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
  "test": "test", "testing": "test",
}  # fmt: skip
_WORD = re.compile(rf"(?<![a-z])({'|'.join(_WORDS)})(?![a-z])")
# What systems leave in folders beside the user's own files, in lower case.
_CLUTTER = {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "$recycle.bin", "@eadir"}

Files = dict[str, list[Path]]  # the files of each split that has any, in the order of the examples
Label = int | str  # as a file says it


class Row(NamedTuple):
  """One example as a file holds it."""

  where: str  # the file and the place in it, for messages
  picture: np.ndarray | bytes  # uint8 [H, W, C], or the content of a file of a picture
  label: Label


class Labels(NamedTuple):
  """The labels of some examples of a split."""

  where: str  # the place, for messages: the index of an example follows
  values: np.ndarray  # [N], of integers or of strings


class Format(NamedTuple):
  """A format of files.

  To add one: write a module like `idx` that ends with a `Format`, and list the module in
  `files.FORMATS`. No function changes anything on disk. `columns` is `config.data.columns`, which
  formats without columns pass over.
  """

  name: str  # in messages: 'IDX files'. A new name makes TFDS prepare all such files anew.
  example: str  # in messages: what a folder of this format holds

  # find(root) returns the files of each split that has any, without reading them, and {} if the
  # folder holds no file of this format. Raises UsageError if the files cannot be what is meant.
  find: Callable[[Path], Files]

  # total(files of one split, columns) returns the number of examples, as cheaply as headers tell.
  total: Callable[[list[Path], str], int]

  # labels(files of one split, columns) returns the labels of all examples, in order. Raises
  # RunError if the files that hold them are not right.
  labels: Callable[[list[Path], str], list[Labels]]

  # class_names(files of one split, columns) returns the names of all labels, in the order of the
  # classes, if the files tell them, else {}: then the labels of train are the classes, sorted.
  class_names: Callable[[list[Path], str], dict[Label, str]]

  # rows(files of one split, columns) yields the examples in order. Raises RunError for a file that
  # cannot be read, and for one whose content would not fit in memory, before it is unfolded.
  rows: Callable[[list[Path], str], Iterator[Row]]

  # passed_over(root, files) returns what lies in the folder and might be meant, but is not read.
  passed_over: Callable[[Path, Files], list[str]] = lambda root, files: []


def visible(folder: Path) -> list[Path]:
  """Returns what a folder holds, sorted by name, without hidden files and what systems leave."""
  paths = (path for path in folder.iterdir() if is_meant(path.name))
  return sorted(paths, key=lambda path: path.name)  # Paths themselves compare slowly.


def is_meant(name: str) -> bool:
  """Returns whether a file or folder of that name may be the user's own data."""
  return not name.startswith(".") and name.lower() not in _CLUTTER


def splits_named(name: str) -> set[str]:
  """Returns the splits that the words of a name tell: {'train'} of 'Training-00000-of-00001'."""
  return {_WORDS[word] for word in _WORD.findall(name.lower())}


def picture_of(row: Row) -> "Image.Image":
  """Returns the picture of a row, upright, as `pictures.plain` does.

  Raises:
    RunError: it is damaged or too large, or no picture of 8 or 16 bits.
  """
  if isinstance(row.picture, np.ndarray):
    return Image.fromarray(row.picture.squeeze(-1))
  try:
    loaded = pictures.load_picture(io.BytesIO(row.picture), row.where)
    return pictures.plain(loaded, row.where)
  except RunError as error:
    raise RunError(f"{error}; mend it or take it out of the data") from error


def complaint(row: Row) -> list[str]:
  """Returns [what is wrong with the picture of a row], or [] if it can be used."""
  try:
    picture_of(row)
  except RunError as error:
    return [str(error)]
  return []
