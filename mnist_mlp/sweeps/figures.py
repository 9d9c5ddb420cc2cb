"""Pictures of what a sweep found.

See run/figures.py for what all figures have in common.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from mnist_mlp.run.curves import SMALLEST_ERROR
from mnist_mlp.run.figures import COLORS, Figure, figure_of, literal


def sweep(fields: Mapping[str, Sequence[Any]], errors: Any) -> Figure:
  """Draws what a sweep found: a curve over its one field, or parallel coordinates over several.

  Args:
    fields: for each swept field, by its dotted name, its value in each run; numbers or anything
      else. The seed counts as a field only if there is no other.
    errors: float [runs], validation error in per cent.
  """
  errors = np.maximum(np.asarray(errors, np.float64), SMALLEST_ERROR)
  shown = {name: values for name, values in fields.items() if name != "seed"} or fields
  # Seeds are names, not quantities.
  axes_of = {
    name: _Scale(map(str, values) if name == "seed" else values) for name, values in shown.items()
  }
  if len(axes_of) == 1:
    (name,) = axes_of
    return _sweep_curve(name, axes_of[name], errors)
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


def _sweep_curve(name, scale, errors):
  figure, axes = figure_of(4.5)
  places = scale.values if scale.numeric else scale.positions
  by_place = defaultdict(list)
  for place, error in zip(places, errors, strict=True):
    by_place[place].append(error)
  means = [np.mean(by_place[place]) for place in sorted(by_place)]
  if scale.numeric and len(by_place) > 1:
    axes.plot(sorted(by_place), means, color=COLORS[0], linewidth=1.6)
  axes.plot(places, errors, "o", color=COLORS[0], alpha=0.7)
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
  figure, axes = figure_of(5.0)
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
