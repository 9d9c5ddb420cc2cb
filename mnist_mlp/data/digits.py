"""The embedded dataset: 1,797 real handwritten digits in the style of MNIST, without network."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from etils import epy

with epy.lazy_imports():  # Only preparing draws the pictures; reading needs no scikit-learn.
  import PIL.Image
  import sklearn.datasets

_TRAIN_EXAMPLES = 1500
_SIZE = 28  # pixels, the side of a picture
_BOX = 20  # pixels, the side of the centred square that holds the digit


class Digits(tfds.core.GeneratorBasedBuilder):
  """scikit-learn's `load_digits` as a TFDS dataset: 1,500 for train, the last 297 for test.

  Importing this module registers the dataset with TFDS as 'digits'. Images are uint8 [28, 28, 1],
  light ink on dark. Labels are 0 to 9. If the pixels change, VERSION must change, here and in
  `mnist_mlp.data.tfds.EMBEDDED`.
  """

  VERSION = tfds.core.Version("1.0.0")

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
      builder=self,
      description="The test set of the UCI 'Optical Recognition of Handwritten Digits' data.",
      features=tfds.features.FeaturesDict(
        {
          "image": tfds.features.Image(shape=(_SIZE, _SIZE, 1)),
          "label": tfds.features.ClassLabel(num_classes=10),
        }
      ),
      supervised_keys=("image", "label"),
      homepage="https://archive.ics.uci.edu/dataset/80",
    )

  def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
    del dl_manager  # Nothing is downloaded.
    images, labels = _mnist_style_digits()
    train, test = slice(0, _TRAIN_EXAMPLES), slice(_TRAIN_EXAMPLES, None)
    return {
      "train": self._generate_examples(images[train], labels[train]),
      "test": self._generate_examples(images[test], labels[test]),
    }

  def _generate_examples(self, images: np.ndarray, labels: np.ndarray) -> Iterator:
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
      yield index, {"image": image, "label": int(label)}


def _mnist_style_digits() -> tuple[np.ndarray, np.ndarray]:
  """Returns images, uint8 [1797, 28, 28, 1], and labels, int [1797]."""
  source = sklearn.datasets.load_digits()
  images = np.zeros((len(source.images), _SIZE, _SIZE, 1), np.uint8)
  margin = (_SIZE - _BOX) // 2
  for image, small in zip(images, source.images, strict=True):
    picture = PIL.Image.fromarray((small * (255 / 16)).astype(np.float32))
    large = np.asarray(picture.resize((_BOX, _BOX), PIL.Image.Resampling.BICUBIC))
    # Bicubic interpolation leaves the range 0..255 at sharp edges.
    image[margin:-margin, margin:-margin, 0] = np.clip(large.round(), 0, 255)
  return images, source.target
