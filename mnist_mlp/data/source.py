"""What a source of data must offer, and how to add one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from etils import epy

from mnist_mlp.errors import RunError, listing

with epy.lazy_imports():  # A run on cached data needs no TFDS.
  import tensorflow_datasets as tfds


class UnavailableError(RunError):
  """The data is not on this machine and cannot be downloaded, so a stand-in may replace it."""


def check_number_of_classes(name: str, class_names: Sequence[str]) -> None:
  """Raises a RunError unless a dataset has two classes: one alone is "learned" without any error.

  Args:
    name: the dataset, for messages.
    class_names: its classes.
  """
  if len(class_names) < 2:
    raise RunError(
      f"{name} has only one class, {listing(map(repr, class_names))}, but a net needs two to tell "
      "apart"
    )


class Source(Protocol):
  """One dataset, as `obtain.obtain` needs to know it.

  TFDS prepares every dataset and stores it in its own files. A source therefore offers a TFDS
  builder and a few facts. `tfds.TfdsSource` and `files.FilesSource` are the sources that exist.

  To add a source:
    1. Write a module in this folder with a class that has the members below. The class need not
       inherit from `Source`. If the examples come from Python code, `builder` can return a
       `tfds.dataset_builders.AdhocBuilder`, as in `files`.
    2. Return an object of the class from `dataset._asked_for`. If the user has to choose the
       source, add a field to `config.data` for that.
  """

  @property
  def name(self) -> str:
    """The name that people see: in messages, in dataset.json and in result.json.

    Names are for people. Whether two datasets are the same one, their fingerprints say.
    """

  @property
  def key(self) -> str:
    """The name that TFDS and the cache use.

    Examples are decoded once for each key, as long as the prepared files stay the same. If the
    original data can change, the key must change with the data.
    """

  @property
  def version(self) -> str:
    """The version that this program prepares, or '' if only the builder knows the version.

    A cache of another version is not used.
    """

  @property
  def splits(self) -> tuple[str, ...]:
    """The splits to use: 'train' and 'test', and 'validation' if that is not a part of train."""

  @property
  def remarks(self) -> tuple[str, ...]:
    """Lines that every start shows: what a user has to know of how the examples came about.

    `obtain` asks for them when it decodes the examples.
    """

  @property
  def manual_dir(self) -> str:
    """The folder with original files that TFDS would download otherwise; '' if there is none."""

  def builder(self, folder: Path) -> "tfds.core.DatasetBuilder":
    """Returns the TFDS builder whose prepared files lie, or will lie, in a data folder.

    Uses no network. The builder has the splits of `splits`. Its examples hold a uint8
    image of one fixed size and a ClassLabel.

    Raises:
      UsageError: the config names data that cannot be used.
      RunError: the data cannot be read.
    """

  def origin(self, folder: Path, builder: "tfds.core.DatasetBuilder") -> str:
    """Returns in words what the dataset can be prepared from. Takes seconds at most.

    `obtain` calls this method only if `builder` is not prepared in `folder`.

    Raises:
      UnavailableError: the original data cannot be had now.
      UsageError: the config names original files that are not right.
    """

  def superseded(self, folder: Path) -> list[Path]:
    """Returns the paths in a data folder that a new preparation makes useless.

    `prepare` deletes these paths.
    """
