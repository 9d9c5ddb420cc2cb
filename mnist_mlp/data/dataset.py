"""What a run gets: the dataset that the config asks for, or its stand-in, in three splits."""

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from mnist_mlp.core.spec import DataSpec, Examples
from mnist_mlp.data import files, held_out, mapped
from mnist_mlp.data.cache import Arrays, Report
from mnist_mlp.data.obtain import obtain
from mnist_mlp.data.source import Source, UnavailableError, check_number_of_classes
from mnist_mlp.data.strokes import are_pen_strokes
from mnist_mlp.data.tfds import TfdsSource
from mnist_mlp.errors import RunError, UsageError, UserError, did_you_mean, listing
from mnist_mlp.paths import expand
from mnist_mlp.waiting import said_if_slow

_SPLITS = ("train", "validation", "test")

# What `pictures.plain` and `pictures.shaped` do, for whoever reads dataset.json.
_SHAPING = "whole picture, bicubic, on the median colour of its edges; transparency on white"


@dataclasses.dataclass(frozen=True)
class Dataset:
  """The three splits of a dataset, and the facts that a result must state about them."""

  name: str  # the name in TFDS, 'mnist' or 'emnist/digits'; or 'my_folder (own files)'
  version: str
  train: Examples
  validation: Examples  # the source's own, or the last examples of its train split; may be empty
  test: Examples
  class_names: tuple[str, ...]
  fingerprint: str  # hex digest of all examples, as the source divides them
  stand_in_for: str  # the dataset that was asked for and could not be had, or ''
  source: str  # one line: where the data came from
  remarks: tuple[str, ...] = ()  # lines: how the examples came about
  shaping: str = ""  # how own pictures were brought to the images' shape
  own_files: Callable[[str, Sequence[int]], list[str]] | None = None  # see `files_of`

  @property
  def num_classes(self) -> int:
    """The number of classes."""
    return len(self.class_names)

  @property
  def image_shape(self) -> tuple[int, int, int]:
    """(H, W, C)."""
    return self.train.images.shape[1:]

  @functools.cached_property
  def pen_strokes(self) -> bool:
    """Whether the images are pen strokes, see `strokes.are_pen_strokes`."""
    return are_pen_strokes(self.train.images)

  def files_of(self, split: str, indices: Sequence[int]) -> list[str]:
    """Returns where examples lie in the user's own folder: 'cat/1.png', or 'a.parquet: row 7'.

    Args:
      split: 'train', 'validation' or 'test'.
      indices: the examples.

    Returns:
      A string for each example; [] for a dataset of TFDS.

    Raises:
      UsageError: there is no such split, or no such example.
    """
    if split not in _SPLITS:
      choices = listing(_SPLITS) + did_you_mean(split, _SPLITS)
      raise UsageError(f"the split is {split!r}, which is not one of {choices}")
    count = getattr(self, split).num_examples
    for index in indices:
      if not 0 <= index < count:
        raise UsageError(f"{split} has {count:,} examples, from 0, and so none at {index}")
    return self.own_files(split, indices) if self.own_files else []

  def spec(self, pixel_statistics: bool = False) -> DataSpec:
    """Returns what a net and its training depend on.

    Args:
      pixel_statistics: whether to compute the mean and the standard deviation of all training
        pixels, which takes 0.3 s for MNIST. Without them, they are 0 and 1.
    """
    spec = DataSpec(self.image_shape, self.num_classes, self.train.num_examples)
    if pixel_statistics:
      mean, std = pixel_mean_and_std(self.train.images)
      spec = dataclasses.replace(spec, pixel_mean=mean, pixel_std=std)
    return spec

  def describe(self) -> dict[str, Any]:
    """Returns what identifies the data, ready for JSON."""
    return {
      "name": self.name,
      "version": self.version,
      "fingerprint": self.fingerprint,
      "stand_in_for": self.stand_in_for,
      "num_classes": self.num_classes,
      "class_names": list(self.class_names),
      "image_shape": list(self.image_shape),
      "pen_strokes": self.pen_strokes,
      "shaping": self.shaping,
      "remarks": list(self.remarks),
      "examples": {split: getattr(self, split).num_examples for split in _SPLITS},
    }


def pixel_mean_and_std(images: np.ndarray) -> tuple[float, float]:
  """Returns the mean and the standard deviation of all pixels of uint8 images, in 0..255.

  Both are exact to float32. The standard deviation is at least 1e-6, so that one can divide by it.
  """
  pieces = mapped.pieces(images)  # Counting takes eight times their memory.
  counts = np.sum([np.bincount(piece.reshape(-1), minlength=256) for piece in pieces], axis=0)
  levels = np.arange(256)
  mean = counts @ levels / counts.sum()
  std = np.sqrt(counts @ (levels - mean) ** 2 / counts.sum())
  return float(np.float32(mean)), float(np.float32(max(std, 1e-6)))


def load(
  options: ConfigDict, *, report: Report = print, only: Mapping[str, Any] | None = None
) -> Dataset:
  """Returns the dataset that the config asks for, or its stand-in.

  Args:
    options: the config's section `data`.
    report: called with lines that say which data is used and what takes time.
    only: what `Dataset.describe` said of the dataset that a resumed run was started on. Another one
      of TFDS is an error. Own files may have moved: their fingerprint says whether they are the
      same. If it is the same, as many examples are held out as then.

  Raises:
    UsageError: `options` name a dataset, files or a validation split that cannot be.
    RunError: the data cannot be had, prepared or read.
  """
  source, arrays = _obtain_or_stand_in(options, report, only["name"] if only else None)
  if only and options.files and _was_rgb(only, arrays):
    options = options.copy_and_resolve_references()
    options.channels = 3
    source, arrays = _obtain_or_stand_in(options, report, only["name"])
  name = source.name
  check_number_of_classes(name, arrays.class_names)
  stand_in_for = options.name if name != options.name and not options.files else ""
  if arrays.validation is None and only and (count := _held_out_before(only, arrays)) is not None:
    train, validation = held_out.cut(arrays.train, count)
  else:
    asked = options.validation_examples
    train, validation = held_out.divide(arrays, asked, name, stand_in_for, report)
  return Dataset(
    name=name,
    version=arrays.version,
    train=train,
    validation=validation,
    test=arrays.test,
    class_names=arrays.class_names,
    fingerprint=arrays.fingerprint,
    stand_in_for=stand_in_for,
    source=arrays.origin,
    remarks=arrays.remarks,
    shaping=_SHAPING if options.files else "",
    own_files=_own_files(source, _data_folder(options.data_dir), arrays, train.num_examples),
  )


def _own_files(
  source: Source, folder: Path, arrays: Arrays, in_train: int
) -> Callable[[str, Sequence[int]], list[str]] | None:
  """Returns what `Dataset.files_of` calls; `in_train` is the number of its train examples."""
  if not isinstance(source, files.FilesSource):
    return None

  def place(split: str, index: int) -> tuple[str, int]:
    if split == "test":
      return split, index
    # Of the source's train and validation, one after the other, the dataset's train is the first.
    index += in_train if split == "validation" else 0
    past = index - arrays.train.num_examples
    return ("train", index) if past < 0 else ("validation", past)

  return lambda split, indices: source.files_of(folder, [place(split, i) for i in indices])


def _was_rgb(facts: Mapping[str, Any], arrays: Arrays) -> bool:
  """Returns whether a run saw these images as RGB: earlier versions did not find gray in RGB."""
  height, width, channels = arrays.train.images.shape[1:]
  return channels == 1 and facts.get("image_shape") == [height, width, 3]


def _held_out_before(facts: Mapping[str, Any], arrays: Arrays) -> int | None:
  """Returns how many examples a run on the same arrays held out; None if its facts do not say."""
  counts = facts.get("examples") or {}
  train, validation = counts.get("train"), counts.get("validation")
  if facts.get("fingerprint") != arrays.fingerprint:
    return None
  if not (isinstance(train, int) and isinstance(validation, int)):
    return None
  return validation if train + validation == arrays.train.num_examples else None


def _obtain_or_stand_in(
  options: ConfigDict, report: Report, only: str | None
) -> tuple[Source, Arrays]:
  """Returns the dataset asked for, or its stand-in, and its arrays."""
  folder = _data_folder(options.data_dir)
  if not only:  # A run that goes on may find its data prepared, and the originals gone.
    _check_manual_dir(options.manual_dir)
  try:
    source = _asked_for(options, report, only)
    return source, obtain(source, folder, report)
  except UserError as error:
    if only and not options.files:
      raise RunError(f"the run was started on {only}, which cannot be had: {error}") from error
    if not isinstance(error, UnavailableError):
      raise
    if not options.offline:
      raise UnavailableError(
        f"{error}\nTo do without it, set config.data.offline to 'digits'."
      ) from error
    report(
      f"data: {error}\ndata: going on with {options.offline!r} INSTEAD of {options.name!r}; "
      "--config.data.offline= makes this an error"
    )
  stand_in = TfdsSource(options.offline, options.manual_dir)
  return stand_in, obtain(stand_in, folder, report)


def _asked_for(options: ConfigDict, report: Report, only: str | None) -> Source:
  """Returns the source that the config names; a resumed run's dataset goes before `name`."""
  if not options.files:
    if only and files.is_name(only):
      raise RunError("config.data.files is empty, but must name the folder with these files")
    return TfdsSource(only or options.name, options.manual_dir)
  with said_if_slow(report, f"data: looking through the folder {options.files}"):
    source = files.find(options)
  report(f"data: {source.name} is made of {source.description}")
  return source


def _data_folder(data_dir: str) -> Path:
  """Returns the folder of prepared data; makes nothing.

  Raises:
    UsageError: neither the folder nor the one that it would lie in exists: a slip in a name. Or no
      folder can have such a name.
  """
  variable = os.environ.get("TFDS_DATA_DIR", "")
  given = data_dir or variable or "~/tensorflow_datasets"
  try:
    folder = expand(given).absolute()
    str(folder).encode()
  except UnicodeEncodeError as error:  # TFDS cannot read its files there.
    raise UsageError(f"the name of the data folder {given!r} is not in UTF-8") from error
  except UsageError as error:
    raise UsageError(f"{error}, in config.data.data_dir") from error
  needed = folder if os.path.lexists(folder) else folder.parent
  if not os.path.isdir(needed):
    named = "config.data.data_dir" if data_dir or not variable else "TFDS_DATA_DIR"
    raise UsageError(
      f"{named} is {given!r}, but {needed} is not a folder; name a folder, or a new one in a "
      "folder that exists"
    )
  return folder


def _check_manual_dir(manual_dir: str) -> None:
  if manual_dir and not os.path.isdir(expand(manual_dir)):
    raise UsageError(f"config.data.manual_dir is {manual_dir!r}, which is not a folder")
