"""IDX files, as MNIST was published: http://yann.lecun.com/exdb/mnist.

A folder holds train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and
t10k-labels-idx1-ubyte. Each may end in .gz, and '.idx' may stand for '-idx'.
"""

import gzip
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mnist_mlp.data.formats import SPLITS, Files, Format, Row, check_labels, visible
from mnist_mlp.errors import RunError, UsageError

_NAME = re.compile(r"(train|t10k)-(images[-.]idx3|labels[-.]idx1)-ubyte(\.gz)?")
_PREFIXES = {"train": "train", "test": "t10k"}
_UNSIGNED_BYTES = 0x800  # the type in a file's first four bytes, to which the rank is added


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


def _read(path: Path, rank: int) -> np.ndarray:
  """Returns a file's uint8 array of `rank` dimensions, none of which is 0."""
  try:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
      content = file.read()
  except (OSError, EOFError, zlib.error) as error:
    raise RunError(f"{path} is damaged or cannot be read: {error}") from error
  magic, header = _UNSIGNED_BYTES + rank, 4 + 4 * rank
  if len(content) < header or int.from_bytes(content[:4], "big") != magic:
    raise RunError(f"{path} is not such an IDX file: it does not begin with the number {magic}")
  shape = tuple(map(int, np.frombuffer(content[4:header], ">u4")))
  expected = header + int(np.prod(shape, dtype=object))  # Python's integers do not overflow.
  if len(content) != expected:
    raise RunError(
      f"{path} is {'truncated' if len(content) < expected else 'too long'}: it holds "
      f"{len(content)} bytes, but {expected} are those of its dimensions {shape}"
    )
  if 0 in shape:
    raise RunError(f"{path} is empty: its dimensions are {shape}")
  return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


FORMAT = Format("IDX files", "IDX files (train-images-idx3-ubyte, ...)", _find, _class_names, _rows)
