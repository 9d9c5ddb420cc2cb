"""The parts of `benchmark.py`: what is timed, and how. See there."""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import contestants
import numpy as np
from benchmark_tables import LIMITS, OURS, WARM_UP
from contestants import CASES, Case
from timing import epochs, process, turns

from mnist_mlp import config, data

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


def epoch_part(rounds: int, cases: Sequence[str]) -> dict[str, Any]:
  """Times every contestant, or for `lab_tanh` some, by case."""
  everyone = list(contestants.CONTESTANTS)
  if "cpu" not in environment()["devices"]:
    everyone += contestants.ON_A_GPU
  some = [OURS, "PyTorch", "JAX, a step per NumPy batch", *LIMITS]
  return {
    case: epochs(CASES[case], some if case == "lab_tanh" else everyone, rounds, WARM_UP)
    for case in cases or CASES
  }


# Ends the process when the first chunk of steps is finished.
FIRST_CHUNK = """
import os
import jax
from mnist_mlp import main
from mnist_mlp.core import steps
from mnist_mlp.run import cli
train_chunk = steps.train_chunk
def first_chunk(*arguments, **options):
  jax.block_until_ready(train_chunk(*arguments, **options))
  os._exit(0)
steps.train_chunk = first_chunk
cli.run(main.main, main.define_flags)
"""


def start_part(rounds: int, _: Sequence[str]) -> dict[str, Any]:
  """The compilation cache holds the program: a run before the first turn filled it."""
  imports = "import jax, flax, optax; jax.jit(lambda x: x + 1)(1.0).block_until_ready()"
  with tempfile.TemporaryDirectory() as folder:
    command = [
      sys.executable,
      "-c",
      FIRST_CHUNK,
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
from mnist_mlp import main
from mnist_mlp.run import cli, tensorboard
tensorboard.create_writer = lambda logdir, **_: metric_writers.AsyncMultiWriter(
    [SummaryWriter(str(logdir))])
cli.run(main.main, main.define_flags)
"""


def job_part(rounds: int, _: Sequence[str]) -> dict[str, Any]:
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
  dataset = data.load(config.default().data, report=lambda line: None)
  arrays = {}
  for split in ("train", "validation", "test"):
    images, labels = getattr(dataset, split)
    arrays |= {f"{split}_images": images, f"{split}_labels": labels}
  np.savez(path, **arrays)


def overhead_part(rounds: int, _: Sequence[str]) -> dict[str, Any]:
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


def sweep_part(rounds: int, _: Sequence[str]) -> dict[str, Any]:
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


def scaling_part(rounds: int, _: Sequence[str]) -> dict[str, Any]:
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


PARTS: dict[str, Callable[[int, Sequence[str]], dict[str, Any]]] = {
  "epoch": epoch_part,
  "start": start_part,
  "job": job_part,
  "overhead": overhead_part,
  "sweep": sweep_part,
  "scaling": scaling_part,
}
