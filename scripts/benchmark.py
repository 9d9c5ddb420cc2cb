"""Times this program beside others at the same work, in one run: medians, ranges, ratios.

    pip install -e '.[benchmark]' && python scripts/benchmark.py [--only=epoch,job,...]

The contestants take turns, A B C A B C ..., and a ratio is the median of the ratios within a turn:
what the machine does besides hits all alike. Parts:

- epoch: a training epoch, steady state, by the contestants of `contestants.py`, next to the time
  of its matrix products alone; where JAX has a GPU, on that, by ours in deterministic mode and
  without command buffers (CUDA graphs) too;
- start: from the start of a process to its first finished chunk, of 50 steps, against importing
  JAX, Flax and Optax and one jitted call;
- job: five epochs as a whole process, summaries and checkpoints included, against PyTorch, and
  against this program with CLU's own TensorFlow writer;
- overhead: what evaluating, logging and saving after every epoch adds to twenty epochs;
- sweep: sweeps against as many runs of `main`, one after the other (three are run, their median
  counts for each);
- scaling: seconds an epoch against batch size, width and number of images.

The data must be prepared (run `mnist_mlp.main` once). Results go to --output, part by part; the
tables of all that it holds are printed as Markdown, and drawn to --plot. With --update_page,
docs/performance.md and docs/performance_details.md get these tables.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import benchmark_tables as tables
from absl import flags
from benchmark_parts import PARTS, environment
from contestants import CASES

from mnist_mlp.errors import RunError, UsageError, listing
from mnist_mlp.run import cli

ROOT = Path(__file__).resolve().parents[1]


def define_flags(values: flags.FlagValues, arguments: Sequence[str]) -> None:
  """Defines this script's flags."""
  del arguments
  flags.DEFINE_list("only", [], "parts to run; none: all", values)
  flags.DEFINE_bool("tables", False, "run nothing, print the tables of what there is", values)
  flags.DEFINE_multi_enum(
    "case", [], list(CASES), "cases of the epoch part to run, the others stay; none: all", values
  )
  flags.DEFINE_integer("rounds", 5, "turns of each contestant", lower_bound=1, flag_values=values)
  flags.DEFINE_string("output", "results/benchmark.json", "file of the results", values)
  flags.DEFINE_bool("update_page", False, "bring the pages on performance up to date", values)
  flags.DEFINE_string("plot", "docs/benchmark.png", "picture of the epoch part", values)


def main(line: cli.CommandLine) -> None:
  """Runs the parts, writes and prints the results."""
  given = line.flags
  unknown = [name for name in given.only if name not in PARTS]
  if unknown:
    raise UsageError(f"--only names {unknown[0]!r}, which is not one of {listing(list(PARTS))}")
  path = Path(given.output)
  read_results(path)  # An error now, rather than after measuring.
  for name in () if given.tables else given.only or PARTS:
    measured = PARTS[name](given.rounds, given.case)
    results = read_results(path)  # Only now: another process may have added its part meanwhile.
    if name == "epoch" and name in results:
      measured = results[name]["measured"] | measured
    results[name] = {"environment": environment(), "measured": measured}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n")
  results = read_results(path)
  print("\n\n".join(tables.part_table(part, content) for part, content in results.items()))
  if given.update_page:
    tables.update_pages(ROOT / "docs", results)
  if "epoch" in results:
    tables.plot(results["epoch"]["measured"], Path(given.plot))


def read_results(path: Path) -> dict[str, Any]:
  """Returns what was measured before, by part."""
  try:
    return json.loads(path.read_text())
  except FileNotFoundError:
    return {}
  except (OSError, ValueError) as error:
    raise RunError(f"{path} cannot be read: {error}; move it away to start anew") from error


if __name__ == "__main__":
  cli.run(main, define_flags)
