"""Times one process with all cores against two that share them, and what they send each other.

    python scripts/scaling.py [--rounds=5] [--update_page]

Both train configs/adam.py without dropout on MNIST, which must be prepared (run `mnist_mlp.main`
once). They take turns; a ratio is the median of the ratios within a turn. An epoch counts
evaluation. The two processes have half of the cores each and talk over the loopback interface.
Results go to results/scaling.json. With --update_page, docs/scaling.md gets the tables, and the
arithmetic of more devices that follows from them.
"""

import itertools
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pages
from absl import flags

from mnist_mlp.errors import RunError
from mnist_mlp.run import cli
from mnist_mlp.run.config_files import load_config

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results" / "scaling.json"
ALONE, TOGETHER = "1 process, all cores", "2 processes, half of the cores each"
BATCHES = (128, 512, 2048)
EPOCHS = 3  # that are timed, after as many to get going
NETWORKS = {"10 Gbit/s": 1.25e9, "100 Gbit/s": 12.5e9}  # bytes a second, as their names promise
DEVICES = (1, 2, 8, 64, 1000)

# Adds up arrays of given sizes over two processes, many times.
EXCHANGE = """
import sys, time
import jax, numpy as np
from jax.sharding import NamedSharding, PartitionSpec
address, process_id, *sizes = sys.argv[1], *map(int, sys.argv[2:])
jax.distributed.initialize(address, num_processes=2, process_id=process_id)
mesh = jax.make_mesh((2,), ("data",))
own = NamedSharding(mesh, PartitionSpec("data"))
parts = [
  jax.make_array_from_process_local_data(own, np.ones((1, size), np.float32)) for size in sizes
]
add = jax.jit(
  lambda parts: [part.sum(0) for part in parts], out_shardings=NamedSharding(mesh, PartitionSpec())
)
seconds = []
for _ in range(300):
  started = time.perf_counter()
  jax.block_until_ready(add(parts))
  seconds.append(time.perf_counter() - started)
print(float(np.median(seconds[100:])))
"""


def define_flags(values: flags.FlagValues, arguments: Sequence[str]) -> None:
  """Defines this script's flags."""
  del arguments
  flags.DEFINE_integer("rounds", 5, "turns", lower_bound=1, flag_values=values)
  flags.DEFINE_bool("tables", False, "run nothing, print the tables of what there is", values)
  flags.DEFINE_bool("update_page", False, "bring docs/scaling.md up to date", values)


def main(line: cli.CommandLine) -> None:
  """Measures, writes and prints the results."""
  if not line.flags.tables:
    with tempfile.TemporaryDirectory() as folder:
      RESULTS.write_text(json.dumps(measured(Path(folder), line.flags.rounds), indent=1) + "\n")
  found = json.loads(RESULTS.read_text())
  tables = {"processes": processes_table(found), "growth": growth_table(found)}
  print("\n\n".join(tables.values()))
  if line.flags.update_page:
    page = ROOT / "docs" / "scaling.md"
    for part, table in tables.items():
      page.write_text(pages.replace_part(page.read_text(), part, "scaling", table))


def measured(folder: Path, rounds: int) -> dict[str, Any]:
  """Returns seconds an epoch by batch size and contestant, and what an exchange takes."""
  epochs: dict[str, Any] = {str(size): {ALONE: [], TOGETHER: []} for size in BATCHES}
  sent = {}
  for turn in range(rounds):
    for size in BATCHES:
      for name, count in ((ALONE, 1), (TOGETHER, 2)):
        before = _bytes_sent()
        result = trained(folder / "run", count, size)
        found = result["dataset"]["examples"]["train"] / result["examples_per_second"]
        epochs[str(size)][name].append(round(found, 4))
        if count == 2:
          sent[str(size)] = round((_bytes_sent() - before) / result["steps"])
        print(f"turn {turn + 1}, batch {size}: {name}: {found:.3f} s an epoch", flush=True)
  return {
    "environment": result["environment"],
    "weights": result["weights"],
    "train": result["dataset"]["examples"]["train"],
    "epochs": epochs,
    "bytes_sent_a_step": sent,
    "exchange_seconds": {
      "as one array": exchange([result["weights"]]),
      "as the net's arrays": exchange(sizes_of_arrays()),
    },
  }


def trained(workdir: Path, count: int, batch_size: int) -> dict[str, Any]:
  """Trains a run anew by so many processes; returns its result.json."""
  shutil.rmtree(workdir, ignore_errors=True)
  words = [
    *(sys.executable, "-m", "mnist_mlp.main", "--config=configs/adam.py", f"--workdir={workdir}"),
    *("--config.data.offline=", "--config.model.dropout=0", f"--config.batch_size={batch_size}"),
    *(f"--config.num_epochs={2 * EPOCHS}", f"--config.eval_every_epochs={EPOCHS}"),
  ]
  if count > 1:
    words += [f"--coordinator=localhost:{_free_port()}", f"--num_processes={count}"]
  for _ in run_all([[*words, f"--process_id={i}"] if count > 1 else words for i in range(count)]):
    pass
  return json.loads((workdir / "result.json").read_text())


def sizes_of_arrays() -> list[int]:
  """Returns the sizes of the arrays of which the net's weights consist."""
  widths = (784, *load_config(ROOT / "configs" / "adam.py").model.features, 10)
  return [size for a, b in itertools.pairwise(widths) for size in (a * b, b)]


def exchange(sizes: Sequence[int]) -> float:
  """Returns the seconds in which two processes add up arrays of given sizes, median."""
  words = [sys.executable, "-c", EXCHANGE, f"localhost:{_free_port()}"]
  printed = list(run_all([[*words, str(i), *map(str, sizes)] for i in range(2)]))
  return float(printed[0].splitlines()[-1])


def run_all(commands: Sequence[Sequence[str]]) -> Iterator[str]:
  """Runs commands at the same time, each on its share of the cores; yields what they print."""
  cores = sorted(os.sched_getaffinity(0))
  share = len(cores) // len(commands)
  started = []
  for i, command in enumerate(commands):
    os.sched_setaffinity(0, cores[i * share : (i + 1) * share])  # The command inherits it.
    started.append(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True))
  os.sched_setaffinity(0, cores)
  for command in started:
    printed, _ = command.communicate()
    if command.returncode:
      raise RunError(f"a process ended with {command.returncode}; see above")
    yield printed


def _free_port() -> int:
  with socket.create_server(("", 0)) as server:
    return server.getsockname()[1]


def _bytes_sent() -> int:
  """Returns how many bytes the loopback interface has carried."""
  lines = Path("/proc/net/dev").read_text().splitlines()
  return next(int(line.split()[1]) for line in lines if line.lstrip().startswith("lo:"))


def processes_table(found: dict[str, Any]) -> str:
  """Returns the table of one process against two."""
  lines = [
    f"| batch | {ALONE}, s an epoch | {TOGETHER} | times the first | MB sent a step |",
    "|---|---|---|---|---|",
  ]
  for size, seconds in found["epochs"].items():
    pairs = zip(seconds[TOGETHER], seconds[ALONE], strict=True)
    ratio = statistics.median([together / alone for together, alone in pairs])
    shown = [
      f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"
      for values in (seconds[ALONE], seconds[TOGETHER])
    ]
    sent = found["bytes_sent_a_step"][size] / 1e6
    lines.append(f"| {size} | {shown[0]} | {shown[1]} | {ratio:.2f} | {sent:.2f} |")
  e, turns = found["environment"], len(seconds[ALONE])
  one, several = (f"{1000 * value:.1f} ms" for value in found["exchange_seconds"].values())
  return "\n".join(lines) + (
    f"\n\nMedian and range; turns: {turns}; {e['cpu_cores'] * 2} cores of {e['processor']}; jax "
    f"{e['packages']['jax']}. Adding up {found['weights']:,} gradients over the two processes "
    f"takes {one} by itself if they are one array, and {several} as the net's six (medians of 200)."
  )


def growth_table(found: dict[str, Any]) -> str:
  """Returns what follows for more devices, each as fast as this machine's cores together."""
  size = 4 * found["weights"]  # bytes of a gradient
  large = str(max(BATCHES))
  an_example = statistics.median(found["epochs"][large][ALONE]) / found["train"]
  lines = [
    "| devices | MB a device sends a step | "
    + " | ".join(f"ms at {name}; batch a device that takes as long" for name in NETWORKS)
    + " |",
    "|---|---|" + "---|" * len(NETWORKS),
  ]
  for count in DEVICES:
    sent = 2 * (count - 1) / count * size
    cells = [f"{count:,}", f"{sent / 1e6:.2f}"]
    for rate in NETWORKS.values():
      seconds = sent / rate
      cells.append(f"{1000 * seconds:.2f}; {seconds / an_example:,.0f}" if sent else "0; any")
    lines.append(f"| {' | '.join(cells)} |")
  return "\n".join(lines) + (
    f"\n\nA gradient has {size / 1e6:.2f} MB. An example takes {1e6 * an_example:.1f} µs on these "
    f"cores, measured at batch {large}. Latency is left out."
  )


if __name__ == "__main__":
  cli.run(main, define_flags)
