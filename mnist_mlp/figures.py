"""Arrays in, matplotlib figures out: no files, no windows, no global state.

`figure.savefig(path)` writes a figure, `to_image` makes an array of it. All figures are 800 pixels
wide at 100 dots per inch, on white, so that they read alike on light and on dark pages.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, PercentFormatter, StrMethodFormatter
from sklearn.metrics import confusion_matrix as count_confusions

_WIDTH = 8.0  # inches
# Okabe and Ito's colours, which the colour-blind can tell apart.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_SMALLEST_ERROR = 0.01  # per cent; a logarithmic axis cannot show 0


def to_image(figure: Figure, dpi: int = 100) -> np.ndarray:
  """Returns the figure as it looks at `dpi` dots per inch, uint8 [H, W, 3]."""
  figure.set_dpi(dpi)
  canvas = FigureCanvasAgg(figure)
  canvas.draw()
  return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()


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
  mosaic = np.full((rows * columns, height + 2, width + 2), np.nan, np.float32)
  mosaic[:len(units), 1:-1, 1:-1] = units
  mosaic = mosaic.reshape(rows, columns, height + 2, width + 2).swapaxes(1, 2)
  mosaic = mosaic.reshape(rows * (height + 2), columns * (width + 2))

  # A few outliers among the weights would make everything else pale.
  limit = float(np.percentile(np.abs(units), 99.5)) or 1.0
  figure, axes = _figure(_WIDTH * 0.87 * mosaic.shape[0] / mosaic.shape[1] + 0.4)
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
  counts = count_confusions(np.asarray(labels), np.asarray(predictions), labels=range(count))
  errors = counts * (1 - np.eye(count, dtype=int))
  share = errors / np.maximum(counts.sum(1, keepdims=True), 1)
  limit = share.max() or 1.0

  figure, axes = _figure(_WIDTH * 0.88)
  picture = axes.imshow(
      np.where(np.eye(count, dtype=bool), np.nan, share), "Reds", vmin=0, vmax=limit)
  axes.set_facecolor("#d9e6f2")  # the diagonal
  for row, column in np.argwhere(counts):
    color = "white" if share[row, column] > 0.6 * limit else "black"
    axes.text(
        column, row, counts[row, column], color=color, ha="center", va="center",
        fontsize=11 if count <= 10 else 7)
  long = max(map(len, class_names)) > 3
  tilt = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if long else {}
  axes.set_xticks(range(count), class_names, **tilt)
  axes.set_yticks(range(count), class_names)
  axes.set(xlabel="predicted", ylabel="true")
  axes.set_title(_errors_of(errors.sum(), counts.sum()))
  figure.colorbar(
      picture, ax=axes, fraction=0.045, pad=0.02, label="share of the true class",
      format=PercentFormatter(1.0))
  return figure


def worst_mistakes(
    images: Any, labels: Any, logits: Any, class_names: Sequence[str], count: int = 25) -> Figure:
  """Draws the misclassified examples of largest cross-entropy, the worst first.

  Args:
    images: [N, H, W], [N, H, W, 1] or [N, H, W, 3], uint8, or float in 0..1.
    labels: int [N], the true classes.
    logits: float [N, classes].
    class_names: their names, one per class.
    count: how many to draw at most.
  """
  images, labels = np.asarray(images), np.asarray(labels)
  log_probabilities = _log_softmax(np.asarray(logits, np.float64))
  predictions = log_probabilities.argmax(-1)
  loss = -log_probabilities[np.arange(len(labels)), labels]
  wrong = np.flatnonzero(predictions != labels)
  chosen = wrong[np.argsort(-loss[wrong], kind="stable")][:count]
  rows = -(-len(chosen) // 5)

  figure = Figure((_WIDTH, 0.8 + rows * (_WIDTH / 5 + 0.3)), layout="constrained")
  figure.suptitle(f"{_errors_of(len(wrong), len(labels))}, the worst: true → predicted, how sure")
  axes = figure.subplots(max(rows, 1), 5).ravel()
  for ax in axes:
    ax.set_axis_off()
  for ax, index in zip(axes, chosen, strict=False):
    image = images[index]
    ax.imshow(image, "gray_r", vmin=0, vmax=255 if image.dtype == np.uint8 else 1.0)
    true, predicted = class_names[labels[index]], class_names[predictions[index]]
    gap = " " if len(true + predicted) < 10 else "\n"
    ax.set_title(
        f"{true} →{gap}{predicted} {np.exp(log_probabilities[index].max()):.0%}", fontsize=11)
  return figure


def learning_curves(runs: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]]) -> Figure:
  """Draws loss and error against epochs, the mean and the range over each recipe's seeds.

  Args:
    runs: for each recipe, for each seed, the rows of its metrics.jsonl: 'epoch' and any of
      'train/loss', 'train/accuracy', 'validation/loss', 'validation/accuracy'.
  """
  figure = Figure((_WIDTH, 4.2 + 0.2 * (len(runs) // 3)), layout="constrained")
  loss_axes, error_axes = figure.subplots(1, 2)
  for index, seeds in enumerate(runs.values()):
    color = _COLORS[index % len(_COLORS)]
    for split, style in (("train", ":"), ("validation", "-")):
      _band(loss_axes, *_over_seeds(seeds, f"{split}/loss"), color, style)
      epochs, accuracies = _over_seeds(seeds, f"{split}/accuracy")
      errors = [np.maximum(100 * (1 - np.asarray(values)), _SMALLEST_ERROR)
                for values in accuracies]
      _band(error_axes, epochs, errors, color, style)
  for axes, name in ((loss_axes, "loss"), (error_axes, "error, %")):
    axes.set_yscale("log")
    axes.set(xlabel="epoch", title=name)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.minorticks_off()
    axes.grid(True, color="#e5e5e5", linewidth=0.6)
  lines = [Line2D([], [], color=_COLORS[index % len(_COLORS)], label=name, linewidth=2)
           for index, name in enumerate(runs)]
  lines += [Line2D([], [], color="#555555", linestyle=":", label="train"),
            Line2D([], [], color="#555555", label="validation")]
  figure.legend(handles=lines, loc="outside lower center", ncols=4, frameon=False)
  return figure


def expected_calibration_error(labels: Any, probabilities: Any, bins: int = 15) -> float:
  """Returns the mean distance of confidence and accuracy over bins of equal width, in 0..1.

  See Guo et al., On Calibration of Modern Neural Networks, 2017, https://arxiv.org/abs/1706.04599.

  Args:
    labels: int [N].
    probabilities: float [N, classes].
    bins: how many bins the confidences in 0..1 are sorted into.
  """
  counts, confidence, accuracy = _calibration(labels, probabilities, bins)
  return float(np.sum(counts * np.abs(confidence - accuracy)) / counts.sum())


def reliability_diagram(labels: Any, probabilities: Any, bins: int = 10) -> Figure:
  """Draws how often the model is right against how sure it is; see expected_calibration_error."""
  counts, confidence, accuracy = _calibration(labels, probabilities, bins)
  figure = Figure((_WIDTH, 6.0), layout="constrained")
  axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
  left, some = np.arange(bins) / bins, counts > 0
  axes.plot([0, 1], [0, 1], "--", color="#555555", label="perfectly calibrated")
  axes.bar(left[some], accuracy[some], 1 / bins, align="edge", color=_COLORS[0], edgecolor="white",
           label="accuracy")
  axes.plot(confidence[some], accuracy[some], "o", color=_COLORS[1],
            label="at the bin's mean confidence")
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
  figure = Figure((_WIDTH, 2 * _WIDTH / (columns + 2) + 0.5), layout="constrained")
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
      image.reshape(image.shape[:2]) if gray else image.round().astype(np.uint8), "gray_r",
      vmin=0, vmax=255, interpolation="nearest")
  axes.set(xticks=(), yticks=())


def _figure(height):
  figure = Figure((_WIDTH, height), layout="constrained")
  return figure, figure.subplots()


def _errors_of(errors, total):
  return f"Errors: {errors:,} of {total:,} ({errors / max(total, 1):.2%})"


def _log_softmax(logits):
  shifted = logits - logits.max(-1, keepdims=True)
  return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def _over_seeds(seeds, key):
  """Returns the sorted epochs at which any seed has a finite `key`, and the values at each."""
  values = defaultdict(list)
  for rows in seeds:
    for row in rows:
      value = row.get(key)
      if value is not None and np.isfinite(value):
        values[row["epoch"]].append(value)
  epochs = sorted(values)
  return epochs, [values[epoch] for epoch in epochs]


def _band(axes, epochs, values, color, style):
  if not epochs:
    return
  axes.plot(epochs, [np.mean(v) for v in values], style, color=color, linewidth=1.6)
  axes.fill_between(
      epochs, [np.min(v) for v in values], [np.max(v) for v in values], color=color, alpha=0.2,
      linewidth=0)


def _calibration(labels, probabilities, bins):
  """Returns for each bin its examples, mean confidence and accuracy (both 0 where empty)."""
  probabilities = np.asarray(probabilities, np.float64)
  confidence = probabilities.max(-1)
  correct = probabilities.argmax(-1) == np.asarray(labels)
  index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
  counts = np.bincount(index, minlength=bins)
  sums = [np.bincount(index, weights, bins) for weights in (confidence, correct)]
  return counts, *(total / np.maximum(counts, 1) for total in sums)
