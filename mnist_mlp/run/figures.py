"""Arrays in, matplotlib figures out: no files, no windows, no global state.

`figure.savefig(path)` writes a figure, `to_image` makes an array of it. All figures are 800 pixels
wide at 100 dots per inch, on white, so that they read alike on light and on dark pages.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator, PercentFormatter, StrMethodFormatter

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
  mosaic = np.full((rows * columns, height + 2, width + 2), np.nan, np.float32)
  mosaic[: len(units), 1:-1, 1:-1] = units
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
  counts = np.zeros((count, count), int)
  np.add.at(counts, (np.asarray(labels), np.asarray(predictions)), 1)
  errors = counts * (1 - np.eye(count, dtype=int))
  share = errors / np.maximum(counts.sum(1, keepdims=True), 1)
  limit = share.max() or 1.0

  figure, axes = _figure(_WIDTH * 0.88)
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
  tilt = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if long else {}
  axes.set_xticks(range(count), names, **tilt)
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
  images: Any, labels: Any, logits: Any, class_names: Sequence[str], count: int = 25
) -> Figure:
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
    sure = np.exp(log_probabilities[index].max())
    ax.set_title(f"{literal(true)} →{gap}{literal(predicted)} {sure:.0%}", fontsize=11)
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
      errors = [
        np.maximum(100 * (1 - np.asarray(values)), _SMALLEST_ERROR) for values in accuracies
      ]
      _band(error_axes, epochs, errors, color, style)
  for axes, name in ((loss_axes, "loss"), (error_axes, "error, %")):
    axes.set_yscale("log")
    axes.set(xlabel="epoch", title=name)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.minorticks_off()
    axes.grid(True, color="#e5e5e5", linewidth=0.6)
  lines = [
    Line2D([], [], color=_COLORS[index % len(_COLORS)], label=name, linewidth=2)
    for index, name in enumerate(runs)
  ]
  lines += [
    Line2D([], [], color="#555555", linestyle=":", label="train"),
    Line2D([], [], color="#555555", label="validation"),
  ]
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
  axes.bar(
    left[some],
    accuracy[some],
    1 / bins,
    align="edge",
    color=_COLORS[0],
    edgecolor="white",
    label="accuracy",
  )
  axes.plot(
    confidence[some], accuracy[some], "o", color=_COLORS[1], label="at the bin's mean confidence"
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
    image.reshape(image.shape[:2]) if gray else image.round().astype(np.uint8),
    "gray_r",
    vmin=0,
    vmax=255,
    interpolation="nearest",
  )
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
    epochs,
    [np.min(v) for v in values],
    [np.max(v) for v in values],
    color=color,
    alpha=0.2,
    linewidth=0,
  )


def _calibration(labels, probabilities, bins):
  """Returns for each bin its examples, mean confidence and accuracy (both 0 where empty)."""
  probabilities = np.asarray(probabilities, np.float64)
  confidence = probabilities.max(-1)
  correct = probabilities.argmax(-1) == np.asarray(labels)
  index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
  counts = np.bincount(index, minlength=bins)
  sums = [np.bincount(index, weights, bins) for weights in (confidence, correct)]
  return counts, *(total / np.maximum(counts, 1) for total in sums)


def sweep(fields: Mapping[str, Sequence[Any]], errors: Any) -> Figure:
  """Draws what a sweep found: a curve over its one field, or parallel coordinates over several.

  Args:
    fields: for each swept field, by its dotted name, its value in each run; numbers or anything
      else. The seed counts as a field only if there is no other.
    errors: float [runs], validation error in per cent.
  """
  errors = np.maximum(np.asarray(errors, np.float64), _SMALLEST_ERROR)
  shown = {name: values for name, values in fields.items() if name != "seed"} or fields
  # Seeds are names, not quantities.
  axes_of = {
    name: _Scale(map(str, values) if name == "seed" else values) for name, values in shown.items()
  }
  if len(axes_of) == 1:
    return _sweep_curve(*axes_of.items(), errors)
  return _parallel_coordinates(axes_of, errors)


class _Scale:
  """Where the values of a field lie: numbers in proportion or by their logarithm, others evenly."""

  def __init__(self, values):
    values = list(values)
    numbers = all(isinstance(value, int | float) for value in values)
    self.values = values if numbers else [literal(str(value)) for value in values]
    self.distinct = sorted(set(self.values)) if numbers else list(dict.fromkeys(self.values))
    low, high = self.distinct[0], self.distinct[-1]
    self.numeric = numbers
    self.logarithmic = numbers and low > 0 and high >= 20 * low
    if self.logarithmic:
      self.positions = np.log(self.values)
    else:
      self.positions = np.array(
        self.values if numbers else [self.distinct.index(v) for v in self.values], np.float64
      )

  def unit(self):
    """Returns the positions from 0 to 1, [runs]."""
    low, high = self.positions.min(), self.positions.max()
    return (self.positions - low) / (high - low) if high > low else np.full(len(self.values), 0.5)


def _sweep_curve(item, errors):
  name, scale = item
  figure, axes = _figure(4.5)
  places = scale.values if scale.numeric else scale.positions
  by_place = defaultdict(list)
  for place, error in zip(places, errors, strict=True):
    by_place[place].append(error)
  means = [np.mean(by_place[place]) for place in sorted(by_place)]
  if scale.numeric and len(by_place) > 1:
    axes.plot(sorted(by_place), means, color=_COLORS[0], linewidth=1.6)
  axes.plot(places, errors, "o", color=_COLORS[0], alpha=0.7)
  if scale.logarithmic:
    axes.set_xscale("log")
  if not scale.numeric:
    axes.set_xticks(range(len(scale.distinct)), scale.distinct, rotation=30, ha="right")
  _error_scale(axes.yaxis, axes.set_yscale, errors)
  axes.set(xlabel=name, ylabel="validation error, %")
  axes.set_title(f"{len(errors)} runs, the best {errors.min():.2f}%")
  axes.grid(True, color="#e5e5e5", linewidth=0.6)
  return figure


def _error_scale(axis, set_scale, errors):
  """Takes a logarithmic scale, with plain numbers, if the errors differ much."""
  if errors.max() > 5 * errors.min():
    set_scale("log")
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_minor_locator(NullLocator())
  axis.set_major_formatter(StrMethodFormatter("{x:g}"))


def _parallel_coordinates(scales, errors):
  """One vertical axis a field, one line a run; the best runs are drawn last, and darkest."""
  figure, axes = _figure(5.0)
  units = [scale.unit() for scale in scales.values()]
  norm = LogNorm(errors.min(), max(errors.max(), errors.min() * 1.01))
  colors = matplotlib.colormaps["viridis"]
  for run in np.argsort(-errors, kind="stable"):
    best = run == errors.argmin()
    axes.plot(
      [unit[run] for unit in units],
      color=colors(norm(errors[run])),
      linewidth=3.0 if best else 1.2,
      alpha=1.0 if best else 0.7,
    )
  for place, scale in enumerate(scales.values()):
    axes.axvline(place, color="#555555", linewidth=0.8)
    for value, height in _ticks(scale):
      axes.annotate(
        value,
        (place, height),
        (4, 0),
        textcoords="offset points",
        fontsize=8,
        va="center",
        bbox={"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 1},
      )
  axes.set_xticks(range(len(scales)), [name.replace(".", ".\n") for name in scales])
  axes.set_yticks([])
  axes.set_frame_on(False)
  axes.set_title(f"{len(errors)} runs, the best {errors.min():.2f}%")
  bar = figure.colorbar(
    ScalarMappable(norm, colors), ax=axes, fraction=0.04, label="validation error, %"
  )
  bar.ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
  bar.ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
  bar.ax.minorticks_off()
  return figure


def _ticks(scale):
  """Returns (text, height in 0..1) of at most nine of a field's values."""
  places = dict(zip(scale.values, scale.unit(), strict=True))
  distinct = scale.distinct
  if len(distinct) > 9:
    # Those nearest to five evenly spaced heights.
    heights, values = np.array(list(places.values())), list(places)
    distinct = {values[np.abs(heights - h).argmin()] for h in np.linspace(0, 1, 5)}
  return [(f"{v:.3g}" if isinstance(v, float) else str(v), places[v]) for v in distinct]
