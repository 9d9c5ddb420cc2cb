"""What recipes reach: the file of results, its table and picture, the figures in the headers.

The file holds 'environments', a list, and 'recipes', by their names. A recipe has

    config    what differs from the default
    seeds     by seed: 'error' on test, that of its 'halves', and the 'calibration_error', all in
              per cent; 'seconds', null if they were not measured; the index of its 'environment'
"""

import json
import os
import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pages
from matplotlib.figure import Figure
from ml_collections import ConfigDict

from mnist_mlp import config as config_lib
from mnist_mlp.errors import RunError
from mnist_mlp.run.calibration import expected_calibration_error

# What others published for the method of a recipe: test error in per cent, and where.
PUBLISHED = {
  "adam": "1.60 (Keras's example)",
  "elastic": "0.7 (Simard 2003)",
  "committee of deep": "0.39 (Meier 2011, 25 nets)",
  "deep": "0.35 (Ciresan 2010, 4 times the weights)",
  "deep_big": "0.35 (Ciresan 2010)",
  "dropout": "1.06 (Srivastava 2014)",
  "lab_tanh": "12.93 (its program)",
  "streamed": "about 2 (its program)",
  "streamed loss.smallest_probability=1e-7 model.init=glorot model.init_scale=1": (
    "about 2 (its program)"
  ),
}


class Measurement(NamedTuple):
  """What one seed of a recipe reached, or a committee of several."""

  name: str  # of the recipe, or 'committee of N <recipe>', with its overrides
  config: Mapping[str, Any]  # see `changes_to_default`
  seed: int | str  # of a committee: its members', '0,1,2'
  scores: Mapping[str, Any]  # see `score`, and 'environment'
  seconds: float | None  # of a whole run, if they were measured


def score(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
  """Returns the error in per cent, that of both halves, and the expected calibration error.

  Args:
    probabilities: float [N, classes].
    labels: int [N].
  """
  wrong = probabilities.argmax(-1) != labels
  halves = np.array_split(wrong, 2)
  return {
    "error": round(100 * float(wrong.mean()), 4),
    "halves": [round(100 * float(half.mean()), 4) for half in halves],
    "calibration_error": round(100 * expected_calibration_error(labels, probabilities), 3),
  }


def read(path: Path) -> dict[str, Any]:
  """Returns the content of the file of results; an empty one if there is none."""
  try:
    results = json.loads(path.read_text())
  except FileNotFoundError:
    return {"environments": [], "recipes": {}}
  except (OSError, ValueError) as error:
    raise RunError(f"{path} cannot be read: {error}; move it away to start anew") from error
  if not isinstance(results, dict) or set(results) != {"environments", "recipes"}:
    raise RunError(f"{path} holds no results of recipes; move it away to start anew")
  return results


def write(path: Path, results: Mapping[str, Any]) -> None:
  """Writes the file, all of it or nothing."""
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_name(f".{path.name}.{os.getpid()}")
  temporary.write_text(json.dumps(results, indent=1) + "\n")
  temporary.replace(path)


def changes_to_default(config: ConfigDict) -> dict[str, Any]:
  """Returns the fields that make a recipe: those that differ from the default.

  The seed does not count, nor where the data is.
  """
  default = config_lib.flatten(config_lib.default())
  places = ("data_dir", "manual_dir", "offline", "placement", "validation_examples")
  apart = ("seed", *(f"data.{name}" for name in places))
  changes = {
    name: value
    for name, value in sorted(config_lib.flatten(config).items())
    if name not in apart and value != default[name]
  }
  return json.loads(json.dumps(changes))  # tuples as lists


def record(results: dict[str, Any], m: Measurement) -> None:
  """Adds a measurement to the results, in place.

  Seconds that are known already stay known. Results of another config, from before the recipe was
  changed, go.
  """
  if results["recipes"].get(m.name, {}).get("config") != m.config:
    results["recipes"][m.name] = {"config": m.config, "seeds": {}}
  seeds = results["recipes"][m.name]["seeds"]
  environment = m.scores["environment"]
  if environment not in results["environments"]:
    results["environments"].append(environment)
  known = seeds.get(str(m.seed), {}).get("seconds")
  seeds[str(m.seed)] = {
    **m.scores,
    "environment": results["environments"].index(environment),
    "seconds": known if m.seconds is None else m.seconds,
  }


def mean_and_std(values: Sequence[float]) -> str:
  """Returns '1.41 ± 0.05', with the standard deviation of a sample; one value has none."""
  mean = f"{statistics.mean(values):.2f}"
  return f"{mean} ± {statistics.stdev(values):.2f}" if len(values) > 1 else mean


def measured_line(entry: Mapping[str, Any]) -> str:
  """Returns the line that a config's header has of its results."""
  errors = [seed["error"] for seed in entry["seeds"].values()]
  seeds = _count(len(errors), "seed")
  return f"Measured, trained on all of train: {mean_and_std(errors)}% test error, {seeds}."


def _count(number: int, noun: str) -> str:
  return f"{number} {noun}" + ("s" if number != 1 else "")


def _published(name: str) -> str:
  return PUBLISHED.get(re.sub(r"^committee of \d+", "committee of", name), "none")


def table(results: Mapping[str, Any]) -> str:
  """Returns a Markdown table of everything in the results, and where they were measured."""
  columns = (
    "recipe",
    "published error, %",
    "error, % (seeds)",
    "on each half of test, %",
    "calibration error, %",
    "seconds",
  )
  rows: list[Sequence[str]] = [columns, ["---"] * len(columns)]
  for name, entry in results["recipes"].items():
    seeds = entry["seeds"].values()
    halves = [statistics.mean(seed["halves"][half] for seed in seeds) for half in range(2)]
    seconds = [seed["seconds"] for seed in seeds if seed["seconds"] is not None]
    rows.append(
      (
        f"`{name}`",
        _published(name),
        f"{mean_and_std([seed['error'] for seed in seeds])} ({len(seeds)})",
        f"{halves[0]:.2f}, {halves[1]:.2f}",
        mean_and_std([seed["calibration_error"] for seed in seeds]),
        f"{statistics.mean(seconds):.0f}" if seconds else "not measured",
      )
    )
  machines = {
    f"{e['devices']}, {_count(e['cpu_cores'], 'core')} of {e['processor']}, "
    f"JAX {e['packages']['jax']}"
    for e in results["environments"]
  }
  lines = ["| " + " | ".join(row) + " |" for row in rows]
  return "\n".join([*lines, "", "Measured on " + "; ".join(sorted(machines)) + "."])


def plot(results: Mapping[str, Any], path: Path) -> None:
  """Draws the test error of each recipe as it stands in configs/, beside what was published."""
  names = [name for name in results["recipes"] if "=" not in name and "committee" not in name]
  names.sort(key=lambda name: -_mean_error(results, name))
  figure = Figure((8, 0.5 + 0.36 * len(names)), layout="constrained")
  axes = figure.subplots()
  for place, name in enumerate(names):
    errors = [seed["error"] for seed in results["recipes"][name]["seeds"].values()]
    mean, published = statistics.mean(errors), re.search(r"[\d.]+", _published(name))
    axes.plot(errors, [place] * len(errors), "o", color="#0072B2", alpha=0.35, markersize=5)
    axes.plot(mean, place, "|", color="#0072B2", markersize=16, markeredgewidth=2)
    axes.annotate(f"{mean:.2f}", (mean, place), (8, 6), textcoords="offset points", fontsize=9)
    if published:
      axes.plot(float(published[0]), place, "D", color="#D55E00", markersize=6, zorder=0)
  axes.set_xscale("log")
  axes.set_xlim(0.28, 32)
  axes.set_xticks([0.3, 0.5, 1, 2, 5, 10, 20], ["0.3", "0.5", "1", "2", "5", "10", "20"])
  axes.minorticks_off()
  axes.set_yticks(range(len(names)), names)
  axes.set_xlabel("test error, %")
  axes.grid(True, axis="x", color="#e5e5e5", linewidth=0.6)
  axes.set_axisbelow(True)
  seeds = axes.plot([], [], "o", color="#0072B2", alpha=0.35, label="a seed")
  mean_of = axes.plot([], [], "|", color="#0072B2", markersize=12, label="their mean")
  others = axes.plot([], [], "D", color="#D55E00", label="published")
  axes.legend(handles=[*seeds, *mean_of, *others], frameon=False, loc="lower left")
  figure.savefig(path, dpi=100)


def _mean_error(results: Mapping[str, Any], name: str) -> float:
  seeds = results["recipes"][name]["seeds"].values()
  return statistics.mean(seed["error"] for seed in seeds)


def update_docs(results: Mapping[str, Any], root: Path) -> None:
  """Brings docs/results.md, docs/results.png and the headers of configs/ up to date.

  The line of a header follows what it says of the recipe, or replaces the line that it has.
  """
  page = root / "docs" / "results.md"
  page.write_text(pages.replace_part(page.read_text(), "table", "recipes", table(results)))
  plot(results, root / "docs" / "results.png")
  for name, entry in results["recipes"].items():
    path = root / "configs" / f"{name}.py"
    if path.exists():  # else it is a committee, or has overrides
      _, header, code = path.read_text().split('"""', 2)
      header = re.sub(r"\n+Measured.*\n", "\n", header)
      path.write_text(f'"""{header}\n{measured_line(entry)}\n"""{code}')
