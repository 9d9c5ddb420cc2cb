"""Parquet files, as Hugging Face exports datasets of pictures.

A folder holds files *.parquet, with the split in the file's name or in the name of a sub folder:
train, validation or test. If no name tells a split, all are train. One column holds files of
pictures, as bytes or as a struct with a field 'bytes', another one labels: integers or strings.
Hugging Face's metadata, if they are there, name the classes of integers.
"""

import contextlib
import importlib.util
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from etils import epy

from mnist_mlp.data import memory
from mnist_mlp.data.formats import Files, Format, Label, Labels, Row, is_meant, splits_named
from mnist_mlp.errors import RunError, UsageError, listing

with epy.lazy_imports():  # PyArrow is optional.
  import pyarrow.parquet

_BATCH = 100  # rows in memory, but for the group of rows that PyArrow unfolds them from
_BATCH_BYTES = 2**23  # of large pictures, fewer are in memory
_BUFFER = 2**20  # bytes that are read at a time
_MOST_FOLDERS = 50_000  # in which files are looked for
_LABEL_BYTES = 24  # of a label while it is checked: itself, and the sorted ones


def _find(root: Path) -> Files:
  files: Files = {}
  named = {path: _splits_of(path.relative_to(root)) for path in _parquet_files(root)}
  if not any(named.values()):
    return {"train": list(named)} if named else {}
  for path, splits in named.items():
    if len(splits) != 1:
      raise UsageError(
        f"config.data.files: whether {path} belongs to train, validation or test does not "
        "show in its name; rename it or move it away"
      )
    (split,) = splits
    files.setdefault(split, []).append(path)
  return files


def _splits_of(path: Path) -> set[str]:
  """Returns the splits that a path tells: a file's own name before the names of its folders."""
  found = (splits_named(part) for part in reversed(path.parts))
  return next((splits for splits in found if splits), set())


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
    folders[:] = filter(is_meant, folders)
    parquet = [name for name in names if name.endswith(".parquet") and is_meant(name)]
    found += [path for name in parquet if (path := Path(place, name)).is_file()]
  return sorted(found, key=lambda path: str(path.relative_to(root)))


def _total(paths: list[Path], columns: str) -> int:
  total = 0
  for path in paths:
    with _opened(path, columns) as (file, _):
      total += file.metadata.num_rows
  return total


def _labels(paths: list[Path], columns: str) -> list[Labels]:
  labels = [Labels(f"{path}: row", _read_labels(path, columns)) for path in paths]
  if not any(len(some.values) for some in labels):
    raise RunError(f"{paths[0]} has no rows, nor has any other file of the same split")
  return labels


def _class_names(paths: list[Path], columns: str) -> dict[Label, str]:
  """Returns the names that Hugging Face's metadata give the labels 0 to n - 1, if they do."""
  with _opened(paths[0], columns) as (file, (_, label)):
    return dict(enumerate(_features(file.schema_arrow).get(label, {}).get("names", [])))


def _features(schema: "pyarrow.Schema") -> dict[str, Any]:
  """Returns what Hugging Face's metadata say of the columns, by their names."""
  with contextlib.suppress(ValueError, KeyError, AttributeError):
    features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    return {name: feature for name, feature in features.items() if isinstance(feature, dict)}
  return {}


def _rows(paths: list[Path], columns: str) -> Iterator[Row]:
  for path in paths:
    with _opened(path, columns) as (file, names):
      for index, (image, label) in enumerate(_pairs(file, names)):
        content = image.get("bytes") if isinstance(image, dict) else image
        if content is None:
          raise RunError(f"{path}: row {index} has no picture: it is null; take the row out")
        yield Row(f"{path}: the picture of row {index}", content, label)


def _pairs(
  file: "pyarrow.parquet.ParquetFile", names: tuple[str, str]
) -> Iterator[tuple[Any, Label]]:
  about = file.metadata
  groups = (about.row_group(index).total_byte_size for index in range(about.num_row_groups))
  rows = min(_BATCH, _BATCH_BYTES * about.num_rows // max(1, sum(groups)))
  for batch in file.iter_batches(max(1, rows), columns=list(names)):
    yield from zip(*(batch[name].to_pylist() for name in names), strict=True)


def _read_labels(path: Path, columns: str) -> np.ndarray:
  with _opened(path, columns) as (file, (_, name)):
    labels = file.read([name])[name]
    if labels.null_count:
      index = int(labels.is_null().to_numpy().argmax())
      raise RunError(f"{path}: row {index} has no label: it is null; take the row out")
    if pyarrow.types.is_integer(labels.type):
      return labels.to_numpy()
    return np.array(labels.to_pylist(), np.str_)


@contextlib.contextmanager
def _opened(
  path: Path, columns: str
) -> "Iterator[tuple[pyarrow.parquet.ParquetFile, tuple[str, str]]]":
  """Opens a file; yields it and the names of its columns of pictures and of labels.

  Raises:
    RunError: PyArrow is missing, or the file cannot be read, now or within the `with` block.
  """
  if importlib.util.find_spec("pyarrow") is None:
    raise RunError(
      "reading Parquet files takes pyarrow, which is not installed: "
      "pip install 'mnist_mlp[parquet]'"
    )
  try:
    with pyarrow.parquet.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False) as file:
      names = _columns(path, file.schema_arrow, columns)
      _check_memory(path, file.metadata)
      yield file, names
  except (OSError, pyarrow.ArrowException) as error:
    raise RunError(
      f"{path} is not a Parquet file, or is damaged: {str(error).splitlines()[0]}; replace it or "
      "move it away"
    ) from error


def _check_memory(path: Path, metadata: "pyarrow.parquet.FileMetaData") -> None:
  """Raises a RunError if all labels, or one group of rows, would not fit in memory unfolded."""
  memory.check_fits(f"{path}, of {metadata.num_rows:,} rows,", metadata.num_rows * _LABEL_BYTES)
  for index in range(metadata.num_row_groups):
    group = metadata.row_group(index)
    memory.check_fits(f"{path}: row group {index}", group.total_byte_size)


def _columns(path: Path, schema: "pyarrow.Schema", columns: str) -> tuple[str, str]:
  """Returns the names of the columns of pictures and of labels.

  Args:
    path: the file, for messages.
    schema: its own.
    columns: both names, 'img,fine_label', or '' if names and types must tell.
  """
  wanted = [name.strip() for name in columns.split(",")] if columns else ["", ""]
  image = _column(schema, wanted[0], "image", _holds_pictures)
  label = _column(schema, wanted[1], "label", _holds_labels)
  for name, asked, kind in (
    (image, wanted[0], "pictures, as bytes"),
    (label, wanted[1], "labels, as integers or strings"),
  ):
    if not name:
      wrong = f"column {asked!r} does not hold" if asked else "it does not show which column holds"
      has = listing(f"{field.name!r} ({field.type})" for field in schema)
      raise RunError(
        f"{path}: {wrong} {kind}; there are {has}; name both columns, as in "
        "--config.data.columns=image,label"
      )
  return image, label


def _column(
  schema: "pyarrow.Schema", wanted: str, usual: str, holds: Callable[["pyarrow.DataType"], bool]
) -> str:
  """Returns the name of the column that is meant; '' if none is, or if several may be."""
  fitting = [field.name for field in schema if holds(field.type)]
  if wanted or usual in schema.names:
    return next((name for name in fitting if name == (wanted or usual)), "")
  features = _features(schema)
  classes = [name for name in fitting if features.get(name, {}).get("_type") == "ClassLabel"]
  return next((names[0] for names in (classes, fitting) if len(names) == 1), "")


def _holds_pictures(kind: "pyarrow.DataType") -> bool:
  types = pyarrow.types
  if types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
    kind = kind.field("bytes").type
  return types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind)


def _holds_labels(kind: "pyarrow.DataType") -> bool:
  types = pyarrow.types
  if types.is_dictionary(kind):
    kind = kind.value_type
  strings = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
  return types.is_integer(kind) or strings


FORMAT = Format(
  "Parquet files", "Parquet files (*.parquet)", _find, _total, _labels, _class_names, _rows
)
