"""The tables and the picture of what `benchmark.py` measured."""

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pages
from contestants import CASES
from matplotlib.figure import Figure

OURS = "mnist_mlp"
LIMITS = ("limit: products of these shapes", "limit: a large product")
WARM_UP = 3  # PyTorch slows down until its third epoch, when Adam's moments have become denormal.


def part_table(part: str, content: Mapping[str, Any]) -> str:
  """Returns a part's results as Markdown tables, and where they were measured."""
  e = content["environment"]
  versions = ", ".join(
    f"{name} {e['packages'][name]}" for name in ("jax", "torch", "keras", "scikit-learn")
  )
  rows = "\n".join(RENDERERS[part](content["measured"])).strip()
  return f"{rows}\n\n{e['devices']}, {e['cpu_cores']} cores of {e['processor']}; {versions}."


def page_of(part: str) -> str:
  """Returns which page of docs/ shows the tables of a part."""
  return "performance_details.md" if part == "scaling" else "performance.md"


def update_pages(docs: Path, results: Mapping[str, Any]) -> None:
  """Brings the tables of these results up to date in the pages of docs/."""
  for part, content in results.items():
    page = docs / page_of(part)
    text = pages.replace_part(page.read_text(), part, "benchmark", part_table(part, content))
    page.write_text(text)


def rows_of_epoch(measured: Mapping[str, Any]) -> list[str]:
  """A table for each case: the shares of the limits are within the turns, like the ratios."""
  lines = []
  for case, found in measured.items():
    lines += [
      f"| {case} | seconds an epoch: median (range) | images/s | times ours | share of the limit"
      f": its shapes; large | process, to the end of epoch {WARM_UP}, s | peak memory, MiB |",
      "|---|---|---|---|---|---|---|",
    ]
    for name, values in found.items():
      seconds = values["seconds"]
      shares = [
        statistics.median([a / b for a, b in zip(found[limit]["seconds"], seconds, strict=True)])
        for limit in LIMITS
      ]
      middle = statistics.median(seconds)
      lines.append(
        f"| {name} | {middle:#.3g} ({min(seconds):#.3g} to {max(seconds):#.3g}) | "
        f"{CASES[case].images / middle:,.0f} | {values['ratio']:.2f} | "
        f"{shares[0]:.2f}; {shares[1]:.2f} | {values['whole_process']:.1f} | "
        f"{values['memory']} |"
      )
    lines.append("")
  return lines


def rows_of_turns(measured: Mapping[str, Any]) -> list[str]:
  """A table of seconds and ratios."""
  lines = ["| | seconds: median (range) | times the first |", "|---|---|---|"]
  for name, values in measured.items():
    seconds = values["seconds"]
    lines.append(
      f"| {name} | {statistics.median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f}) | "
      f"{values['ratio']:.2f} |"
    )
  return lines


def rows_of_sweep(measured: Mapping[str, Any]) -> list[str]:
  """A table of the sweeps."""
  lines = ["| | a run alone, s | the sweep, s | times faster |", "|---|---|---|---|"]
  return lines + [
    f"| {name} | {statistics.median(v['seconds_alone']):.1f} | "
    f"{statistics.median(v['seconds_together']):.1f} | {v['times_faster']:.1f} |"
    for name, v in measured.items()
  ]


def rows_of_scaling(measured: Mapping[str, Any]) -> list[str]:
  """A table for each axis."""
  lines = []
  for axis, found in measured.items():
    lines += [
      f"| {axis} | seconds an epoch | GFLOP/s in products | peak memory, MiB |",
      "|---|---|---|---|",
    ]
    lines += [
      f"| {int(value):,} | {v['seconds']:#.3g} | {v['gflops_per_second']:.0f} | {v['memory']} |"
      for value, v in found.items()
    ]
    lines.append("")
  return lines


RENDERERS = {
  "epoch": rows_of_epoch,
  "start": rows_of_turns,
  "job": rows_of_turns,
  "overhead": rows_of_turns,
  "sweep": rows_of_sweep,
  "scaling": rows_of_scaling,
}


def plot(measured: Mapping[str, Any], path: Path) -> None:
  """Draws the seconds of an epoch as bars, the limit as a line, for the cases with Adam."""
  cases = {case: found for case, found in measured.items() if case.startswith("adam")}
  if not cases:
    return
  figure = Figure((9, 3.2), layout="tight")
  axes = figure.subplots(1, len(cases), sharey=True, squeeze=False)
  for axis, (case, found) in zip(axes[0], cases.items(), strict=True):
    names = [name for name in found if name not in LIMITS][::-1]
    medians = [statistics.median(found[name]["seconds"]) for name in names]
    limit = statistics.median(found[LIMITS[1]]["seconds"])
    axis.barh(names, medians, color=["C0" if name == OURS else "C7" for name in names])
    axis.axvline(limit, color="C3", linestyle="--")
    for i, value in enumerate(medians):
      axis.text(value, i, f" {value:#.3g}", va="center", fontsize=8)
    axis.set_title(f"batch {CASES[case].batch_size}: seconds an epoch", fontsize=9)
    axis.set_xlim(0, 1.2 * max(medians))
    axis.tick_params(labelsize=8)
  figure.text(0.99, 0.01, "dashed: its matrix products alone", ha="right", fontsize=7, color="C3")
  path.parent.mkdir(parents=True, exist_ok=True)
  figure.savefig(path, dpi=110)
