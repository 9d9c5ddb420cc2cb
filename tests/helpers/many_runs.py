"""Many runs in one process: what they leave in its memory."""

import sys
from pathlib import Path

import processes
from etils import epy

from mnist_mlp import config, train
from mnist_mlp.run.console import Console

with epy.lazy_imports():  # A fork may have no sweeps.
  from mnist_mlp import sweeps
  from mnist_mlp.sweeps import engines, plan
  from mnist_mlp.sweeps import sweep as sweep_lib

# What one run compiles takes some 280 maps and 20 MB. Between two sizes lies at least half a run.
MAPS, MEGABYTES = 30, 3
WARM = 40  # megabytes by which the first runs differ


def config_of(width, data_dir):
  """Returns the config of a net that no other width shares a program with."""
  c = config.default()
  c.data.name, c.data.data_dir, c.data.validation_examples = "digits", data_dir, 0
  c.num_steps, c.model.features = 2, (width,)
  return c


def size():
  """Returns (number of memory maps, resident memory in MB) of this process."""
  maps = Path("/proc/self/maps").read_text().count("\n")
  status = Path("/proc/self/status").read_text()
  return maps, int(status.partition("VmRSS:")[2].split()[0]) // 1024


def alone(data_dir, folder, count):
  """Trains one net after the other; prints the size of the process after each."""
  for width in range(1, count + 1):
    train.train_and_evaluate(config_of(width, data_dir), Path(folder) / str(width))
    print("size", *size(), flush=True)


def in_a_sweep(data_dir, folder, count):
  """Trains as many groups of a sweep, then another sweep, each in this process."""
  for name, first in (("a", 1), ("b", count // 2 + 1)):
    points = sweeps.check(
      [{"model.features": (first + i,)} for i in range(count // 2)], config_of(1, data_dir)
    )
    sweep = sweep_lib.Sweep(points, Path(folder) / name, Console())
    sweep.console.line = lambda line: print("size", *size(), flush=True)
    engines.run(sweep, sweep.members, plan.Options(engine="vmap"))


def check(kind, count, digits_dir, folder):
  """Asserts that a process that trains so many nets does not grow."""
  code = f"import runpy; runpy.run_path({__file__!r}, run_name='__main__')"
  done = processes.python(code, kind, digits_dir, folder, count, timeout=3000)
  assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
  lines = [line.split() for line in done.stdout.splitlines() if line.startswith("size ")]
  found = [(int(maps), int(megabytes)) for _, maps, megabytes in lines]
  assert len(found) >= count
  half = len(found) // 2
  (maps, megabytes), (more_maps, more) = (
    map(max, zip(*part, strict=True)) for part in (found[:half], found[half:])
  )
  assert more_maps - maps < MAPS * half, found
  assert more - megabytes < MEGABYTES * half + WARM, found


if __name__ == "__main__":
  {"alone": alone, "in_a_sweep": in_a_sweep}[sys.argv[1]](*sys.argv[2:4], int(sys.argv[4]))
