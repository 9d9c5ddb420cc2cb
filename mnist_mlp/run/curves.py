"""Learning curves: loss and error of runs against epochs.

See run/figures.py for what all figures have in common.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, StrMethodFormatter

from mnist_mlp.run.figures import COLORS, WIDTH, Figure

SMALLEST_ERROR = 0.01  # per cent; a logarithmic axis cannot show 0


def learning_curves(runs: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]]) -> Figure:
  """Draws loss and error against epochs, the mean and the range over each recipe's seeds.

  Args:
    runs: for each recipe, for each seed, the rows of its metrics.jsonl: 'epoch' and any of
      'train/loss', 'train/accuracy', 'validation/loss', 'validation/accuracy'.
  """
  figure = Figure((WIDTH, 4.2 + 0.2 * (len(runs) // 3)), layout="constrained")
  loss_axes, error_axes = figure.subplots(1, 2)
  for index, seeds in enumerate(runs.values()):
    color = COLORS[index % len(COLORS)]
    for split, style in (("train", ":"), ("validation", "-")):
      _band(loss_axes, _over_seeds(seeds, f"{split}/loss"), color, style)
      accuracies = _over_seeds(seeds, f"{split}/accuracy")
      _band(error_axes, {e: _errors(values) for e, values in accuracies.items()}, color, style)
  for axes, name in ((loss_axes, "loss"), (error_axes, "error, %")):
    axes.set_yscale("log")
    axes.set(xlabel="epoch", title=name)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.minorticks_off()
    axes.grid(True, color="#e5e5e5", linewidth=0.6)
  lines = [
    Line2D([], [], color=COLORS[index % len(COLORS)], label=name, linewidth=2)
    for index, name in enumerate(runs)
  ]
  lines += [
    Line2D([], [], color="#555555", linestyle=":", label="train"),
    Line2D([], [], color="#555555", label="validation"),
  ]
  figure.legend(handles=lines, loc="outside lower center", ncols=4, frameon=False)
  return figure


def _over_seeds(seeds: Sequence[Sequence[Mapping[str, Any]]], key: str) -> dict[float, Any]:
  """Returns the values of `key` at each epoch, in the order of the epochs; only finite ones."""
  values = defaultdict(list)
  for rows in seeds:
    for row in rows:
      value = row.get(key)
      if value is not None and np.isfinite(value):
        values[row["epoch"]].append(value)
  return {epoch: values[epoch] for epoch in sorted(values)}


def _errors(accuracies: Any) -> np.ndarray:
  """Returns errors in per cent that a logarithmic axis can show."""
  return np.maximum(100 * (1 - np.asarray(accuracies, np.float64)), SMALLEST_ERROR)


def _band(axes: Axes, values: Mapping[float, Any], color: str, style: str) -> None:
  """Draws the mean of the values at each epoch as a line, and their range as a band."""
  if not values:
    return
  epochs, of_epochs = list(values), list(values.values())
  axes.plot(epochs, [np.mean(v) for v in of_epochs], style, color=color, linewidth=1.6)
  low, high = ([function(v) for v in of_epochs] for function in (np.min, np.max))
  axes.fill_between(epochs, low, high, color=color, alpha=0.2, linewidth=0)
