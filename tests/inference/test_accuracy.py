"""What a net says of pictures of MNIST's digits, as people make them."""

import io

import numpy as np
import pytest
from handwriting import drawing, photograph
from PIL import Image

from mnist_mlp import inference
from mnist_mlp.inference.geometry import box


def read(content):
  return inference.load_picture(io.BytesIO(content), "picture")


def labels_of(net, pictures):
  return [p.label for p in inference.classify(net, [inference.prepare(p) for p in pictures])]


def right(net, pictures, labels):
  """The share of pictures that the net takes for what they are."""
  return np.mean([a == str(b) for a, b in zip(labels_of(net, pictures), labels, strict=True)])


def test_mnist_images_in_files_are_left_as_they_are(net, mnist_test):
  images, labels = mnist_test.images[::20], mnist_test.labels[::20]
  kinds = [("L", 0), ("RGB", 0), ("L", 255), ("RGBA", 0)]  # 255: the negative
  pictures = []
  for index, image in enumerate(images):
    mode, negative = kinds[index % len(kinds)]
    file = io.BytesIO()
    Image.fromarray(np.abs(negative - image[:, :, 0].astype(int)).astype(np.uint8)).convert(
      mode
    ).save(file, "PNG")
    pictures.append(read(file.getvalue()))
  prepared = np.stack([inference.prepare(picture).pixels for picture in pictures])
  assert (prepared == images).all()
  as_arrays = np.mean(net.logits(images).argmax(-1) == labels)
  assert abs(right(net, pictures, labels) - as_arrays) <= 0.001


@pytest.mark.slow
def test_mnist_images_survive_being_enlarged_moved_and_brought_back(net, mnist_test):
  images, labels = mnist_test.images[::50, :, :, 0], mnist_test.labels[::50]
  as_arrays = np.mean(net.logits(images[..., None]).argmax(-1) == labels)
  pictures = [
    Image.fromarray(np.pad(255 - image, ((0, 9), (20, 3)), constant_values=255)).resize(
      (204, 148), Image.Resampling.BICUBIC
    )
    for image in images
  ]
  assert right(net, pictures, labels) >= as_arrays - 0.02


def test_fat_digits_cut_out_tightly_are_found(net, mnist_test):
  images, labels = mnist_test.images[::50, :, :, 0], mnist_test.labels[::50]
  pictures = [
    Image.fromarray(np.pad(255 - image[box(image > 0)], 1, constant_values=255)) for image in images
  ]
  assert right(net, pictures, labels) >= 0.95


def test_drawings(net, mnist_test):
  rng = np.random.default_rng(1)
  pictures = [drawing(image[:, :, 0], rng) for image in mnist_test.images[:150]]
  assert right(net, pictures, mnist_test.labels[:150]) >= 0.95


@pytest.mark.parametrize("shadow", [pytest.param(False, marks=pytest.mark.slow), True])
def test_photographs(net, mnist_test, shadow):
  rng = np.random.default_rng(2)
  images, labels = mnist_test.images[:70, :, :, 0], mnist_test.labels[:70]
  pictures = [read(photograph(image, rng, shadow)) for image in images]
  assert right(net, pictures, labels) >= 0.93


@pytest.mark.slow
def test_dithered_photographs(net, mnist_test):
  rng = np.random.default_rng(3)
  images, labels = mnist_test.images[:70, :, :, 0], mnist_test.labels[:70]
  pictures = [read(photograph(image, rng)).convert("L").convert("1") for image in images]
  assert right(net, pictures, labels) >= 0.93


def test_photographs_of_handwriting(net, mnist_files, handwriting_files):
  paths = sorted(handwriting_files.glob("*.png"))
  assert len(paths) == 7
  pictures = [inference.load_picture(path) for path in paths]
  assert right(net, pictures, [path.name[0] for path in paths]) == 1
