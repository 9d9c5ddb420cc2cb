"""IDX files, as MNIST was published: http://yann.lecun.com/exdb/mnist.

A folder holds train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and
t10k-labels-idx1-ubyte. Each may end in .gz, and '.idx' may stand for '-idx'. A prefix may come
first, and 'test' may stand for 't10k', as in emnist-letters-test-images-idx3-ubyte.gz.

EMNIST's files hold every image with rows and columns exchanged, which is undone here. A file
emnist-letters-mapping.txt beside them has a line for each label: the label and the codes of its
characters. Cohen et al., "EMNIST: an extension of MNIST to handwritten letters", 2017.
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
from mnist_mlp.data.formats import Files, Format, Label, Labels, Row, visible
from mnist_mlp.errors import RunError, UsageError, listing

_NAME = re.compile(r"(.+-)?(train|t10k|test)-(images[-.]idx3|labels[-.]idx1)-ubyte(\.gz)?")
_TRANSPOSED = "emnist-"  # the beginning of the names of files whose images are transposed
_UNSIGNED_BYTES = 0x800  # the type in a file's first four bytes, to which the rank is added
_MOST_UNFOLDED = 1100  # bytes that gzip can make of one


def _find(root: Path) -> Files:
  """Returns [images, labels] for train and test; for EMNIST's train, the mapping besides."""
  found: dict[tuple[str, str], Path] = {}
  prefixes = set()
  for path in visible(root):  # X comes before X.gz, and is preferred.
    match = _NAME.fullmatch(path.name)
    if match and path.is_file():  # Some archives unpack to a folder of the file's name.
      prefixes.add(match[1] or "")
      found.setdefault(("train" if match[2] == "train" else "test", match[3][:6]), path)
  if len(prefixes) > 1:
    raise UsageError(
      f"config.data.files: {root} holds IDX files of several data sets, "
      f"{listing(repr(prefix) for prefix in sorted(prefixes))}; move one set to a folder of its own"
    )
  return _complete(root, found, "".join(prefixes)) if found else {}


def _complete(root: Path, found: dict[tuple[str, str], Path], prefix: str) -> Files:
  """Returns the files of both splits, or raises a UsageError that names one that is missing."""
  test = prefix + ("test" if prefix.startswith(_TRANSPOSED) else "t10k")
  files: Files = {}
  for split, begin in (("train", prefix + "train"), ("test", test)):
    for kind, rank in (("images", 3), ("labels", 1)):
      if (split, kind) not in found:
        raise UsageError(
          f"config.data.files: {root} lacks {begin}-{kind}-idx{rank}-ubyte; copy it there"
        )
      files.setdefault(split, []).append(found[split, kind])
  mapping = root / f"{prefix}mapping.txt"
  if prefix.startswith(_TRANSPOSED) and mapping.is_file():
    files["train"].append(mapping)
  return files


def _labels(paths: list[Path], columns: str) -> list[Labels]:
  images_path, labels_path = paths[:2]
  count, numbers = _total(paths, columns), _numbers(labels_path)
  if count != len(numbers):
    raise RunError(f"{images_path} holds {count} images, but {labels_path} {len(numbers)} labels")
  return [Labels(f"{labels_path}: item", numbers)]


def _class_names(paths: list[Path], columns: str) -> dict[Label, str]:
  """Returns the first character of each label in EMNIST's mapping, if that is there."""
  del columns
  if len(paths) < 3:
    return {}
  path = paths[2]
  try:
    rows = [list(map(int, line.split())) for line in path.read_text("utf-8").splitlines()]
    return {label: chr(code) for label, code, *_ in rows}
  except (OSError, ValueError, OverflowError) as error:
    raise RunError(f"{path} is not EMNIST's, or damaged: {error}; move it away") from error


def _rows(paths: list[Path], columns: str) -> Iterator[Row]:
  del columns
  path, labels = paths[:2]
  images = _images(path)
  if path.name.startswith(_TRANSPOSED):
    images = (image.swapaxes(0, 1) for image in images)
  for index, (image, label) in enumerate(zip(images, _numbers(labels), strict=True)):
    yield Row(f"{path}: image {index}", image[..., np.newaxis], int(label))


def _total(paths: list[Path], columns: str) -> int:
  del columns
  with _opened(paths[0]) as file:
    return _shape(paths[0], file, 3)[0]


def _numbers(path: Path) -> np.ndarray:
  """Returns the labels in a file, uint8 [N]."""
  with _opened(path) as file:
    shape = _shape(path, file, 1)
    memory.check_fits(f"{path}, of dimensions {shape},", shape[0])
    numbers = _next(path, file, shape, shape[0])
    _check_end(path, file, shape)
  return numbers


def _images(path: Path) -> Iterator[np.ndarray]:
  """Yields the images in a file, uint8 [H, W]. One is in memory at a time."""
  with _opened(path) as file:
    shape = _shape(path, file, 3)
    size = math.prod(shape[1:])
    memory.check_fits(f"{path}: an image of dimensions {shape[1:]}", size)
    for _ in range(shape[0]):
      yield _next(path, file, shape, size).reshape(shape[1:])
    _check_end(path, file, shape)


def _next(path: Path, file: io.BufferedIOBase, shape: tuple[int, ...], size: int) -> np.ndarray:
  """Returns the next bytes of a file whose header gives these dimensions."""
  content = file.read(size)
  if len(content) < size:
    raise _truncated(path, shape)
  return np.frombuffer(content, np.uint8)


def _check_end(path: Path, file: io.BufferedIOBase, shape: tuple[int, ...]) -> None:
  """Reads one byte more, not all: a compressed file can unfold to a thousand times its size."""
  if file.read(1):
    raise RunError(
      f"{path} is too long: it holds more than the {math.prod(shape)} bytes of its dimensions "
      f"{shape}"
    )


def _truncated(path: Path, shape: tuple[int, ...]) -> RunError:
  return RunError(
    f"{path} is truncated: it does not hold the {math.prod(shape)} bytes of its dimensions {shape}"
  )


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[io.BufferedIOBase]:
  """Opens a file, unfolded if it is compressed; an error of reading it becomes a RunError."""
  try:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
      yield file
  except (OSError, EOFError, zlib.error) as error:
    raise RunError(f"{path} is damaged or cannot be read: {error}") from error


def _shape(path: Path, file: io.BufferedIOBase, rank: int) -> tuple[int, ...]:
  """Reads the header, which gives the dimensions, and checks whether a file can hold so much."""
  magic, header = _UNSIGNED_BYTES + rank, file.read(4 + 4 * rank)
  if len(header) < 4 + 4 * rank or int.from_bytes(header[:4], "big") != magic:
    raise RunError(f"{path} is not such an IDX file: it does not begin with the number {magic}")
  shape = tuple(map(int, np.frombuffer(header[4:], ">u4")))
  if 0 in shape:
    raise RunError(f"{path} is empty: its dimensions are {shape}")
  most = path.stat().st_size * (_MOST_UNFOLDED if path.suffix == ".gz" else 1)
  if math.prod(shape) > most:
    raise _truncated(path, shape)
  return shape


FORMAT = Format(
  "IDX files",
  "IDX files (train-images-idx3-ubyte, ...)",
  _find,
  _total,
  _labels,
  _class_names,
  _rows,
)
