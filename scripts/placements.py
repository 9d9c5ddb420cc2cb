"""Measures what it costs to stream the examples from the host, in time and in memory.

    python scripts/placements.py [--only=epoch,memory]

- epoch: seconds an epoch of real runs on MNIST, 784-512-512-10 with Adam, with the data on the
  device and on the host. The placements take turns; a ratio is the median of the ratios within a
  turn. The processor time of a run is less disturbed by what else the machine does.
- memory: the most that a run has resident while it trains on 60,000, 600,000 and 6,000,000 images
  of noise, mapped from files. These need 4.7 GB in --folder.

The data must be prepared (run `mnist_mlp.main` once). Prints tables in Markdown.
"""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from mnist_mlp import config, data, train
from mnist_mlp.core.spec import Examples
from mnist_mlp.run import cli

BATCHES = (128, 512)
IMAGES = (60_000, 600_000, 6_000_000)
PLACEMENTS = ("device", "host")
EPOCHS = 5  # that are timed, after as many
STEPS = 2000  # that memory is measured for
HELD_OUT = 5000
PIECE = 50_000  # images that are written at once


def define_flags(values: flags.FlagValues, arguments: Sequence[str]) -> None:
  """Defines this script's flags."""
  del arguments
  flags.DEFINE_list("only", ["epoch", "memory"], "parts to run", values)
  flags.DEFINE_integer("rounds", 5, "turns of each placement", lower_bound=1, flag_values=values)
  flags.DEFINE_string("folder", tempfile.gettempdir(), "for files of images", values)


def config_of(placement: str, batch_size: int) -> Any:
  """Returns the config of a run that is measured."""
  c = config.default()
  c.data.placement, c.data.offline, c.data.validation_examples = placement, "", 0
  c.batch_size = batch_size
  return c


def timed_run(placement: str, batch_size: int) -> dict[str, float]:
  """Returns seconds, and seconds of the processor, of an epoch of a run."""
  c, moments = config_of(placement, batch_size), []
  c.num_epochs, c.eval_every_epochs = 2.0 * EPOCHS, float(EPOCHS)

  def note(_):
    moments.append((time.perf_counter(), _processor_seconds()))

  with tempfile.TemporaryDirectory() as folder:
    train.train_and_evaluate(c, folder, on_evaluation=note)
  wall, processor = (after - before for before, after in zip(*moments, strict=True))
  return {"seconds": wall / EPOCHS, "processor": processor / EPOCHS}


def _processor_seconds() -> float:
  used = resource.getrusage(resource.RUSAGE_SELF)
  return used.ru_utime + used.ru_stime


def memory_run(placement: str, images: Path, labels: Path) -> dict[str, float]:
  """Returns the most that a run on images of noise had resident while it trained, in MiB."""
  c = config_of(placement, 128)
  c.num_steps = c.eval_every_steps = STEPS
  c.data.validation_examples = HELD_OUT
  dataset = noise(images, labels)
  data.load = lambda *_, **__: dataset  # Nothing has to be prepared for noise.
  most: dict[str, float] = {}
  stopped = threading.Event()

  def watch():
    while not stopped.wait(0.02):
      for name, value in resident().items():
        most[name] = max(most.get(name, 0.0), value)

  watcher = threading.Thread(target=watch)
  watcher.start()
  try:
    with tempfile.TemporaryDirectory() as folder:
      train.train_and_evaluate(c, folder)
  finally:
    stopped.set()
    watcher.join()
  return most


def resident() -> dict[str, float]:
  """Returns what this process has in memory, in MiB: its own, of mapped files, and together."""
  lines = Path("/proc/self/status").read_text("utf-8").splitlines()
  found = dict(line.split(":", 1) for line in lines)
  return {name: int(found[name].split()[0]) / 1024 for name in ("RssAnon", "RssFile", "VmRSS")}


def noise(images: Path, labels: Path) -> data.Dataset:
  """Returns the dataset of two files, mapped; the last examples are held out."""
  whole = Examples(
    *(np.asarray(np.load(path, "r", allow_pickle=False)) for path in (images, labels))
  )
  end = whole.num_examples - HELD_OUT
  train_split = Examples(*(array[:end] for array in whole))
  held_out = Examples(*(array[end:] for array in whole))
  return data.Dataset(
    name="noise",
    version="1.0.0",
    train=train_split,
    validation=held_out,
    test=held_out,
    class_names=tuple("0123456789"),
    fingerprint="0",
    stand_in_for="",
    source="noise",
  )


def write_noise(folder: Path, count: int) -> tuple[Path, Path]:
  """Writes so many images and labels; returns the paths of their files."""
  rng, paths = np.random.default_rng(0), (folder / "images.npy", folder / "labels.npy")
  images = np.lib.format.open_memmap(paths[0], "w+", np.uint8, (count, 28, 28, 1))
  piece = rng.integers(0, 256, (PIECE, 28, 28, 1), np.uint8)
  for start in range(0, count, PIECE):
    images[start : start + PIECE] = piece[: count - start]
  images.flush()
  np.save(paths[1], rng.integers(0, 10, count, np.int32))
  return paths


def process(*arguments: Any) -> dict[str, float]:
  """Runs a function of this script in a process of its own; returns what it found."""
  words = [sys.executable, __file__, "measure", *map(str, arguments)]
  done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
  return json.loads(done.stdout.splitlines()[-1])


def epoch_part(rounds: int) -> None:
  """Prints the table of epochs."""
  print(
    "| batch size | device, s | host, s | ratio | ratio of processor time |\n|---|---|---|---|---|"
  )
  for size in BATCHES:
    turns = [{p: process("timed_run", p, size) for p in PLACEMENTS} for _ in range(rounds)]
    ratios = {
      unit: statistics.median(turn["host"][unit] / turn["device"][unit] for turn in turns)
      for unit in ("seconds", "processor")
    }
    device, host = (
      statistics.median(turn[placement]["seconds"] for turn in turns) for placement in PLACEMENTS
    )
    shown = " | ".join(f"{ratio:.2f}" for ratio in ratios.values())
    print(f"| {size} | {device:.2f} | {host:.2f} | {shown} |", flush=True)


def memory_part(folder: Path) -> None:
  """Prints the table of memory."""
  print("| images | placement | own, MiB | of mapped files, MiB | together, MiB |")
  print("|---|---|---|---|---|")
  for count in IMAGES:
    with tempfile.TemporaryDirectory(dir=folder) as own:
      paths = write_noise(Path(own), count)
      for placement in PLACEMENTS:
        most = process("memory_run", placement, *paths)
        shown = " | ".join(f"{most[name]:,.0f}" for name in ("RssAnon", "RssFile", "VmRSS"))
        print(f"| {count:,} | {placement} | {shown} |", flush=True)


def main(line: cli.CommandLine) -> None:
  """Runs the parts."""
  for part in line.flags.only:
    if part == "epoch":
      epoch_part(line.flags.rounds)
    else:
      memory_part(Path(line.flags.folder))


def measure(name: str, *arguments: str) -> None:
  """Prints what one of the functions finds, as JSON."""
  if name == "timed_run":
    found = timed_run(arguments[0], int(arguments[1]))
  else:
    found = memory_run(arguments[0], *map(Path, arguments[1:]))
  print(json.dumps(found))


if __name__ == "__main__":
  if sys.argv[1:2] == ["measure"]:
    measure(*sys.argv[2:])
  else:
    cli.run(main, define_flags)
