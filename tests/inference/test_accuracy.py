"""What a net says of pictures of MNIST's digits, as people make them."""

import io

import numpy as np
import pytest
import sheets
from handwriting import drawing, photograph
from PIL import Image

from mnist_mlp import inference
from mnist_mlp.inference import readings
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


@pytest.mark.parametrize("shadow", [False, True])
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


LINED = {
  "ruled": lambda page: sheets.rule(page, 55, margin=40),
  "squared": lambda page: sheets.rule(page, 40, squared=True),
  "framed": lambda page: sheets.frame(page, (60, 50, 240, 210)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LINED)
def test_digits_on_ruled_paper_and_in_frames(net, mnist_test, name):
  rng, prepared = np.random.default_rng(4), []
  images, labels = mnist_test.images[:40, :, :, 0], mnist_test.labels[:40].astype(str)
  for image in images:
    page = sheets.paper(300, 260)
    sheets.write(page, image, rng, np.array([150, 130]) + rng.integers(-15, 16, 2), 110)
    LINED[name](page)
    prepared.append(inference.prepare(sheets.scanned(page, rng, rng.uniform(-2, 2))))
  predictions = inference.classify(net, prepared)
  assert np.mean([p.label == label for p, label in zip(predictions, labels, strict=True)]) >= 0.93
  assert all("left out" in prediction.note for prediction in predictions)


@pytest.mark.parametrize("boxes", [False, True])
def test_forms_of_many_digits(net, mnist_test, boxes):
  rng, cell = np.random.default_rng(5), 80
  chosen = rng.choice(mnist_test.num_examples, (6, 8))
  page = sheets.paper(cell * 6 + 80, cell * 8 + 80)
  for (row, column), index in np.ndenumerate(chosen):
    top, left = 40 + cell * row, 40 + cell * column
    image = mnist_test.images[index, :, :, 0]
    sheets.write(page, image, rng, (top + 40, left + 40), rng.integers(40, 55))
    if boxes:
      sheets.frame(page, (top - 2, left - 2, top + cell + 2, left + cell + 2))
  found = readings.sheet_of("form", sheets.scanned(page, rng, 1.0))
  (reading,) = readings.read_sheets(net, [found])
  labels = [[prediction.label for prediction in line] for line in reading.lines]
  assert [len(line) for line in labels] == [8] * 6
  assert np.mean(np.array(labels) == mnist_test.labels[chosen].astype(str)) >= 0.9
