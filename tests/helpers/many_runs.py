"""Many runs in one process: what they leave in its memory."""

import sys
from pathlib import Path

from mnist_mlp import config, sweeps, train
from mnist_mlp.run.console import Console
from mnist_mlp.sweeps import engines
from mnist_mlp.sweeps.plan import Options
from mnist_mlp.sweeps.sweep import Sweep


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
    sweep = Sweep(points, Path(folder) / name, Console())
    sweep.console.line = lambda line: print("size", *size(), flush=True)
    engines.run(sweep, sweep.members, Options(engine="vmap"))


if __name__ == "__main__":
  {"alone": alone, "in_a_sweep": in_a_sweep}[sys.argv[1]](*sys.argv[2:4], int(sys.argv[4]))
