"""IDX files, as MNIST was published: http://yann.lecun.com/exdb/mnist.

A folder holds train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and
t10k-labels-idx1-ubyte. Each may end in .gz, and '.idx' may stand for '-idx'.
"""

import contextlib
import gzip
import io
import math
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mnist_mlp.data import memory
from mnist_mlp.data.formats import SPLITS, Files, Format, Row, check_labels, visible
from mnist_mlp.errors import RunError, UsageError

_NAME = re.compile(r"(train|t10k)-(images[-.]idx3|labels[-.]idx1)-ubyte(\.gz)?")
_PREFIXES = {"train": "train", "test": "t10k"}
_UNSIGNED_BYTES = 0x800  # the type in a file's first four bytes, to which the rank is added
_MOST_UNFOLDED = 1100  # bytes that gzip can make of one


def _find(root: Path) -> Files:
  """Returns [images, labels] for each split."""
  found: dict[tuple[str, str], Path] = {}
  for path in visible(root):  # X comes before X.gz, and is preferred.
    match = _NAME.fullmatch(path.name)
    if match and path.is_file():  # Some archives unpack to a folder of the file's name.
      found.setdefault((match[1], match[2][:6]), path)
  files = {}
  for split, prefix in _PREFIXES.items():
    images, labels = found.get((prefix, "images")), found.get((prefix, "labels"))
    if images and labels:
      files[split] = [images, labels]
    elif images or labels:
      missing = f"{prefix}-images-idx3-ubyte" if labels else f"{prefix}-labels-idx1-ubyte"
      raise UsageError(f"config.data.files: {root} lacks {missing}")
  return files


def _class_names(files: Files) -> tuple[str, ...]:
  labels = {}
  for split in SPLITS:
    images_path, labels_path = files[split]
    images, numbers = _read(images_path, 3), _read(labels_path, 1)
    if len(images) != len(numbers):
      raise RunError(
        f"{images_path} holds {len(images)} images, but {labels_path} {len(numbers)} labels"
      )
    labels[split] = [(f"{labels_path}: item", numbers)]
  return check_labels(labels)


def _rows(paths: list[Path], class_names: tuple[str, ...]) -> Iterator[Row]:
  del class_names  # The files hold numbers.
  images, labels = paths
  pairs = zip(_read(images, 3), _read(labels, 1), strict=True)
  for index, (image, label) in enumerate(pairs):
    yield Row(f"{images}: image {index}", image[..., np.newaxis], int(label))


def _count(paths: list[Path]) -> int:
  with _opened(paths[0]) as file:
    return _shape(paths[0], file, 3)[0]


def _read(path: Path, rank: int) -> np.ndarray:
  """Returns a file's uint8 array of `rank` dimensions, none of which is 0.

  The file is read up to the byte after the last one that its header announces, and no further: a
  compressed file can unfold to a thousand times its size.
  """
  with _opened(path) as file:
    shape = _shape(path, file, rank)
    size = math.prod(shape)
    _check_can_hold(path, shape)
    memory.check_fits(f"{path}, of dimensions {shape},", size)
    content = file.read(size + 1)
  if len(content) != size:
    found = "too long: it holds more than" if len(content) > size else "truncated: it does not hold"
    raise RunError(f"{path} is {found} the {size} bytes of its dimensions {shape}")
  return np.frombuffer(content, np.uint8).reshape(shape)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[io.BufferedIOBase]:
  """Opens a file, unfolded if it is compressed; an error of reading it becomes a RunError."""
  try:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
      yield file
  except (OSError, EOFError, zlib.error) as error:
    raise RunError(f"{path} is damaged or cannot be read: {error}") from error


def _shape(path: Path, file: io.BufferedIOBase, rank: int) -> tuple[int, ...]:
  """Reads the header, which gives the dimensions."""
  magic, header = _UNSIGNED_BYTES + rank, file.read(4 + 4 * rank)
  if len(header) < 4 + 4 * rank or int.from_bytes(header[:4], "big") != magic:
    raise RunError(f"{path} is not such an IDX file: it does not begin with the number {magic}")
  shape = tuple(map(int, np.frombuffer(header[4:], ">u4")))
  if 0 in shape:
    raise RunError(f"{path} is empty: its dimensions are {shape}")
  return shape


def _check_can_hold(path: Path, shape: tuple[int, ...]) -> None:
  """Raises a RunError if a file is too small for its dimensions, however well compressed."""
  size, most = math.prod(shape), path.stat().st_size
  if path.suffix == ".gz":
    most *= _MOST_UNFOLDED
  if size > most:
    raise RunError(
      f"{path} is truncated: it does not hold the {size} bytes of its dimensions {shape}"
    )


FORMAT = Format(
  "IDX files", "IDX files (train-images-idx3-ubyte, ...)", _find, _count, _class_names, _rows
)
