"""Which examples are held out for validation: as `config.data.validation_examples` says."""

import numpy as np

from mnist_mlp.config import FIELDS
from mnist_mlp.core.spec import Examples
from mnist_mlp.data import memory
from mnist_mlp.data.cache import Arrays, Report
from mnist_mlp.errors import UsageError

_FULL_SIZE = 60_000  # the number of train examples for which the default is chosen
_LARGEST_SHARE = 1 / 5  # of train that the default may be


def divide(
  arrays: Arrays, asked: float, name: str, stand_in_for: str, report: Report
) -> tuple[Examples, Examples]:
  """Returns the train and the validation split.

  Args:
    arrays: the dataset.
    asked: `config.data.validation_examples`.
    name: the dataset, for messages.
    stand_in_for: the dataset that it replaces, or ''.
    report: is called with a line if the number is not the one asked for.

  Raises:
    UsageError: nothing would be left to train on.
  """
  total = arrays.train.num_examples
  if arrays.validation is not None:
    return _own(arrays.train, arrays.validation, asked, report)
  count = number(asked, total, bool(stand_in_for))
  if count >= total:
    raise UsageError(
      f"config.data.validation_examples is {asked:g}, but must be less than the {total} train "
      f"examples of {name}"
    )
  if count != asked:
    reason = f"stands in for {stand_in_for}" if stand_in_for else f"has {total:,} train examples"
    instead = f"{count} of them" if asked < 1 else f"{count} rather than {asked:g}"
    report(f"data: {name} {reason}, so validation_examples is {instead}")
  return cut(arrays.train, count)


def number(asked: float, total: int, stands_in: bool) -> int:
  """Returns how many of so many train examples are held out.

  A number below 1 is a share. The default is meant for 60,000 examples: of a stand-in, and where it
  would be more than a fifth of all, the same share is held out. So is any number of a stand-in.
  """
  default = FIELDS["data.validation_examples"].default
  if 0 < asked < 1:
    return max(1, round(asked * total))
  if asked and (stands_in or (asked == default and asked > _LARGEST_SHARE * total)):
    return max(1, round(asked * total / _FULL_SIZE))
  return int(asked)


def cut(train: Examples, count: int) -> tuple[Examples, Examples]:
  """Returns examples without the last ones, and the last ones."""
  end = train.num_examples - count
  return Examples(*(array[:end] for array in train)), Examples(*(array[end:] for array in train))


def _own(
  train: Examples, validation: Examples, asked: float, report: Report
) -> tuple[Examples, Examples]:
  """Returns the splits of the source. If no validation is asked for, all examples are train."""
  if asked:
    report(f"data: the {validation.num_examples:,} examples of the validation split are held out")
    return train, validation
  memory.check_fits(
    "train and validation, joined,",
    train.images.nbytes + validation.images.nbytes,
    "; with another config.data.validation_examples than 0 they stay files",
  )
  joined = (np.concatenate(pair) for pair in zip(train, validation, strict=True))
  return cut(Examples(*joined), 0)
