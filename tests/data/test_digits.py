import collections
import json

import numpy as np
from loading import load
from sklearn.datasets import load_digits

from mnist_mlp.data import digits
from mnist_mlp.data import tfds as tfds_source


def test_digits_are_real_digits_in_three_splits(digits_dir):
  dataset, _ = load(digits_dir)
  assert (dataset.name, dataset.stand_in_for, dataset.num_classes) == ("digits", "", 10)
  assert dataset.image_shape == (28, 28, 1)
  assert dataset.class_names == tuple("0123456789")
  sizes = [split.num_examples for split in (dataset.train, dataset.validation, dataset.test)]
  assert sizes == [1400, 100, 297]
  for split in (dataset.train, dataset.validation, dataset.test):
    assert split.images.dtype == np.uint8 and split.labels.dtype == np.int32
    assert split.images.shape == (split.num_examples, 28, 28, 1)
    assert type(split.images) is np.ndarray and not split.images.flags.writeable
  labels = np.concatenate([dataset.train.labels, dataset.validation.labels])
  source = load_digits()
  assert collections.Counter(labels.tolist()) == collections.Counter(source.target[:1500].tolist())
  assert (np.bincount(dataset.test.labels) == np.bincount(source.target[1500:])).all()
  assert json.loads(json.dumps(dataset.describe())) == {
    "name": "digits",
    "version": "1.0.0",
    "fingerprint": dataset.fingerprint,
    "stand_in_for": "",
    "num_classes": 10,
    "class_names": list("0123456789"),
    "image_shape": [28, 28, 1],
    "pen_strokes": True,
    "shaping": "",
    "remarks": [],
    "examples": {"train": 1400, "validation": 100, "test": 297},
  }


def test_digits_look_like_mnist(digits_dir):
  images = load(digits_dir)[0].train.images
  frame = np.ones((28, 28), bool)
  frame[4:24, 4:24] = False
  assert images[:, frame].max() == 0
  assert images.min() == 0 and images.max() == 255
  assert 20 < images.mean() < 60  # light ink on dark: MNIST's mean is 33


def test_digits_keep_picture_and_label_together():
  images, labels = digits._mnist_style_digits()
  source = load_digits()
  assert (labels == source.target).all()
  small = images[:, 4:24, 4:24, 0].reshape(-1, 20, 20)
  for image, reference in zip(small[::100], source.images[::100], strict=True):
    assert np.corrcoef(image[1::5, 1::5].ravel(), reference[::2, ::2].ravel())[0, 1] > 0.6


def test_embedded_version_is_that_of_the_builder():
  assert {"digits": str(digits.Digits.VERSION)} == tfds_source.EMBEDDED
