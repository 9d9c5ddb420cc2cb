"""Prepared files to arrays: every record is decoded and checked.

A thousand records are in memory at a time, whatever the size of the dataset.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from etils import epy

from mnist_mlp.core.spec import Examples
from mnist_mlp.data import cache, npy
from mnist_mlp.data.quiet import import_tensorflow, silence
from mnist_mlp.errors import RunError, UsageError, UserError, listing

with epy.lazy_imports():  # A run on cached data needs no TFDS.
  import tensorflow_datasets as tfds
  import tqdm

_BATCH = 1000  # records; decoding this many at a time is three times as fast as one by one
_BATCH_BYTES = 2**23  # of pictures: of large ones, fewer are decoded at a time


def decode(
  name: str,
  builder: "tfds.core.DatasetBuilder",
  splits: Sequence[str] = ("train", "test"),
  folder: Path | None = None,
) -> cache.Arrays:
  """Returns the arrays of a prepared dataset, in the order of the prepared files.

  Args:
    name: the dataset, for messages.
    builder: the dataset's builder; its files are prepared.
    splits: those to decode, which the dataset has: 'train', 'test', and 'validation' if that is
      not a part of train.
    folder: an empty folder, for the files of the arrays, which are then mapped into memory; None
      for arrays in memory.

  Raises:
    RunError: the prepared files cannot be read, or hold other examples than they announce.
    OSError: the folder cannot be written.
  """
  examples, crcs = {}, {}
  with silence():
    for split in splits:
      examples[split], crcs[split] = _decode_split(name, builder, split, folder)
  return cache.Arrays(
    str(builder.version),
    tuple(builder.info.features[_keys(builder)[1]].names),
    examples["train"],
    examples["test"],
    cache.fingerprint_of(crcs),
    cache.describe(builder.data_dir),
    examples.get("validation"),
  )


def num_bytes(name: str, builder: "tfds.core.DatasetBuilder", splits: Sequence[str]) -> int:
  """Returns how many bytes the images of a prepared dataset take as arrays.

  Args:
    name: the dataset, for messages.
    builder: the dataset's builder; its files are prepared.
    splits: those that count.

  Raises:
    UsageError: the dataset lacks one of the splits.
  """
  missing = set(splits) - set(builder.info.splits)
  if missing:
    raise UsageError(
      f"config.data.name is {name!r}, which has no split "
      f"{listing(sorted(missing))}, only {listing(builder.info.splits)}"
    )
  counts = (builder.info.splits[split].num_examples for split in splits)
  return sum(counts) * math.prod(_image_shape(builder))


def _keys(builder: "tfds.core.DatasetBuilder") -> tuple[str, str]:
  """Returns the names of the picture and of the label in an example."""
  return builder.info.supervised_keys or ("image", "label")


def _image_shape(builder: "tfds.core.DatasetBuilder") -> tuple[int, ...]:
  return builder.info.features[_keys(builder)[0]].shape


def _decode_split(
  name: str, builder: "tfds.core.DatasetBuilder", split: str, folder: Path | None
) -> tuple[Examples, list[int]]:
  """Returns the arrays of a split, and the CRC-32 of each."""
  count = builder.info.splits[split].num_examples
  paths = cache.files_of(folder, split) if folder else Examples(None, None)
  images = npy.column(paths.images, (count, *_image_shape(builder)), np.uint8)
  labels = npy.column(paths.labels, (count,), np.int32)
  # disable=None: no bar if nobody watches, as standard error is no terminal.
  with tqdm.tqdm(desc=f"decoding {split}", total=count, leave=False, disable=None) as bar:
    for batch in _batches(name, builder, split):
      images.append(batch.images)
      labels.append(batch.labels)
      bar.update(len(batch.labels))
  return Examples(images.finished(), labels.finished()), [images.crc, labels.crc]


def _batches(name: str, builder: "tfds.core.DatasetBuilder", split: str) -> Iterator[Examples]:
  """Yields all examples of a split, in their order on disk, some at a time.

  Raises:
    RunError: they cannot be read, or are not as the dataset says.
  """
  try:
    yield from _checked_batches(builder, split)
  except UserError:
    raise
  except Exception as error:
    raise RunError(
      f"{name} cannot be read from {builder.data_dir}: {error}. "
      "If you remove that folder, it is prepared anew"
    ) from error


def _checked_batches(builder: "tfds.core.DatasetBuilder", split: str) -> Iterator[Examples]:
  image_key, label_key = _keys(builder)
  shape, count = _image_shape(builder), builder.info.splits[split].num_examples
  num_classes = builder.info.features[label_key].num_classes
  size = max(1, min(_BATCH, _BATCH_BYTES // math.prod(shape)))
  records, found = _records(builder, split, size), 0
  while found <= count and (batch := list(itertools.islice(records, size))):
    images = [example[image_key] for example in batch]
    labels = [int(example[label_key]) for example in batch]
    for index, (image, label) in enumerate(zip(images, labels, strict=True), found):
      if image.shape != shape or image.dtype != np.uint8:
        raise ValueError(f"{split} image {index} is {image.dtype} {image.shape}")
      if not 0 <= label < num_classes:
        raise ValueError(f"{split} label {index} is {label}, but there are {num_classes} classes")
    found += len(batch)
    if found <= count:
      yield Examples(np.stack(images), np.array(labels, np.int32))
  if found != count:
    raise ValueError(f"{split} does not hold the {count} examples that the dataset announces")


def _records(
  builder: "tfds.core.DatasetBuilder", split: str, size: int
) -> Iterator[Mapping[str, Any]]:
  """Yields the examples of a split, in their order on disk; reads `size` at a time."""
  if builder.info.available_file_formats() & tfds.core.FileFormat.with_random_access():
    source = builder.as_data_source(split)
    for start in range(0, len(source), size):
      yield from source.__getitems__(range(start, min(start + size, len(source))))
  else:
    # Others prepare datasets in the default format of TFDS, TFRecord. Only TensorFlow reads it.
    import_tensorflow()
    order = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
    yield from tfds.as_numpy(builder.as_dataset(split=split, read_config=order))
