"""Measures what it costs to stream the examples from the host, in time and in memory.

    python scripts/placements.py [--only=epoch,memory]

- epoch: seconds an epoch on MNIST, 784-512-512-10 with Adam, with the data on the device and on
  the host. The placements take turns; a ratio is the median of the ratios within a turn. The
  processor time is less disturbed by what else the machine does.
- memory: the most that a run has resident while it trains on 60,000, 600,000 and 6,000,000 images
  of noise, mapped from files. These need 4.7 GB in --folder.

The data must be prepared (run `mnist_mlp.main` once). Prints tables in Markdown.
"""

import functools
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

import jax
import numpy as np
from absl import flags
from ml_collections import FrozenConfigDict

from mnist_mlp import config, data, train
from mnist_mlp.core.metrics import TrainMetrics
from mnist_mlp.core.sharding import create_mesh, replicated
from mnist_mlp.core.spec import Examples
from mnist_mlp.core.state import initializer
from mnist_mlp.core.traced import traced
from mnist_mlp.run import cli
from mnist_mlp.run import placement as placements
from mnist_mlp.run.loop import Timetable
from mnist_mlp.run.run import check_sizes

BATCHES = (128, 512)
IMAGES = (60_000, 600_000, 6_000_000)
PLACEMENTS = ("device", "host")
STEPS = 2000  # that memory is measured for
HELD_OUT = 5000
PIECE = 50_000  # images that are written at once


def define_flags(values: flags.FlagValues, arguments: Sequence[str]) -> None:
  """Defines this script's flags."""
  del arguments
  flags.DEFINE_list("only", ["epoch", "memory"], "parts to run", values)
  flags.DEFINE_integer("rounds", 9, "turns of each placement", lower_bound=1, flag_values=values)
  flags.DEFINE_string("folder", tempfile.gettempdir(), "for files of images", values)


def config_of(placement: str, batch_size: int) -> Any:
  """Returns the config of a run that is measured."""
  c = config.default()
  c.data.placement, c.data.offline, c.data.validation_examples = placement, "", 0
  c.batch_size = batch_size
  return c


class Epochs:
  """Epochs of a run, one at a time, dispatched as the loop of a run does."""

  def __init__(self, placement: str, batch_size: int, dataset: data.Dataset):
    """Trains two epochs, which compile, and fill what is read in advance."""
    c = config_of(placement, batch_size)
    timetable = Timetable.of(c, check_sizes(c, dataset))
    initialize = initializer(c, dataset.spec())

    @functools.partial(jax.jit, out_shardings=replicated())
    def place(values, *splits):
      return (initialize(values), TrainMetrics.empty()), *splits

    splits = () if placement == "host" else (dataset.train,)
    self._timetable = (
      placements.in_blocks(timetable, c, dataset) if placement == "host" else timetable
    )
    self._carry, *placed = place(traced(c), *splits)
    static = FrozenConfigDict(c)
    self._examples = placements.of_run(static, dataset, self._timetable, [*placed, None][:2])
    self._step = 0
    for _ in range(2):
      self.time()

  def time(self) -> dict[str, float]:
    """Trains an epoch; returns its seconds, and those of the processor."""
    before, per_epoch = (time.perf_counter(), _processor_seconds()), self._timetable.steps_per_epoch
    end = self._step + per_epoch
    while self._step < end:
      length = self._timetable.next_chunk(self._step, per_epoch)
      self._carry = self._examples.train_chunk(*self._carry, self._step, length)
      self._step += length.num_steps
    jax.block_until_ready(self._carry)
    return {
      "seconds": time.perf_counter() - before[0],
      "processor": _processor_seconds() - before[1],
    }


def timed(batch_size: int, rounds: int) -> list[dict[str, dict[str, float]]]:
  """Returns the times of an epoch with each placement, for each turn."""
  dataset = data.load(config_of("auto", batch_size).data, report=lambda line: None)
  with jax.set_mesh(create_mesh()):
    epochs = {placement: Epochs(placement, batch_size, dataset) for placement in PLACEMENTS}
    return [{placement: each.time() for placement, each in epochs.items()} for _ in range(rounds)]


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


def process(*arguments: Any) -> Any:
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
    turns = process("timed", size, rounds)
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
  if name == "timed":
    found = timed(*map(int, arguments))
  else:
    found = memory_run(arguments[0], *map(Path, arguments[1:]))
  print(json.dumps(found))


if __name__ == "__main__":
  if sys.argv[1:2] == ["measure"]:
    measure(*sys.argv[2:])
  else:
    cli.run(main, define_flags)
