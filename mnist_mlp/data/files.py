"""The source that is a folder of the user's own files, in one of the formats in FORMATS.

The content of the folder decides the format. The labels of train are the classes. All pictures are
brought to one size, and are all grayscale or all RGB.
"""

import dataclasses
import functools
import hashlib
import math
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from etils import epy
from ml_collections import ConfigDict

from mnist_mlp.data import folders, formats, idx, memory, parquet
from mnist_mlp.data.formats import SPLITS, Files, Label, Row
from mnist_mlp.data.source import check_number_of_classes
from mnist_mlp.errors import RunError, UsageError, listing, printable
from mnist_mlp.paths import expand

with epy.lazy_imports():  # A run on cached data needs none of these.
  import tensorflow_datasets as tfds

  from mnist_mlp.data import pictures, survey

FORMATS = (idx.FORMAT, parquet.FORMAT, folders.FORMAT)

_VERSION = "1.2.0"  # Increase it when the same files would be prepared otherwise.
_MARK = " (own files)"  # at the end of the name of a dataset
_SHOWN = 5  # names in a message
_MOST_COMPLAINTS = 20  # lines in a message


@dataclasses.dataclass(frozen=True)
class FilesSource:
  """A folder with files of one format; see `source.Source` for the members.

  `find` makes one without looking into the files. The properties and methods below look into them
  and raise RunError if the files are not right.
  """

  root: Path  # absolute
  format: formats.Format
  files: Files
  key: str  # differs whenever a file or an option differs, see `_key`
  image_size: tuple[int, ...] = ()  # (height, width); () is found out
  num_channels: int = 0  # 1 or 3; 0 is found out
  columns: str = ""
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

  @property
  def splits(self) -> tuple[str, ...]:
    """Train and test, and between them validation if the files have one."""
    return tuple(split for split in SPLITS if split == "test" or split in self.files)

  @functools.cached_property
  def remarks(self) -> tuple[str, ...]:
    """What a user has to know of how the examples were made of the files, a line each."""
    # A test split that is made of train holds no copies of the rest, see `survey.for_test`.
    given = (split for split in SPLITS if split in self.files)
    copies = survey.about_copies((split, row) for split in given for row in self._rows(split))
    return (*self._about_splits(), *copies, *self._about_shapes())

  @functools.cached_property
  def classes(self) -> dict[Label, str]:
    """The labels, in the order of the classes 0 to n - 1, and what each is called."""
    labels = {
      split: self.format.labels(self.files[split], self.columns)
      for split in SPLITS
      if split in self.files
    }
    classes = self.format.class_names(self.files["train"], self.columns)
    if not classes:
      found = {label for some in labels["train"] for label in np.unique(some.values).tolist()}
      classes = {label: str(label) for label in _sorted(found)}
    check_number_of_classes(self.name, tuple(classes.values()))
    for split in labels:
      _check_labels(labels[split], classes)
    return classes

  @functools.cached_property
  def image_shape(self) -> tuple[int, int, int]:
    """(H, W, C) of all pictures."""
    height, width = self.image_size or self._survey.size()
    return height, width, self.num_channels or self._survey.channels()

  @functools.cached_property
  def _survey(self) -> "survey.Survey":
    rows = (row for split in self.files for row in self._rows(split))
    try:
      return survey.Survey.of(map(survey.look, rows))
    except RunError as error:
      raise self._unusable(error) from error

  def _unusable(self, found: RunError) -> RunError:
    """Returns an error that names all pictures that cannot be used, once one of them is found."""
    complaints = []
    for split in self.files:
      try:
        for row in self._rows(split):
          complaints += formats.complaint(row)
      except RunError as error:  # The file that holds the pictures cannot be read further.
        complaints.append(str(error))
    complaints = complaints or [str(found)]  # The file may have been mended meanwhile.
    complaints = [*map(printable, complaints)]
    first, more = complaints[:_MOST_COMPLAINTS], complaints[_MOST_COMPLAINTS:]
    return RunError("\n".join([*first, *([f"and {len(more):,} more"] if more else [])]))

  @functools.cached_property
  def _for_test(self) -> "set[survey.Digest]":
    """The pictures of train that are for the test, because there is no test split."""
    chosen = survey.for_test(self._rows("train"))
    if not chosen:
      raise RunError(f"{self.root} has no two pictures of any class, of which one is for the test")
    return chosen

  def examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields pairs of an index and an example, in the order of the files.

    Args:
      split: one of `splits`.

    Yields:
      (0, {'image': uint8 [H, W, C], 'label': int, 'file': bytes}), (1, ...), ...; see `files_of`.

    Raises:
      RunError: a picture cannot be decoded.
    """
    numbers = {label: number for number, label in enumerate(self.classes)}
    for index, row in enumerate(self._of_split(split)):
      image = row.picture  # Already of the right shape, it takes no detour.
      if not (isinstance(image, np.ndarray) and image.shape == self.image_shape):
        try:
          image = pictures.shaped(formats.picture_of(row), *self.image_shape)
        except RunError as error:
          raise self._unusable(error) from error
      file = os.fsencode(row.where.removeprefix(f"{self.root}{os.sep}"))
      yield index, {"image": image, "label": numbers[row.label], "file": file}

  def _of_split(self, split: str) -> Iterator[Row]:
    if "test" in self.files or split == "validation":
      return self._rows(split)
    return (
      row
      for row in self._rows("train")
      if (survey.digest(row) in self._for_test) == (split == "test")
    )

  def _rows(self, split: str) -> Iterator[Row]:
    return self.format.rows(self.files[split], self.columns)

  def _about_splits(self) -> Iterator[str]:
    others = self.format.passed_over(self.root, self.files)
    if others:
      more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
      yield f"passed over: {listing(others[:_SHOWN])}{more}"
    if "test" not in self.files:
      total = self.format.total(self.files["train"], self.columns)
      count = sum(1 for _ in self._of_split("test"))
      yield (
        f"the files have no test split, so {count:,} of {total:,} pictures are it; their content "
        "decides which, so they are the same ones every time"
      )

  def _about_shapes(self) -> Iterator[str]:
    height, width, channels = self.image_shape
    shape = f"{height}x{width} pixels, {'grayscale' if channels == 1 else 'RGB'}"
    if self.image_size and self.num_channels:
      yield f"all pictures become {shape}"
      return
    found = self._survey
    total = found.sizes.total()
    if set(found.sizes) != {(height, width)} or found.gray != (total if channels == 1 else 0):
      yield (
        f"{total:,} pictures of {len(found.sizes):,} sizes, {found.gray:,} of them grayscale, all "
        f"become {shape}; config.data.image_size and config.data.channels choose others"
      )

  def builder(self, folder: Path) -> "tfds.core.DatasetBuilder":
    """Returns a TFDS builder that reads the files when TFDS prepares the dataset."""
    names, shape = list(self.classes.values()), self.image_shape
    count = sum(self.format.total(paths, self.columns) for paths in self.files.values())
    memory.check_fits_disk(
      f"{self.name}, {count:,} images of {'x'.join(map(str, shape))},",
      count * math.prod(shape),
      folder,
      "; choose a smaller --config.data.image_size, such as 64,64",
    )
    return tfds.dataset_builders.AdhocBuilder(
      name=self.key,
      version=self.version,
      features=tfds.features.FeaturesDict(
        {
          "image": tfds.features.Image(shape=shape),
          "label": tfds.features.ClassLabel(names=names),
          "file": tfds.features.Text(),
        }
      ),
      split_datasets={split: self.examples(split) for split in self.splits},
      data_dir=folder,
      description=f"Made of {self.description}.",
    )

  def origin(self, folder: Path, builder: "tfds.core.DatasetBuilder") -> str:
    """Returns the description: the files are at hand, since `find` found them."""
    del folder, builder
    return self.description

  def files_of(self, folder: Path, places: Sequence[tuple[str, int]]) -> list[str]:
    """Returns for some examples the file that each lies in, and the place in it if it has several.

    Args:
      folder: the data folder, in which the examples are prepared.
      places: the split of each example, one of `splits`, and its index in it, as prepared.
    """
    prepared = tfds.builder_from_directory(folder / self.key / self.version)
    splits = {split: prepared.as_data_source(split) for split, _ in places}
    return [os.fsdecode(splits[split][index]["file"]) for split, index in places]

  def superseded(self, folder: Path) -> list[Path]:
    """Returns what was prepared, or decoded, from earlier states of the same folder."""
    pattern = self.key.rpartition("_")[0] + "_*"
    found = [*folder.glob(pattern), *(folder / "mnist_mlp").glob(pattern)]
    return [path for path in found if path.name != self.key]


def name_of(folder: str | os.PathLike) -> str:
  """Returns the name of the dataset in a folder of own files: 'mnist (own files)'.

  No dataset of TFDS can have such a name: a folder may well be called like one.
  """
  return f"{Path(os.path.abspath(expand(folder))).name or 'root folder'}{_MARK}"


def is_name(name: str) -> bool:
  """Returns whether a dataset of that name is a folder of own files."""
  return name.endswith(_MARK)


def find(options: ConfigDict) -> FilesSource:
  """Returns the source that `config.data.files` names; reads no file.

  Args:
    options: the config's section `data`: `files`, `image_size`, `channels` and `columns`.

  Raises:
    UsageError: `files` is no folder, or does not hold files of exactly one format, train among
      them.
    RunError: the folder cannot be read.
  """
  root = Path(os.path.abspath(expand(options.files)))
  if not os.path.isdir(root):
    raise UsageError(f"config.data.files is {options.files!r}, which is not a folder")
  choices = (tuple(options.image_size), options.channels, options.columns)
  try:
    format_, files = _find_format(root)
    _check_train(root, format_, files)
    _check_folder_names(root, files)
    return FilesSource(root, format_, files, _key(root, format_, files, choices), *choices)
  except OSError as error:
    raise RunError(
      f"config.data.files: {error.filename} cannot be read: {error.strerror}; mend it or move it "
      "away"
    ) from error


def _find_format(root: Path) -> tuple[formats.Format, Files]:
  found = [(some, files) for some in FORMATS if (files := some.find(root))]
  if not found:
    known = ", nor ".join(some.example for some in FORMATS)
    raise UsageError(f"config.data.files: {root} holds neither {known}; {folders.way_out(root)}")
  if len(found) > 1:
    names = " as well as ".join(some.name for some, _ in found)
    raise UsageError(f"config.data.files: {root} holds {names}; move those that are not meant")
  return found[0]


def _check_train(root: Path, format_: formats.Format, files: Files) -> None:
  if not files.get("train"):
    raise UsageError(
      f"config.data.files: {root} has {format_.name} for {listing(files)}, but none for train; "
      "call what is to be trained on 'train'"
    )


def _check_labels(labels: list[formats.Labels], classes: dict[Label, str]) -> None:
  """Raises a RunError that names the first example whose label is no class."""
  for where, values in labels:
    listed = values.tolist()
    index = next((index for index, label in enumerate(listed) if label not in classes), None)
    if index is not None:
      shown = listing(map(str, [*classes][:_SHOWN])) + (", ..." if len(classes) > _SHOWN else "")
      raise RunError(
        f"{where} {index} has the label {listed[index]!r}, which is none of the "
        f"{len(classes)} classes of train ({shown}); mend it or take it out of the data"
      )


def _sorted(labels: set[Label]) -> list[Label]:
  """Returns labels by number, if all are numbers or strings of decimal digits, else by name."""
  if all(isinstance(label, int) or label.isdecimal() for label in labels):
    return sorted(labels, key=lambda label: (int(label), str(label)))
  return sorted(labels, key=str)


def _check_folder_names(root: Path, files: Files) -> None:
  """Raises a UsageError for a folder whose name is not UTF-8: TFDS writes some names to files."""
  for folder in sorted({root, *(path.parent for paths in files.values() for path in paths)}):
    try:
      str(folder).encode()
    except UnicodeEncodeError as error:
      raise UsageError(
        f"config.data.files: the name of the folder {str(folder)!r} is not in UTF-8; rename it"
      ) from error


def _key(root: Path, format_: formats.Format, files: Files, choices: tuple[Any, ...]) -> str:
  """Returns own_files_ROOT_STATE.

  ROOT is a digest of the folder's path and of the config's choices. STATE is a digest of the paths,
  sizes and times of all files, which any change of a file changes.
  """
  state: list[Any] = [_VERSION, format_.name]
  for split in files:
    for path in files[split]:
      found = path.stat()
      if not stat.S_ISREG(found.st_mode):  # A pipe, for one, would be waited for without end.
        raise RunError(f"{path} is not a file; move it away")
      state.append((split, str(path), found.st_size, found.st_mtime_ns, found.st_ctime_ns))
  place = (str(root), *choices) if any(choices) else str(root)
  digests = (hashlib.sha256(repr(part).encode()) for part in (place, state))
  return "_".join(("own_files", *(one.hexdigest()[:12] for one in digests)))
