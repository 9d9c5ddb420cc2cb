"""Prepared files to arrays: every record is decoded and checked."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from etils import epy

from mnist_mlp.core.spec import Examples
from mnist_mlp.data import cache, memory
from mnist_mlp.data.quiet import import_tensorflow, silence
from mnist_mlp.errors import RunError, UsageError, UserError, listing

with epy.lazy_imports():  # A run on cached data needs no TFDS.
  import tensorflow_datasets as tfds

_BATCH = 1000  # records; decoding this many at a time is three times as fast as one by one


def decode(
  name: str, builder: "tfds.core.DatasetBuilder", splits: Sequence[str] = ("train", "test")
) -> cache.Arrays:
  """Returns the arrays of a prepared dataset, in the order of the prepared files.

  Args:
    name: the dataset, for messages.
    builder: the dataset's builder; its files are prepared.
    splits: those to decode: 'train', 'test', and 'validation' if that is not a part of train.

  Raises:
    UsageError: the dataset lacks one of the splits.
    RunError: the prepared files cannot be read, or hold other examples than they announce.
  """
  missing = set(splits) - set(builder.info.splits)
  if missing:
    raise UsageError(
      f"config.data.name is {name!r}, which has no split "
      f"{listing(sorted(missing))}, only {listing(builder.info.splits)}"
    )
  try:
    with silence():
      examples = {split: _decode_split(builder, split) for split in splits}
  except UserError:
    raise
  except Exception as error:
    raise RunError(
      f"{name} cannot be read from {builder.data_dir}: {error}. "
      "If you remove that folder, it is prepared anew"
    ) from error
  class_names = tuple(builder.info.features[_keys(builder)[1]].names)
  return cache.Arrays(
    str(builder.version),
    class_names,
    examples["train"],
    examples["test"],
    cache.fingerprint_of(examples),
    cache.describe(builder.data_dir),
    examples.get("validation"),
  )


def _keys(builder: "tfds.core.DatasetBuilder") -> tuple[str, str]:
  """Returns the names of the picture and of the label in an example."""
  return builder.info.supervised_keys or ("image", "label")


def _decode_split(builder: "tfds.core.DatasetBuilder", split: str) -> Examples:
  image_key, label_key = _keys(builder)
  feature = builder.info.features[image_key]
  num_classes = builder.info.features[label_key].num_classes
  count = builder.info.splits[split].num_examples
  memory.check_fits(f"the split {split!r} of {count:,} images", count * math.prod(feature.shape))
  images, labels = np.empty((count, *feature.shape), np.uint8), np.empty(count, np.int32)
  # strict: there must be as many records as the dataset says.
  for index, example in zip(range(count), _records(builder, split), strict=True):
    image, label = example[image_key], int(example[label_key])
    if image.shape != feature.shape or image.dtype != np.uint8:
      raise ValueError(f"{split} image {index} is {image.dtype} {image.shape}")
    if not 0 <= label < num_classes:
      raise ValueError(f"{split} label {index} is {label}, but there are {num_classes} classes")
    images[index], labels[index] = image, label
  images.flags.writeable = labels.flags.writeable = False
  return Examples(images, labels)


def _records(builder: "tfds.core.DatasetBuilder", split: str) -> Iterator[Mapping[str, Any]]:
  """Yields the examples of a split, in their order on disk."""
  if builder.info.available_file_formats() & tfds.core.FileFormat.with_random_access():
    source = builder.as_data_source(split)
    for start in range(0, len(source), _BATCH):
      yield from source.__getitems__(range(start, min(start + _BATCH, len(source))))
  else:
    # Others prepare datasets in the default format of TFDS, TFRecord. Only TensorFlow reads it.
    import_tensorflow()
    order = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
    yield from tfds.as_numpy(builder.as_dataset(split=split, read_config=order))
