import collections
import gzip
import socket

import numpy as np
import pytest
from loading import load

from mnist_mlp.errors import RunError, UsageError


def test_mnist_is_made_of_its_original_files(mnist_dir, mnist_files):
  dataset, _ = load(mnist_dir, name="mnist", validation_examples=5000)
  sizes = [split.num_examples for split in (dataset.train, dataset.validation, dataset.test)]
  assert sizes == [55000, 5000, 10000] and dataset.version == "3.0.1"
  with gzip.open(mnist_files / "t10k-images-idx3-ubyte.gz") as file:
    images = np.frombuffer(file.read()[16:], np.uint8).reshape(-1, 784)
  with gzip.open(mnist_files / "t10k-labels-idx1-ubyte.gz") as file:
    labels = np.frombuffer(file.read()[8:], np.uint8)
  expected = collections.Counter(
    (image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True)
  )
  assert expected == collections.Counter(
    (image.tobytes(), int(label)) for image, label in zip(*dataset.test, strict=True)
  )


@pytest.mark.parametrize(
  "name, complaint",
  [
    ("minst", "'minst', which is not a dataset of TFDS; did you mean 'mnist'"),
    ("MNIST", "did you mean 'mnist'"),
    ("mnist:3.0.1", "did you mean 'mnist'"),
    ("../mnist", "not a dataset of TFDS"),
    ("", "not a dataset of TFDS"),
    ("mnist/x", "mnist has no variant 'x'"),
    ("mnist/", "mnist has no variant ''"),
    ("emnist/digts", "emnist has no variant 'digts'; did you mean 'digits'"),
    ("glue", "not image classification"),
    ("imdb_reviews", "not image classification"),
    ("binarized_mnist", "not image classification"),
    ("imagenet2012", "not uint8 of one fixed size"),
  ],
)
def test_an_unsuitable_dataset_is_an_error_without_asking_the_network(
  tmp_path, monkeypatch, name, complaint
):
  for function in ("getaddrinfo", "create_connection"):
    monkeypatch.setattr(socket, function, lambda *args: pytest.fail("asks the network"))
  with pytest.raises(UsageError, match=complaint):
    load(tmp_path, name=name)
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["fashion_mnist", "kmnist", "emnist/digits", "cifar10"])
def test_other_datasets_are_known(tmp_path, no_network, name):
  with pytest.raises(RunError, match=f"{name} is not prepared in .*{tmp_path}"):
    load(tmp_path, name=name, offline="")
