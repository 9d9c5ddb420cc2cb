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
docs/performance.md gets these tables.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import contestants
import numpy as np
import pages
from absl import flags
from contestants import CASES, Case

from mnist_mlp.errors import RunError, UsageError, listing
from mnist_mlp.run import cli as commandline

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "scripts"
MAIN = (sys.executable, "-m", "mnist_mlp.main")
REFERENCE = (
  *MAIN,
  f"--config={ROOT}/configs/adam.py",
  "--config.data.offline=",
  "--config.model.dropout=0",
  "--config.num_epochs=5",
)
OURS = "mnist_mlp"
LIMITS = ("limit: products of these shapes", "limit: a large product")
WARM_UP = 3  # PyTorch slows down until its third epoch, when Adam's moments have become denormal.

_ONLY = flags.DEFINE_list("only", [], "parts to run; none: all")
_TABLES = flags.DEFINE_bool("tables", False, "run nothing, print the tables of what there is")
_CASES = flags.DEFINE_multi_enum(
  "case", [], list(CASES), "cases of the epoch part to run, the others stay; none: all"
)
_ROUNDS = flags.DEFINE_integer("rounds", 5, "turns of each contestant", lower_bound=1)
_OUTPUT = flags.DEFINE_string("output", "results/benchmark.json", "file of the results")
_UPDATE = flags.DEFINE_bool("update_page", False, "bring docs/performance.md up to date")
_PLOT = flags.DEFINE_string("plot", "docs/benchmark.png", "picture of the epoch part")


def main() -> None:
  """Runs the parts, writes and prints the results."""
  unknown = [name for name in _ONLY.value if name not in PARTS]
  if unknown:
    raise UsageError(f"--only names {unknown[0]!r}, which is not one of {listing(list(PARTS))}")
  path = Path(_OUTPUT.value)
  read_results(path)  # An error now, rather than after measuring.
  for name in () if _TABLES.value else _ONLY.value or PARTS:
    measured = PARTS[name](_ROUNDS.value)
    results = read_results(path)  # only now: another process may have added its part meanwhile
    if name == "epoch" and name in results:
      measured = results[name]["measured"] | measured
    results[name] = {"environment": environment(), "measured": measured}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n")
  results = read_results(path)
  print("\n\n".join(part_table(part, content) for part, content in results.items()))
  if _UPDATE.value:
    page = ROOT / "docs" / "performance.md"
    page.write_text(update_page(page.read_text(), results))
  if "epoch" in results:
    plot(results["epoch"]["measured"], Path(_PLOT.value))


def read_results(path: Path) -> dict[str, Any]:
  """Returns what was measured before, by part."""
  try:
    return json.loads(path.read_text())
  except FileNotFoundError:
    return {}
  except (OSError, ValueError) as error:
    raise RunError(f"{path} cannot be read: {error}; move it away to start anew") from error


def environment() -> dict[str, Any]:
  """Returns versions and hardware, as a process of its own sees them."""
  code = (
    "import json; from importlib import metadata; from mnist_mlp.run import environment; "
    "d = environment.describe(); "
    "d['packages'].update({n: metadata.version(n) for n in ('torch', 'keras', "
    "'scikit-learn')}); print(json.dumps(d))"
  )
  return json.loads(
    subprocess.run(
      (sys.executable, "-c", code), check=True, stdout=subprocess.PIPE, text=True
    ).stdout
  )


class Worker:
  """A contestant in a process of its own."""

  def __init__(self, name: str, case: Case):
    """Starts it, and waits until it is ready, its data in memory."""
    started = time.perf_counter()
    self._process = subprocess.Popen(
      (sys.executable, str(SCRIPTS / "contestants.py"), name, json.dumps(case._asdict())),
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
      # All are there at once: none may take the memory of a GPU for itself.
      env={**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"},
    )
    self.name = name
    if self._read() != "ready":
      raise RunError(f"{name} did not start; see above")
    self.start = time.perf_counter() - started  # seconds

  def _read(self) -> str:
    return self._process.stdout.readline().strip()

  def epoch(self) -> dict[str, float]:
    """Returns the seconds of an epoch, and the process's peak memory in MiB."""
    time.sleep(0.3)  # until the threads of the one before have gone to sleep
    self._process.stdin.write("go\n")
    self._process.stdin.flush()
    line = self._read()
    if not line:
      raise RunError(f"{self.name} ended before its time; see above")
    return json.loads(line)

  def close(self) -> None:
    """Ends the process."""
    self._process.communicate()


def turns(contestants: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, dict[str, Any]]:
  """Lets the contestants take turns.

  Returns:
    For each its seconds, and its ratio: the median over the turns of its seconds over the first
    one's.
  """
  seconds = {name: [] for name in contestants}
  for turn in range(rounds):
    for name, run in contestants.items():
      seconds[name].append(run())
      print(f"turn {turn + 1}: {name}: {seconds[name][-1]:.3f} s", flush=True)
  first = next(iter(seconds.values()))
  return {
    name: {
      "seconds": [round(value, 4) for value in values],
      "ratio": round(statistics.median([a / b for a, b in zip(values, first, strict=True)]), 3),
    }
    for name, values in seconds.items()
  }


def epochs(case: Case, names: Sequence[str], rounds: int, warm_up: int) -> dict[str, Any]:
  """Times epochs of a case by the contestants named, all of which run at the same time, idle.

  Returns:
    As `turns`, and for each its peak memory in MiB and, measured once, the seconds of its process
    to the end of the epochs before the turns, with imports, data and compilation.
  """
  workers, whole = [], {}
  try:
    for name in names:
      workers.append(Worker(name, case))
      first = [workers[-1].epoch()["seconds"] for _ in range(warm_up)]
      whole[name] = round(workers[-1].start + sum(first), 2)
      print(f"{name}: {whole[name]} s to the end of epoch {warm_up}", flush=True)
    memory = {}

    def timed(worker: Worker) -> Callable[[], float]:
      def run() -> float:
        measured = worker.epoch()
        memory[worker.name] = round(measured["memory"])
        return measured["seconds"]

      return run

    found = turns({worker.name: timed(worker) for worker in workers}, rounds)
  finally:
    for worker in workers:
      worker.close()
  return {
    name: {**values, "memory": memory[name], "whole_process": whole[name]}
    for name, values in found.items()
  }


def epoch_part(rounds: int) -> dict[str, Any]:
  """Times every contestant, or for `lab_tanh` some, by case."""
  everyone = list(contestants.CONTESTANTS)
  if "cpu" not in environment()["devices"]:
    everyone += contestants.ON_A_GPU
  some = [OURS, "PyTorch", "JAX, a step per NumPy batch", *LIMITS]
  return {
    case: epochs(CASES[case], some if case == "lab_tanh" else everyone, rounds, WARM_UP)
    for case in _CASES.value or CASES
  }


def process(command: Sequence[str | Path], **variables: str) -> float:
  """Returns the seconds of a whole process; raises a RunError if it fails."""
  started = time.perf_counter()
  done = subprocess.run(
    [str(part) for part in command],
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    env={**os.environ, **variables},
    check=False,
  )
  if done.returncode:
    raise RunError(f"{command} failed:\n{done.stdout}")
  return time.perf_counter() - started


# Ends the process when the first chunk of steps is finished.
_FIRST_CHUNK = """
import os
import jax
from mnist_mlp.run import cli as commandline
from mnist_mlp import main
from mnist_mlp.core import steps
train_chunk = steps.train_chunk
def first_chunk(*arguments, **options):
  jax.block_until_ready(train_chunk(*arguments, **options))
  os._exit(0)
steps.train_chunk = first_chunk
commandline.run(main.main)
"""


def start_part(rounds: int) -> dict[str, Any]:
  """The compilation cache holds the program: a run before the first turn filled it."""
  imports = "import jax, flax, optax; jax.jit(lambda x: x + 1)(1.0).block_until_ready()"
  with tempfile.TemporaryDirectory() as folder:
    command = [
      sys.executable,
      "-c",
      _FIRST_CHUNK,
      *REFERENCE[3:],
      "--config.eval_every_epochs=0",
      "--config.eval_every_steps=50",
    ]
    counter = iter(range(10**6))

    def first_chunk() -> float:
      return process((*command, f"--workdir={folder}/{next(counter)}"))

    first_chunk()
    return turns(
      {
        "imports and one jitted call": lambda: process((sys.executable, "-c", imports)),
        "the same, without the interpreter's exit": lambda: process(
          (sys.executable, "-c", f"{imports}; import os; os._exit(0)")
        ),
        f"{OURS}, first chunk of 50 steps": first_chunk,
      },
      rounds,
    )


# CLU's own writer, as CLU would make it had this program not put its own in its place.
_WITH_CLU = """
import sys
from clu import metric_writers
from clu.metric_writers.summary_writer import SummaryWriter
from mnist_mlp.run import cli as commandline, tensorboard as summaries
from mnist_mlp import main
summaries.create_writer = lambda logdir, first_step=0: metric_writers.AsyncMultiWriter(
    [SummaryWriter(str(logdir))])
commandline.run(main.main)
"""


def job_part(rounds: int) -> dict[str, Any]:
  """Every process starts anew, in a new folder."""
  with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    save_splits(folder / "data.npz")
    counter = iter(range(10**6))

    def ours(*start: str) -> Callable[[], float]:
      return lambda: process(
        (sys.executable, *start, *REFERENCE[3:], f"--workdir={folder / str(next(counter))}")
      )

    def torch_job() -> float:
      out = folder / str(next(counter))
      return process((sys.executable, SCRIPTS / "torch_job.py", folder / "data.npz", out))

    contestants = {
      OURS: ours("-m", "mnist_mlp.main"),
      "PyTorch": torch_job,
      f"{OURS} with CLU's TensorFlow writer": ours("-c", _WITH_CLU),
    }
    contestants[OURS]()
    return turns(contestants, rounds)


def save_splits(path: Path) -> None:
  """Writes the arrays that `torch_job.py` reads."""
  from mnist_mlp import config
  from mnist_mlp.data import dataset as data

  dataset = data.load(config.default().data, report=lambda line: None)
  arrays = {}
  for split in ("train", "validation", "test"):
    images, labels = getattr(dataset, split)
    arrays |= {f"{split}_images": images, f"{split}_labels": labels}
  np.savez(path, **arrays)


def overhead_part(rounds: int) -> dict[str, Any]:
  """Both run twenty epochs, test at the end, and save at the end."""
  with tempfile.TemporaryDirectory() as folder:
    counter = iter(range(10**6))

    def run(every: int) -> Callable[[], float]:
      return lambda: process(
        (
          *REFERENCE,
          "--config.num_epochs=20",
          f"--config.eval_every_epochs={every}",
          f"--workdir={folder}/{next(counter)}",
        )
      )

    return turns(
      {"evaluation, summaries and checkpoint once": run(20), "after every epoch": run(1)},
      min(rounds, 3),
    )


def sweep_part(rounds: int) -> dict[str, Any]:
  """A sweep, against as many runs one after the other."""
  found = {}
  sweeps = {
    "32 learning rates, 128-64, 5 epochs": (32, "np.geomspace(1e-5, 1.0, 32)", "(128, 64)"),
    "8 learning rates, 512-512, 5 epochs": (8, "np.geomspace(1e-4, 1e-2, 8)", "(512, 512)"),
  }
  for name, (points, rates, features) in sweeps.items():
    with tempfile.TemporaryDirectory() as folder:
      file = Path(folder) / "sweep.py"
      file.write_text(_SWEEP.format(rates=rates, features=features))
      counter = iter(range(10**6))

      def run(module: str, file: Path = file, counter: Iterator[int] = counter) -> float:
        return process(
          (
            sys.executable,
            "-m",
            f"mnist_mlp.{module}",
            f"--config={file}",
            f"--workdir={file.parent / str(next(counter))}",
          )
        )

      run("main")  # fills the compilation cache
      alone, together = [], []
      for _ in range(2):
        alone.append(run("main"))
        together.append(run("sweep"))
      alone.append(run("main"))
    found[name] = {
      "points": points,
      "seconds_alone": [round(s, 2) for s in alone],
      "seconds_together": [round(s, 2) for s in together],
      "times_faster": round(points * statistics.median(alone) / statistics.median(together), 2),
    }
    print(name, found[name], flush=True)
  return found


_SWEEP = """
import numpy as np
from mnist_mlp import config, sweeps

def get_config():
  c = config.default()
  c.num_epochs = 5.0
  c.model.features = {features}
  c.data.offline = ""
  return c

def sweep():
  return sweeps.grid({{"optimizer.learning_rate": {rates}.tolist()}})
"""


def scaling_part(rounds: int) -> dict[str, Any]:
  """One axis at a time, from the case of 512-512 at batch 128, or of 128-64 for many images."""

  def median(case: Case, rounds: int) -> dict[str, float]:
    found = epochs(case, [OURS], rounds, warm_up=1)[OURS]
    print(case, found, flush=True)
    return {
      "seconds": statistics.median(found["seconds"]),
      "memory": found["memory"],
      "gflops_per_second": round(
        contestants.flops(case) / statistics.median(found["seconds"]) / 1e9, 1
      ),
    }

  small = Case((128, 64), batch_size=512)
  return {
    "batch size": {
      size: median(Case(batch_size=size), 3) for size in (32, 64, 128, 256, 512, 1024, 2048)
    },
    "width of both hidden layers": {
      width: median(Case((width, width)), 3) for width in (32, 64, 128, 256, 512, 1024, 2048)
    },
    "images (128-64, batch 512)": {
      count: median(small._replace(images=count), 2)
      for count in (15_000, 60_000, 240_000, 1_000_000, 6_000_000)
    },
  }


PARTS: dict[str, Callable[[int], dict[str, Any]]] = {
  "epoch": epoch_part,
  "start": start_part,
  "job": job_part,
  "overhead": overhead_part,
  "sweep": sweep_part,
  "scaling": scaling_part,
}


def part_table(part: str, content: Mapping[str, Any]) -> str:
  """Returns a part's results as Markdown tables, and where they were measured."""
  e = content["environment"]
  versions = ", ".join(
    f"{name} {e['packages'][name]}" for name in ("jax", "torch", "keras", "scikit-learn")
  )
  rows = "\n".join(RENDERERS[part](content["measured"])).strip()
  return f"{rows}\n\n{e['devices']}, {e['cpu_cores']} cores of {e['processor']}; {versions}."


def update_page(page: str, results: Mapping[str, Any]) -> str:
  """Returns the page on performance with the tables of these results."""
  for part, content in results.items():
    page = pages.replace_part(page, part, "benchmark", part_table(part, content))
  return page


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
  import matplotlib

  matplotlib.use("Agg")
  import matplotlib.pyplot as plt

  cases = {case: found for case, found in measured.items() if case.startswith("adam")}
  if not cases:
    return
  figure, axes = plt.subplots(
    1, len(cases), figsize=(9, 3.2), sharey=True, squeeze=False, layout="tight"
  )
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
  plt.close(figure)


if __name__ == "__main__":
  commandline.run(main)
