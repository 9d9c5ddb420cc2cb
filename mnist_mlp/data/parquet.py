"""Parquet files, as Hugging Face exports datasets of pictures.

A folder holds files *.parquet, with 'train' or 'test' in the file's name or in the name of a sub
folder. Column 'image' holds PNG or JPEG files, as bytes or as a struct with a field 'bytes'.
Column 'label' holds integers.
"""

import contextlib
import importlib.util
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from etils import epy

from mnist_mlp.data import memory
from mnist_mlp.data.formats import SPLITS, Files, Format, Row, check_labels
from mnist_mlp.errors import RunError, UsageError, listing

with epy.lazy_imports():  # PyArrow is optional.
  import pyarrow.parquet

_COLUMNS = ("image", "label")
_SPLIT_NAME = re.compile(r"(?<![a-z])(train|test)(?:ing)?(?![a-z])")
_BATCH = 100  # rows in memory
_MOST_FOLDERS = 50_000  # in which files are looked for
_LABEL_BYTES = 24  # of a label while it is checked: itself, and the sorted ones


def _find(root: Path) -> Files:
  files: Files = {}
  for path in _parquet_files(root):
    # The file's own name counts more than the names of its folders.
    for part in reversed(path.relative_to(root).parts):
      splits = set(_SPLIT_NAME.findall(part.lower()))
      if splits:
        break
    if len(splits) != 1:
      raise UsageError(
        f"config.data.files: whether {path} belongs to train or to test does not "
        "show in its name; rename it or move it away"
      )
    files.setdefault(splits.pop(), []).append(path)
  return files


def _parquet_files(root: Path) -> list[Path]:
  """Returns the files whose name ends in .parquet, in all sub folders that are not hidden, sorted.

  Links to folders are followed, but no folder is looked into twice: links can form circles.

  Raises:
    UsageError: there are too many folders, such as in / or /proc.
  """
  found, seen = [], set()
  for place, folders, names in os.walk(root, followlinks=True):
    stat = os.stat(place)
    if (stat.st_dev, stat.st_ino) in seen:
      folders.clear()
      continue
    seen.add((stat.st_dev, stat.st_ino))
    if len(seen) > _MOST_FOLDERS:
      raise UsageError(
        f"config.data.files: {root} holds more than {_MOST_FOLDERS:,} folders; name the folder of "
        "the data itself"
      )
    folders[:] = [name for name in folders if not name.startswith(".")]
    parquet = [name for name in names if name.endswith(".parquet") and not name.startswith(".")]
    found += [path for name in parquet if (path := Path(place, name)).is_file()]
  return sorted(found, key=lambda path: str(path.relative_to(root)))


def _count(paths: list[Path]) -> int:
  total = 0
  for path in paths:
    with _opened(path) as file:
      total += file.metadata.num_rows
  return total


def _class_names(files: Files) -> tuple[str, ...]:
  labels = {
    split: [(f"{path}: row", _read_labels(path)) for path in files[split]] for split in SPLITS
  }
  for split in SPLITS:
    if not any(len(some) for _, some in labels[split]):
      raise RunError(f"{files[split][0]} has no rows, nor has any other file of {split}")
  return check_labels(labels)


def _rows(paths: list[Path], class_names: tuple[str, ...]) -> Iterator[Row]:
  del class_names  # The files hold numbers.
  for path in paths:
    with _opened(path) as file:
      for index, (image, label) in enumerate(_image_label_pairs(file)):
        content = image.get("bytes") if isinstance(image, dict) else image
        if content is None:
          raise RunError(f"{path}: row {index} has no image: it is null")
        yield Row(f"{path}: the picture of row {index}", content, label)


def _image_label_pairs(file: "pyarrow.parquet.ParquetFile") -> Iterator[tuple[Any, int]]:
  for batch in file.iter_batches(_BATCH, columns=list(_COLUMNS)):
    yield from zip(*(batch[key].to_pylist() for key in _COLUMNS), strict=True)


def _read_labels(path: Path) -> np.ndarray:
  with _opened(path) as file:
    labels = file.read(["label"])["label"]
    if labels.null_count:
      index = int(labels.is_null().to_numpy().argmax())
      raise RunError(f"{path}: row {index} has no label: it is null")
    return labels.to_numpy()


@contextlib.contextmanager
def _opened(path: Path) -> "Iterator[pyarrow.parquet.ParquetFile]":
  """Opens a file, once it is clear that both columns have the right types.

  Raises:
    RunError: PyArrow is missing, or the file cannot be read, now or within the `with` block.
  """
  if importlib.util.find_spec("pyarrow") is None:
    raise RunError(
      "reading Parquet files takes pyarrow, which is not installed: "
      "pip install 'mnist_mlp[parquet]'"
    )
  try:
    with pyarrow.parquet.ParquetFile(path) as file:
      _check_schema(path, file.schema_arrow)
      _check_memory(path, file.metadata)
      yield file
  except (OSError, pyarrow.ArrowException) as error:
    raise RunError(
      f"{path} is not a Parquet file, or is damaged: {str(error).splitlines()[0]}"
    ) from error


def _check_memory(path: Path, metadata: "pyarrow.parquet.FileMetaData") -> None:
  """Raises a RunError if all labels, or one group of rows, would not fit in memory unfolded."""
  memory.check_fits(f"{path}, of {metadata.num_rows:,} rows,", metadata.num_rows * _LABEL_BYTES)
  for index in range(metadata.num_row_groups):
    group = metadata.row_group(index)
    memory.check_fits(f"{path}: row group {index}", group.total_byte_size)


def _check_schema(path: Path, schema: "pyarrow.Schema") -> None:
  types = pyarrow.types
  missing = set(_COLUMNS) - set(schema.names)
  if missing:
    raise RunError(
      f"{path} has no column {listing(map(repr, sorted(missing)))}, only "
      f"{listing(map(repr, schema.names))}"
    )
  image, label = (schema.field(key).type for key in _COLUMNS)
  if not types.is_integer(label):
    raise RunError(f"{path}: column 'label' is of type {label}, but must be of integers")
  content = image
  if types.is_struct(image) and image.get_field_index("bytes") >= 0:
    content = image.field("bytes").type
  if not any(is_kind(content) for is_kind in (types.is_binary, types.is_large_binary)):
    raise RunError(
      f"{path}: column 'image' is of type {image}, but must be binary, or a struct "
      "with a binary field 'bytes'"
    )


FORMAT = Format("Parquet files", "Parquet files (*.parquet)", _find, _count, _class_names, _rows)
