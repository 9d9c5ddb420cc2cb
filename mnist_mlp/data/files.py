"""The source that is a folder of the user's own files, in one of the formats in FORMATS.

The content of the folder decides the format. In every format, labels are 0 to n - 1, and train
must have all of them. All pictures have one size, and are all grayscale or all RGB.
"""

import dataclasses
import functools
import hashlib
import math
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from etils import epy

from mnist_mlp.data import folders, formats, idx, memory, parquet
from mnist_mlp.data.formats import SPLITS, Files
from mnist_mlp.data.source import check_number_of_classes
from mnist_mlp.errors import RunError, UsageError
from mnist_mlp.paths import expand

with epy.lazy_imports():  # A run on cached data needs no TFDS.
  import tensorflow_datasets as tfds

FORMATS = (idx.FORMAT, parquet.FORMAT, folders.FORMAT)

_VERSION = "1.0.1"  # Increase it when the same files would give other examples.


@dataclasses.dataclass(frozen=True)
class FilesSource:
  """A folder with files of one format; see `source.Source` for the members.

  `find` makes one without looking into the files. The properties and methods below look into them
  and raise RunError if the files are not right.
  """

  root: Path  # absolute
  format: formats.Format
  files: Files
  key: str  # differs whenever a file differs, see `_key`
  version: str = _VERSION
  manual_dir: str = ""  # TFDS downloads nothing.

  @property
  def name(self) -> str:
    """The name of the folder, marked as that of own files; see `name_of`."""
    return name_of(self.root)

  @property
  def description(self) -> str:
    """In words, what the dataset is made of."""
    return f"the {self.format.name} in {self.root}"

  @functools.cached_property
  def class_names(self) -> tuple[str, ...]:
    """What the labels 0 to n - 1 are called."""
    names = self.format.class_names(self.files)
    check_number_of_classes(self.name, names)
    return names

  @functools.cached_property
  def image_shape(self) -> tuple[int, ...]:
    """(H, W, C) of the first picture of train."""
    return next(self.examples("train", None))[1]["image"].shape

  def examples(
    self, split: str, shape: tuple[int, ...] | None
  ) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields pairs of an index and an example, in the order of the files.

    Args:
      split: 'train' or 'test'.
      shape: (H, W, C), which every picture must have, or None if any shape will do.

    Yields:
      (0, {'image': uint8 [H, W, C], 'label': int}), (1, ...), ...

    Raises:
      RunError: a picture cannot be decoded or has another shape.
    """
    for index, row in enumerate(self.format.rows(self.files[split], self.class_names)):
      image = row.picture
      if not isinstance(image, np.ndarray):
        image = formats.decode_picture(image, row.where)
      if shape not in (None, image.shape):
        raise RunError(
          f"{row.where} is {_size(image.shape)}, but the first one of train is {_size(shape)}, "
          "height x width x channels; all pictures must be alike"
        )
      yield index, {"image": image, "label": row.label}

  def builder(self, folder: Path) -> "tfds.core.DatasetBuilder":
    """Returns a TFDS builder that reads the files when TFDS prepares the dataset."""
    names, shape = list(self.class_names), self.image_shape
    count = sum(self.format.count(self.files[split]) for split in SPLITS)
    memory.check_fits(f"{self.name}, {count:,} images of {_size(shape)},", count * math.prod(shape))
    return tfds.dataset_builders.AdhocBuilder(
      name=self.key,
      version=self.version,
      features=tfds.features.FeaturesDict(
        {"image": tfds.features.Image(shape=shape), "label": tfds.features.ClassLabel(names=names)}
      ),
      split_datasets={split: self.examples(split, shape) for split in SPLITS},
      data_dir=folder,
      description=f"Made of {self.description}.",
    )

  def origin(self, folder: Path, builder: "tfds.core.DatasetBuilder") -> str:
    """Returns the description: the files are at hand, since `find` found them."""
    del folder, builder
    return self.description

  def superseded(self, folder: Path) -> list[Path]:
    """Returns what was prepared, or decoded, from earlier states of the same folder."""
    pattern = self.key.rpartition("_")[0] + "_*"
    found = [*folder.glob(pattern), *(folder / "mnist_mlp").glob(pattern)]
    return [path for path in found if path.name != self.key]


def name_of(folder: str | os.PathLike) -> str:
  """Returns the name of the dataset in a folder of own files: 'mnist (own files)'.

  No dataset of TFDS can have such a name: a folder may well be called like one.
  """
  return f"{Path(os.path.abspath(expand(folder))).name or 'root folder'} (own files)"


def find(folder: str) -> FilesSource:
  """Returns the source that `config.data.files` names; reads no file.

  Raises:
    UsageError: `folder` is no folder, or does not hold train and test of exactly one format.
    RunError: the folder cannot be read.
  """
  root = Path(os.path.abspath(expand(folder)))
  if not os.path.isdir(root):
    raise UsageError(f"config.data.files is {folder!r}, which is not a folder")
  try:
    format_, files = _find_format(root)
    _check_splits(root, format_, files)
    _check_folder_names(root, files)
    return FilesSource(root, format_, files, _key(root, format_, files))
  except OSError as error:
    raise RunError(
      f"config.data.files: {error.filename} cannot be read: {error.strerror}"
    ) from error


def _find_format(root: Path) -> tuple[formats.Format, Files]:
  found = [(some, files) for some in FORMATS if (files := some.find(root))]
  if not found:
    known = ", nor ".join(some.example for some in FORMATS)
    raise UsageError(f"config.data.files: {root} holds neither {known}")
  if len(found) > 1:
    names = " as well as ".join(some.name for some, _ in found)
    raise UsageError(f"config.data.files: {root} holds {names}; move those that are not meant")
  return found[0]


def _check_splits(root: Path, format_: formats.Format, files: Files) -> None:
  for split, other in (SPLITS, SPLITS[::-1]):
    if not files.get(split):
      raise UsageError(
        f"config.data.files: {root} has {format_.name} for {other}, but none for {split}; "
        "a run needs both"
      )


def _check_folder_names(root: Path, files: Files) -> None:
  """Raises a UsageError for a folder whose name is not UTF-8: TFDS writes some names to files."""
  for folder in sorted({root, *(path.parent for paths in files.values() for path in paths)}):
    try:
      str(folder).encode()
    except UnicodeEncodeError as error:
      raise UsageError(
        f"config.data.files: the name of the folder {str(folder)!r} is not in UTF-8; rename it"
      ) from error


def _key(root: Path, format_: formats.Format, files: Files) -> str:
  """Returns own_files_ROOT_STATE.

  ROOT is a digest of the folder's path. STATE is a digest of the paths, sizes and times of all
  files, which any change of a file changes.
  """
  state: list[Any] = [_VERSION, format_.name]
  for split in SPLITS:
    for path in files[split]:
      found = path.stat()
      if not stat.S_ISREG(found.st_mode):  # A pipe, for one, would be waited for without end.
        raise RunError(f"{path} is not a file; move it away")
      state.append((split, str(path), found.st_size, found.st_mtime_ns, found.st_ctime_ns))
  digests = (hashlib.sha256(repr(part).encode()).hexdigest()[:12] for part in (str(root), state))
  return "_".join(("own_files", *digests))


def _size(shape: tuple[int, ...]) -> str:
  return "x".join(map(str, shape))
