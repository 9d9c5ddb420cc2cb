"""The source that TFDS knows by name: opening and checking the builders of TFDS."""

import dataclasses
from pathlib import Path

import numpy as np
from etils import epy

from mnist_mlp.data import origin
from mnist_mlp.errors import RunError, UsageError, did_you_mean

with epy.lazy_imports():  # TFDS takes a second to import, and a run on cached data needs none.
  import tensorflow_datasets as tfds

  from mnist_mlp.data import digits

EMBEDDED = {"digits": "1.0.0"}  # name: version, which a run on cached data reads without TFDS


@dataclasses.dataclass(frozen=True)
class TfdsSource:
  """A dataset by its TFDS name; see `source.Source` for the members."""

  name: str  # 'mnist', 'emnist/digits'
  manual_dir: str = ""
  splits: tuple[str, ...] = ("train", "test")
  remarks: tuple[str, ...] = ()

  @property
  def key(self) -> str:
    """The TFDS name."""
    return self.name

  @property
  def version(self) -> str:
    """The version of an embedded dataset, else ''."""
    return EMBEDDED.get(self.name, "")

  def builder(self, folder: Path) -> "tfds.core.DatasetBuilder":
    """Returns the TFDS builder; uses no network.

    Raises:
      UsageError: TFDS does not know the name, or the dataset is not image classification.
      RunError: what lies in `folder` cannot be opened.
    """
    _check_name(self.name)
    try:
      builder = tfds.builder(self.name, data_dir=folder)
    except Exception as error:
      raise RunError(f"{self.name} in {folder} cannot be opened: {error}") from error
    _check_features(self.name, builder.info)
    return builder

  def origin(self, folder: Path, builder: "tfds.core.DatasetBuilder") -> str:
    """Returns in words what the dataset can be prepared from; see `origin.find_origin`."""
    return origin.find_origin(self.name, folder, builder, self.manual_dir)

  def superseded(self, folder: Path) -> list[Path]:
    """Returns nothing: the versions of a TFDS dataset lie side by side."""
    del folder
    return []


def _check_name(name: str) -> None:
  base, slash, config = name.partition("/")
  # Naming the class imports `digits`, which registers the dataset with TFDS. The error of
  # tfds.builder itself does not serve here: it first asks the network for community datasets.
  known = {digits.Digits.name, *tfds.list_builders(with_community_datasets=False)}
  if base not in known:
    raise UsageError(
      f"config.data.name is {name!r}, which is not a dataset of TFDS"
      + did_you_mean(base.lower(), known)
    )
  configs = tfds.builder_cls(base).builder_configs
  if slash and config not in configs:
    raise UsageError(
      f"config.data.name is {name!r}, but {base} has no variant {config!r}"
      + did_you_mean(config, configs)
    )


def _check_features(name: str, info: "tfds.core.DatasetInfo") -> None:
  """Raises a UsageError unless examples are a uint8 image of one size, and a class."""
  keys = info.supervised_keys or ()
  image, label = [info.features[key] for key in keys] if len(keys) == 2 else (None, None)
  if not (isinstance(image, tfds.features.Image) and isinstance(label, tfds.features.ClassLabel)):
    raise UsageError(
      f"config.data.name is {name!r}, which is not image classification: "
      "its examples are not pairs of one image and one class"
    )
  if None in image.shape or image.np_dtype != np.uint8:
    raise UsageError(
      f"config.data.name is {name!r}, whose images, {np.dtype(image.np_dtype)} "
      f"{image.shape}, are not uint8 of one fixed size"
    )
