"""Shows that a change of the code makes nothing slower, by timing two checkouts in turn.

    python scripts/same_speed.py --before=../before [--rounds=5] [--output=FILE]

Both run the same commands, A B A B ..., and the ratio is the median of the ratios within a turn:
what else the machine does hits both alike. Timed are

- an epoch at batch 128 and at batch 512: 784-512-512-10 with Adam, as result.json reports it;
- the start of a process to its first finished chunk of 50 steps, as benchmark.py of each checkout
  measures it;
- the 32 points of configs/sweep_learning_rate.py, two epochs each, as a whole process.

The data must be prepared (run `mnist_mlp.main` once).
"""

import argparse
import functools
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NET = (
  "--config=configs/adam.py",
  "--config.model.dropout=0",
  "--config.data.offline=",
  "--config.data.validation_examples=0",
)
# Prints the program that ends after a first chunk, as the checkout in the current folder has it.
PRINT_FIRST_CHUNK = """
import sys
sys.path.insert(0, "scripts")
try:
  from benchmark_parts import FIRST_CHUNK
except ImportError:
  from benchmark import _FIRST_CHUNK as FIRST_CHUNK
print(FIRST_CHUNK)
"""


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--before", type=Path, required=True, help="checkout to compare with")
  parser.add_argument("--rounds", type=int, default=5, help="turns of each")
  parser.add_argument("--output", type=Path, help="file for the seconds, as JSON")
  options = parser.parse_args()
  found = {}
  with tempfile.TemporaryDirectory() as folder:
    numbers = itertools.count()
    for name, measure in MEASURES.items():
      seconds = {"before": [], "after": []}
      for turn in range(options.rounds + 1):  # The first fills the compilation cache.
        for side, checkout in (("before", options.before.resolve()), ("after", ROOT)):
          value = measure(checkout, f"{folder}/{next(numbers)}")
          if turn:
            seconds[side].append(round(value, 4))
      found[name] = seconds
      print(line_of(name, seconds), flush=True)
  if options.output:
    options.output.write_text(json.dumps(found, indent=1) + "\n")


def line_of(name: str, seconds: dict[str, list[float]]) -> str:
  """Returns a line of medians, and the median of the ratios."""
  ratios = [b / a for a, b in zip(seconds["before"], seconds["after"], strict=True)]
  before, after = (statistics.median(seconds[side]) for side in ("before", "after"))
  return (
    f"{name}: before {before:.3g} s, after {after:.3g} s, ratio {statistics.median(ratios):.3f} "
    f"({min(ratios):.3f} to {max(ratios):.3f})"
  )


def epoch(batch_size: int) -> Callable[[Path, str], float]:
  """Returns the function that measures the seconds of an epoch in the middle of a run."""

  def measure(checkout: Path, workdir: str) -> float:
    options = (f"--config.batch_size={batch_size}", "--config.num_epochs=4")
    run(checkout, "-m", "mnist_mlp.main", *NET, *options, f"--workdir={workdir}")
    result = json.loads(Path(workdir, "result.json").read_text())
    return result["dataset"]["examples"]["train"] / result["examples_per_second"]

  return measure


def start(checkout: Path, workdir: str) -> float:
  """Returns the seconds of a process to its first finished chunk."""
  options = ("--config.eval_every_epochs=0", "--config.eval_every_steps=50")
  return run(checkout, "-c", first_chunk(checkout), *NET, *options, f"--workdir={workdir}")


@functools.cache
def first_chunk(checkout: Path) -> str:
  """Returns the program to time; what the benchmark itself imports is no part of the start."""
  return output(checkout, "-c", PRINT_FIRST_CHUNK)


def sweep(checkout: Path, workdir: str) -> float:
  """Returns the seconds of a whole sweep."""
  return run(
    checkout,
    "-m",
    "mnist_mlp.sweep",
    "--config=configs/sweep_learning_rate.py",
    "--config.num_epochs=2",
    f"--workdir={workdir}",
  )


def run(checkout: Path, *arguments: str) -> float:
  """Returns the seconds of a process of Python with the code of a checkout."""
  started = time.perf_counter()
  output(checkout, *arguments)
  return time.perf_counter() - started


def output(checkout: Path, *arguments: str) -> str:
  """Returns what a process of Python with the code of a checkout prints."""
  done = subprocess.run(
    [sys.executable, *arguments],
    cwd=checkout,
    env={**os.environ, "PYTHONPATH": str(checkout)},
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    check=False,
  )
  if done.returncode:
    sys.exit(f"error: {arguments} failed in {checkout}:\n{done.stdout}")
  return done.stdout


MEASURES: dict[str, Callable[[Path, str], float]] = {
  "epoch, batch 128": epoch(128),
  "epoch, batch 512": epoch(512),
  "start to first chunk": start,
  "sweep of 32 points": sweep,
}


if __name__ == "__main__":
  main()
