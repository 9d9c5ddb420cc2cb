"""Pictures of one run: arrays in, matplotlib figures out. No files, no windows, no global state.

`figure.savefig(path)` writes a figure, `to_image` makes an array of it, notebooks show it. All
figures are 800 pixels wide at 100 dots per inch, on white, so that they read alike on light and on
dark pages.
"""

import io
from collections.abc import Sequence
from typing import Any

import matplotlib.figure
import numpy as np
import scipy.special
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.ticker import PercentFormatter

from mnist_mlp.core.spec import Examples
from mnist_mlp.run.calibration import calibration_bins, expected_calibration_error

WIDTH = 8.0  # inches
# Okabe and Ito's colours, which the colour-blind can tell apart.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


class Figure(matplotlib.figure.Figure):
  """A figure that notebooks show. They show others only if pyplot, and its state, made them."""

  def _repr_png_(self) -> bytes:
    content = io.BytesIO()
    self.savefig(content, format="png", dpi=100)
    return content.getvalue()


def to_image(figure: Figure, dpi: int = 100) -> np.ndarray:
  """Returns the figure as it looks at `dpi` dots per inch, uint8 [H, W, 3]."""
  figure.set_dpi(dpi)
  canvas = FigureCanvasAgg(figure)
  canvas.draw()
  return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()


def literal(text: str) -> str:
  """Returns a text that matplotlib draws as it is: dollars make no formula, odd bytes a '?'."""
  return text.encode(errors="replace").decode().replace("$", r"\$")


def first_layer_weights(kernel: Any, image_shape: Sequence[int]) -> Figure:
  """Draws what the units of the first layer look for: blue adds to a unit, red takes away.

  Args:
    kernel: float [pixels, units]; the 64 units of largest norm are drawn, largest first.
    image_shape: (H, W) or (H, W, C) with H * W * C pixels; channels are averaged.
  """
  kernel = np.asarray(kernel, np.float32)
  height, width = image_shape[:2]
  order = np.argsort(-np.linalg.norm(kernel, axis=0), kind="stable")[:64]
  units = kernel[:, order].T.reshape(len(order), height, width, -1).mean(-1)
  columns = int(np.ceil(np.sqrt(len(units))))
  rows = -(-len(units) // columns)
  tiles = np.full((rows * columns, height + 2, width + 2), np.nan, np.float32)
  tiles[: len(units), 1:-1, 1:-1] = units
  grid = tiles.reshape(rows, columns, height + 2, width + 2).swapaxes(1, 2)
  mosaic = grid.reshape(rows * (height + 2), columns * (width + 2))

  # A few outliers among the weights would make everything else pale.
  limit = float(np.percentile(np.abs(units), 99.5)) or 1.0
  figure, axes = figure_of(WIDTH * 0.87 * mosaic.shape[0] / mosaic.shape[1] + 0.4)
  picture = axes.imshow(mosaic, "RdBu", vmin=-limit, vmax=limit, interpolation="nearest")
  axes.set_axis_off()
  axes.set_title(f"First layer: the {len(units)} of {kernel.shape[1]} units of largest norm")
  figure.colorbar(picture, ax=axes, extend="both", fraction=0.04, pad=0.02, label="weight")
  return figure


def confusion_matrix(labels: Any, predictions: Any, class_names: Sequence[str]) -> Figure:
  """Draws how often each class was taken for each other; the redder, the larger the share.

  Args:
    labels: int [N], the true classes.
    predictions: int [N], the predicted classes.
    class_names: their names, one per class.
  """
  count = len(class_names)
  counts = np.zeros((count, count), int)
  np.add.at(counts, (np.asarray(labels), np.asarray(predictions)), 1)
  errors = counts * (1 - np.eye(count, dtype=int))
  share = errors / np.maximum(counts.sum(1, keepdims=True), 1)
  limit = share.max() or 1.0

  figure, axes = figure_of(WIDTH * 0.88)
  picture = axes.imshow(
    np.where(np.eye(count, dtype=bool), np.nan, share), "Reds", vmin=0, vmax=limit
  )
  axes.set_facecolor("#d9e6f2")  # the diagonal
  for row, column in np.argwhere(counts):
    color = "white" if share[row, column] > 0.6 * limit else "black"
    axes.text(
      column,
      row,
      counts[row, column],
      color=color,
      ha="center",
      va="center",
      fontsize=11 if count <= 10 else 7,
    )
  names = list(map(literal, class_names))
  long = max(map(len, class_names)) > 3
  axes.set_xticks(range(count), names)
  if long:
    for label in axes.get_xticklabels():
      label.set(rotation=45, ha="right", rotation_mode="anchor")
  axes.set_yticks(range(count), names)
  axes.set(xlabel="predicted", ylabel="true")
  axes.set_title(_errors_of(errors.sum(), counts.sum()))
  figure.colorbar(
    picture,
    ax=axes,
    fraction=0.045,
    pad=0.02,
    label="share of the true class",
    format=PercentFormatter(1.0),
  )
  return figure


def worst_mistakes(
  split: Examples, logits: Any, class_names: Sequence[str], count: int = 25, order: str = ""
) -> Figure:
  """Draws the misclassified examples of largest cross-entropy, the worst first.

  Args:
    split: the examples. Their images are [N, H, W], [N, H, W, 1] or [N, H, W, 3], uint8, or float
      in 0..1.
    logits: float [N, classes].
    class_names: their names, one per class.
    count: how many to draw at most.
    order: in words, how the images are counted, whose numbers are drawn then; '' draws none.
  """
  images, labels = map(np.asarray, split)
  log_probabilities = scipy.special.log_softmax(np.asarray(logits, np.float64), axis=-1)
  predictions = log_probabilities.argmax(-1)
  loss = -log_probabilities[np.arange(len(labels)), labels]
  wrong = np.flatnonzero(predictions != labels)
  chosen = wrong[np.argsort(-loss[wrong], kind="stable")][:count]
  rows = -(-len(chosen) // 5)
  names = [(class_names[labels[index]], class_names[predictions[index]]) for index in chosen]
  gap = " " if all(len(true + predicted) < 10 for true, predicted in names) else "\n"
  above = 0.3 if gap == " " else 0.6  # inches, for the title and the number of the picture before

  figure = Figure((WIDTH, 0.8 + rows * (WIDTH / 5 + above)), layout="constrained")
  figure.suptitle(f"{_errors_of(len(wrong), len(labels))}, the worst: true → predicted, how sure")
  if order:
    figure.supxlabel(f"images are counted {literal(order)}", fontsize=9)
  axes = figure.subplots(max(rows, 1), 5).ravel()
  for ax in axes:
    ax.set_axis_off()
  for ax, index, (true, predicted) in zip(axes, chosen, names, strict=False):
    image = images[index]
    ax.imshow(image, "gray_r", vmin=0, vmax=255 if image.dtype == np.uint8 else 1.0)
    sure = np.exp(log_probabilities[index].max())
    ax.set_title(f"{literal(true)} →{gap}{literal(predicted)} {sure:.0%}", fontsize=11)
    if order:
      ax.text(
        0.5, -0.02, f"image {index}", fontsize=9, transform=ax.transAxes, ha="center", va="top"
      )
  return figure


def reliability_diagram(labels: Any, probabilities: Any, bins: int = 10) -> Figure:
  """Draws how often the model is right against how sure it is; see expected_calibration_error."""
  counts, confidence, accuracy = calibration_bins(labels, probabilities, bins)
  figure = Figure((WIDTH, 6.0), layout="constrained")
  axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
  left, some = np.arange(bins) / bins, counts > 0
  axes.plot([0, 1], [0, 1], "--", color="#555555", label="perfectly calibrated")
  axes.bar(
    left[some],
    accuracy[some],
    1 / bins,
    align="edge",
    color=COLORS[0],
    edgecolor="white",
    label="accuracy",
  )
  axes.plot(
    confidence[some], accuracy[some], "o", color=COLORS[1], label="at the bin's mean confidence"
  )
  axes.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1.03))
  error = expected_calibration_error(labels, probabilities, bins)
  axes.set_title(f"Expected calibration error {error:.2%} over {counts.sum():,} examples")
  axes.legend(loc="upper left", frameon=False)
  below.bar(left, counts, 1 / bins, align="edge", color="#999999", edgecolor="white")
  below.set_yscale("symlog", linthresh=1)
  below.set(xlabel="confidence: probability of the predicted class", ylabel="examples")
  return figure


def distortions(image: Any, distorted: Any) -> Figure:
  """Draws an image, large, and beside it distortions of it in two rows.

  Args:
    image: [H, W], [H, W, 1] or [H, W, 3], in 0..255.
    distorted: [N, ...] of the same shape and range, as `augment.distort` gives them.
  """
  columns = -(-len(distorted) // 2)
  figure = Figure((WIDTH, 2 * WIDTH / (columns + 2) + 0.5), layout="constrained")
  grid = figure.add_gridspec(2, columns + 2)
  _picture(figure.add_subplot(grid[:, :2]), image)
  for index, one in enumerate(distorted):
    row, column = divmod(index, columns)
    _picture(figure.add_subplot(grid[row, column + 2]), one)
  figure.suptitle(f"An image, and {len(distorted)} distortions of it")
  return figure


def _picture(axes, image):
  image = np.asarray(image)
  gray = image.ndim == 2 or image.shape[-1] == 1
  axes.imshow(
    image.reshape(image.shape[:2]) if gray else image.round().astype(np.uint8),
    "gray_r",
    vmin=0,
    vmax=255,
    interpolation="nearest",
  )
  axes.set(xticks=(), yticks=())


def figure_of(height: float) -> tuple[Figure, Axes]:
  """Returns a figure of that height in inches, and its only axes."""
  figure = Figure((WIDTH, height), layout="constrained")
  return figure, figure.subplots()


def _errors_of(errors, total):
  return f"Errors: {errors:,} of {total:,} ({errors / max(total, 1):.2%})"
