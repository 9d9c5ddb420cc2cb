"""Pictures of one run."""

import io
import itertools

import numpy as np
import pytest
from PIL import Image

from mnist_mlp.core.spec import Examples
from mnist_mlp.run import figures

NAMES = [str(index) for index in range(10)]


def test_to_image_is_what_savefig_writes():
  figure, saved = (figures.confusion_matrix([0, 1, 1], [0, 1, 0], ["a", "b"]) for _ in range(2))
  image = figures.to_image(figure, dpi=100)
  assert image.dtype == np.uint8
  assert image.shape[1:] == (800, 3)
  file = io.BytesIO()
  saved.savefig(file, format="png", dpi=100)
  np.testing.assert_array_equal(image, np.asarray(Image.open(file).convert("RGB")))
  assert figures.to_image(figure, dpi=50).shape[1] == 400


def test_distortions_shows_the_image_and_all_of_them():
  image = np.arange(6, dtype=np.uint8).reshape(2, 3, 1)
  distorted = np.arange(5 * 6, dtype=np.float32).reshape(5, 2, 3, 1)
  shown = [axes.images[0].get_array() for axes in figures.distortions(image, distorted).axes]
  np.testing.assert_array_equal(np.stack(shown), np.stack([image, *distorted])[..., 0])
  figure = figures.distortions(np.zeros((4, 4, 3), np.uint8), np.full((16, 4, 4, 3), 254.6))
  assert figures.to_image(figure).shape[1] == 800
  np.testing.assert_array_equal(figure.axes[16].images[0].get_array(), np.full((4, 4, 3), 255))


def test_figures_leave_no_global_state():
  figures.to_image(figures.reliability_diagram([0], [[1.0, 0.0]]))
  import matplotlib.pyplot

  assert not matplotlib.pyplot.get_fignums()


def test_first_layer_weights_shows_the_largest_units():
  kernel = np.zeros((6, 100))
  kernel[np.arange(100) % 6, np.arange(100)] = np.arange(1, 101)
  figure = figures.first_layer_weights(kernel, (2, 3))
  mosaic = figure.axes[0].images[0].get_array().filled(np.nan)
  assert mosaic.shape == (8 * 4, 8 * 5)
  # The first tile is unit 99, whose one weight is at pixel 99 % 6 = 3: row 1, column 0.
  np.testing.assert_array_equal(mosaic[1:3, 1:4], [[0, 0, 0], [100, 0, 0]])
  assert sorted(mosaic[mosaic > 0]) == list(range(37, 101))
  low, high = figure.axes[0].images[0].get_clim()
  assert low == -high < 0


@pytest.mark.parametrize("units", [1, 10])
def test_first_layer_weights_of_few_units_and_of_colour_images(units):
  kernel = np.zeros((2 * 2 * 3, units))
  kernel[:3, 0] = [1.0, 2.0, 3.0]
  mosaic = figures.first_layer_weights(kernel, (2, 2, 3)).axes[0].images[0].get_array()
  np.testing.assert_array_equal(mosaic[1:3, 1:3], [[2, 0], [0, 0]])
  assert np.isfinite(mosaic.filled(np.nan)).sum() == 4 * units


def test_confusion_matrix_counts_and_colours():
  labels = [0] * 100 + [1] * 50 + [2] * 10
  predictions = [0] * 90 + [1] * 10 + [1] * 50 + [0] * 2 + [2] * 8
  axes = figures.confusion_matrix(labels, predictions, ["zero", "one", "two", "three"]).axes[0]
  texts = {text.get_position(): text.get_text() for text in axes.texts}
  assert texts == {(0, 0): "90", (1, 0): "10", (1, 1): "50", (0, 2): "2", (2, 2): "8"}
  share = axes.images[0].get_array()
  assert share.mask.diagonal().all()
  assert share[0, 1] == 0.1
  assert share[2, 0] == 0.2
  assert axes.images[0].get_clim() == (0, 0.2)
  assert axes.get_title() == "Errors: 12 of 160 (7.50%)"
  assert [label.get_text() for label in axes.get_yticklabels()] == ["zero", "one", "two", "three"]


def test_confusion_matrix_without_errors():
  figure = figures.confusion_matrix([0, 1], [0, 1], ["a", "b"])
  assert figure.axes[0].get_title() == "Errors: 0 of 2 (0.00%)"
  figures.to_image(figure)


def shown(figure):
  """Returns the title and the pixels of each drawn picture."""
  return [(axes.get_title(), axes.images[0].get_array()) for axes in figure.axes if axes.images]


def test_worst_mistakes_come_first():
  images = np.arange(4, dtype=np.uint8)[:, None, None, None] * np.ones((1, 5, 5, 1), np.uint8)
  logits = np.log([[0.1, 0.9], [0.9, 0.1], [0.4, 0.6], [0.01, 0.99]]) + 7
  split = Examples(images, [0, 0, 0, 0])
  pictures = shown(figures.worst_mistakes(split, logits, ["a", "b"]))
  assert [title for title, _ in pictures] == ["a → b 99%", "a → b 90%", "a → b 60%"]
  assert [int(pixels[0, 0]) for _, pixels in pictures] == [3, 0, 2]
  limited = shown(figures.worst_mistakes(split, logits, ["a", "b"], count=2))
  assert len(limited) == 2
  for pixels, white in ((images, 255), (images / 255, 1)):
    axes = figures.worst_mistakes(Examples(pixels, [0] * 4), logits, "ab").axes[0]
    assert axes.images[0].get_clim() == (0, white)


@pytest.mark.parametrize("shape", [(28, 28), (28, 28, 1), (32, 32, 3)])
def test_worst_mistakes_of_many_kinds_of_images(shape):
  rng = np.random.default_rng(0)
  logits = rng.normal(size=(200, 10))
  labels = rng.integers(0, 10, 200)
  images = rng.integers(0, 256, (200, *shape), np.uint8)
  names = [f"class {name}" for name in NAMES]
  figure = figures.worst_mistakes(Examples(images, labels), logits, names)
  pictures = shown(figure)
  assert len(pictures) == 25
  assert pictures[0][1].shape == (shape if shape[-1] == 3 else shape[:2])
  assert figures.to_image(figure).std() > 10


def test_long_names_do_not_reach_into_other_pictures():
  images = np.zeros((10, 28, 28, 1), np.uint8)
  logits = np.tile([1.0, 0.0], (10, 1))
  figure = figures.worst_mistakes(
    Examples(images, [1] * 10), logits, ["triangle", "rectangle"], order="from 0"
  )
  figures.to_image(figure)  # Only now is its layout known.
  boxes = [
    artist.get_window_extent()
    for ax in figure.axes
    for artist in (ax.title, *ax.texts)
    if artist.get_text()
  ]
  assert len(boxes) == 20
  for one, other in itertools.combinations(boxes, 2):
    assert not one.overlaps(other)


def test_worst_mistakes_have_numbers_once_it_is_said_how_they_are_counted():
  images = np.zeros((3, 28, 28, 1), np.uint8)
  split, logits = Examples(images, [0, 1, 1]), np.array([[1.0, 0], [1, 0], [2, 0]])
  numbered = figures.worst_mistakes(split, logits, "ab", order="from $0$")
  assert [text.get_text() for ax in numbered.axes for text in ax.texts] == ["image 2", "image 1"]
  assert numbered.get_supxlabel() == r"images are counted from \$0\$"
  plain = figures.worst_mistakes(split, logits, "ab")
  assert not [text for ax in plain.axes for text in ax.texts] and plain.get_supxlabel() == ""


def test_class_names_are_no_formulas():
  names = ["$_$", "a$b", "caf\udce9"]
  images = np.zeros((3, 28, 28, 1), np.uint8)
  split = Examples(images, [0, 1, 2])
  mistakes = figures.worst_mistakes(split, np.roll(np.eye(3), 1, 1), names)
  assert figures.to_image(mistakes).std() > 1
  assert shown(mistakes)[0][0].startswith(r"\$_\$ → ")
  assert figures.to_image(figures.confusion_matrix([0, 1, 2], [1, 2, 0], names)).std() > 1


def test_worst_mistakes_without_mistakes():
  images = np.zeros((2, 28, 28, 1), np.uint8)
  figure = figures.worst_mistakes(Examples(images, [0, 1]), np.eye(2), ["a", "b"])
  assert not shown(figure)
  assert "Errors: 0 of 2" in figure.get_suptitle()
  assert figures.to_image(figure).shape[1] == 800


def test_reliability_diagram():
  probabilities = np.array([[0.95, 0.05]] * 8 + [[0.35, 0.65]] * 2)
  labels = np.array([0] * 6 + [1] * 2 + [1] * 2)
  figure = figures.reliability_diagram(labels, probabilities)
  axes, below = figure.axes
  assert axes.get_title() == "Expected calibration error 23.00% over 10 examples"
  bars = {round(bar.get_x(), 3): bar.get_height() for bar in axes.patches}
  assert bars == {0.6: 1.0, 0.9: 0.75}
  np.testing.assert_allclose(axes.lines[1].get_xydata(), [[0.65, 1.0], [0.95, 0.75]])
  assert [bar.get_height() for bar in below.patches] == [0] * 6 + [2, 0, 0, 8]
