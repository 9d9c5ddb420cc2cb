import itertools
import os

import pytest
import tensorflow_datasets as tfds
from loading import assert_same, load
from pixels import PixelsTrainOnly

from mnist_mlp.data import decode, digits, npy
from mnist_mlp.errors import RunError, UsageError


def test_damaged_prepared_files_are_an_error(uncached):
  path = next((uncached / "digits" / "1.0.0").glob("*train.array_record*"))
  os.truncate(path, path.stat().st_size // 2)
  with pytest.raises(RunError, match=f"cannot be read from {uncached}"):
    load(uncached)


@pytest.mark.parametrize(
  "features, complaint",
  [
    (
      {
        "image": tfds.features.Image(shape=(28, 28, 1)),
        "label": tfds.features.ClassLabel(num_classes=5),
      },
      "but there are 5 classes",
    ),
    (
      {
        "image": tfds.features.Image(shape=(14, 14, 1)),
        "label": tfds.features.ClassLabel(num_classes=10),
      },
      r"image 0 is uint8 \(28, 28, 1\)",
    ),
  ],
)
def test_decoded_examples_are_checked(uncached, monkeypatch, features, complaint):
  monkeypatch.setattr(
    digits.Digits,
    "_info",
    lambda self: tfds.core.DatasetInfo(
      builder=self,
      features=tfds.features.FeaturesDict(features),
      supervised_keys=("image", "label"),
    ),
  )
  with pytest.raises(RunError, match=complaint):
    load(uncached)


def test_number_of_decoded_examples_is_checked(uncached, monkeypatch):
  records = decode._records
  monkeypatch.setattr(decode, "_records", lambda *args: itertools.islice(records(*args), 200))
  with pytest.raises(RunError, match="cannot be read"):
    load(uncached)


def test_large_images_are_decoded_a_few_at_a_time(digits_dir, uncached, monkeypatch):
  monkeypatch.setattr(decode, "_BATCH_BYTES", 28 * 28 * 7)
  sizes = []
  append = npy.OnDisk.append
  monkeypatch.setattr(
    npy.OnDisk, "append", lambda self, batch: (sizes.append(len(batch)), append(self, batch))
  )
  assert_same(load(uncached)[0], load(digits_dir)[0])
  assert max(sizes) == 7 and sum(sizes) == 2 * 1797


def test_a_missing_split_is_an_error(tmp_path, make_files):
  with pytest.raises(UsageError, match="no split test, only train"):
    load(tmp_path, name="pixels_train_only", manual_dir=make_files(PixelsTrainOnly, (1, 2)))


def test_tfrecord_files_prepared_elsewhere_are_read(digits_dir, tmp_path):
  builder = tfds.builder("digits", data_dir=tmp_path)
  builder.download_and_prepare(file_format="tfrecord")
  dataset, said = load(tmp_path)
  assert "preparing" not in said
  assert_same(dataset, load(digits_dir)[0])
  assert "decoded" not in load(tmp_path)[1]
