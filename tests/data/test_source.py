import dataclasses

import numpy as np
import tensorflow_datasets as tfds
from loading import listing_of, run_python

from mnist_mlp.data.obtain import obtain


@dataclasses.dataclass(frozen=True)
class Greys:
  """A source as a stranger adds one: all its pictures are of one grey, its class."""

  name: str = "greys"
  key: str = "greys"
  version: str = "1.0.0"
  splits: tuple[str, ...] = ("train", "test")
  remarks: tuple[str, ...] = ("greys are made up",)
  manual_dir: str = ""

  def builder(self, folder):
    features = {
      "image": tfds.features.Image(shape=(2, 3, 1)),
      "label": tfds.features.ClassLabel(names=["dark", "light"]),
    }
    return tfds.dataset_builders.AdhocBuilder(
      name=self.key,
      version=self.version,
      features=tfds.features.FeaturesDict(features),
      split_datasets={"train": self.examples(6), "test": self.examples(2)},
      data_dir=folder,
    )

  def examples(self, count):
    for index in range(count):
      yield index, {"image": np.full((2, 3, 1), index % 2, np.uint8), "label": index % 2}

  def origin(self, folder, builder):
    return "nothing"

  def superseded(self, folder):
    return [folder / "greys_of_yesterday"]


def test_a_new_source_is_a_class_with_the_members_of_the_protocol(tmp_path):
  (tmp_path / "greys_of_yesterday").mkdir()
  lines = []
  for _ in range(2):
    arrays = obtain(Greys(), tmp_path, lines.append)
    assert arrays.class_names == ("dark", "light") and arrays.version == "1.0.0"
    for split, count in ((arrays.train, 6), (arrays.test, 2)):
      assert split.num_examples == count
      assert (split.images == split.labels[:, None, None, None]).all()
  assert [line.partition(", ")[0] for line in lines] == [
    "data: preparing greys 1.0.0",
    "data: greys are made up",
    "data: greys 1.0.0",
    "data: greys are made up",
  ]
  assert "greys_of_yesterday" not in listing_of(tmp_path)


def test_a_source_of_a_new_version_does_not_use_the_old_arrays(tmp_path):
  obtain(Greys(), tmp_path, print)
  lines = []
  assert obtain(Greys(version="1.0.1"), tmp_path, lines.append).version == "1.0.1"
  assert "preparing greys 1.0.1" in lines[0]


def test_importing_the_package_imports_nothing_that_takes_long():
  run_python("""
packages = "tensorflow tensorflow_datasets jax flax PIL pyarrow requests sklearn scipy"
assert not set(packages.split()) & set(sys.modules)""")
