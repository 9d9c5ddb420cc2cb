"""Shows that a change of the code leaves every result as it was, to the bit.

    python scripts/same_bits.py --record=before.json --checkout=../before
    python scripts/same_bits.py --record=after.json
    python scripts/same_bits.py --compare before.json after.json

Each case trains a small net on the embedded digits, as a process of its own. What is recorded of a
run: the digest of its last checkpoint (parameters, optimizer state and all), the SHA-256 of
metrics.jsonl, and the test result. Both records must come from the same machine and versions.
"""

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SMALL = {
  "data.name": "digits",
  "data.validation_examples": 200,
  "batch_size": 50,
  "num_epochs": 3,
  "model.features": "(24,16)",
}
RATES = {"sgd": 0.1, "momentum": 0.05, "nesterov": 0.05, "adagrad": 0.02, "lion": 3e-4}
ELASTIC = {
  "augment.elastic_alpha": 34.0,
  "augment.rotation": 10.0,
  "augment.rotation_of": "(1,7)",
  "augment.rotation_for_those": 5.0,
  "augment.scale": 0.1,
  "augment.shift": 1.0,
  "augment.shear": 0.1,
}
# One case for each value of the overrides that are all of one kind, and for each feature.
CASES = {
  **{
    name: {"optimizer.name": name, "optimizer.learning_rate": RATES.get(name, 0.003)}
    for name in (
      "sgd",
      "momentum",
      "nesterov",
      "adam",
      "adamw",
      "nadamw",
      "rmsprop",
      "adagrad",
      "lion",
      "lamb",
      "muon",
      "schedule_free",
    )
  },
  "lbfgs": {
    "optimizer.name": "lbfgs",
    "batch_size": 1300,
    "num_epochs": 0,
    "num_steps": 12,
    "eval_every_steps": 4,
  },
  "decay and clipping": {
    "optimizer.name": "adamw",
    "optimizer.weight_decay": 0.05,
    "optimizer.clip_norm": 1.0,
    "optimizer.max_norm": 2.0,
    "schedule.name": "cosine",
    "schedule.warmup_epochs": 0.5,
  },
  "dropout": {"model.dropout": 0.3, "model.input_dropout": 0.1},
  "batch norm, EMA": {"model.norm": "batch", "ema.decay": 0.95, "schedule.name": "one_cycle"},
  "layer norm, standardised": {
    "model.norm": "layer",
    "model.inputs": "standardized",
    "model.activation": "gelu",
    "schedule.name": "step",
  },
  "augmentation": {**ELASTIC, "augment.clean_epochs": 1.0},
  "augmentation to the end": ELASTIC,
  "bfloat16": {"model.dtype": "bfloat16", "loss.label_smoothing": 0.1},
  "adversarial, L2": {"loss.adversarial_radius": 1.0, "loss.l2": 1e-3},
  "squared error": {"loss.name": "squared_error", "model.init": "he"},
  "raw pixels": {"model.inputs": "raw", "model.init_scale": 0.3, "model.features": "()"},
  "sigmoid": {
    "loss.name": "sigmoid_cross_entropy",
    "loss.mean_over_classes": "True",
    "model.init": "normal",
    "model.init_scale": 0.1,
    "model.init_biases": "True",
  },
  "clipped softmax": {"loss.smallest_probability": 1e-3, "model.init": "glorot"},
  "checkpoints between evaluations": {
    "eval_every_epochs": 2.0,
    "checkpoint_every_steps": 7,
    "num_steps": 61,
  },
}
SWEEP = """
from mnist_mlp import config, sweeps

def get_config():
  c = config.default()
  c.data.name, c.data.validation_examples = "digits", 200
  c.batch_size, c.num_epochs, c.model.features = 50, 4.0, (24, 16)
  return c

def sweep():
  yield from sweeps.grid({"optimizer.learning_rate": [0.001, 0.01], "seed": [0, 1]})
  yield {"optimizer.learning_rate": 1e30}
  yield {"optimizer.learning_rate": 0.003, "model.dropout": 0.2}
"""
SWEEPS = {
  "vmapped sweep": ("--engine=vmap",),
  "vmapped sweep, halving": ("--engine=vmap", "--halving=2"),
  "sweep in processes": ("--engine=processes", "--processes=2"),
}


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--record", type=Path, help="file for what this checkout gives")
  parser.add_argument("--checkout", type=Path, default=ROOT, help="the code to run")
  parser.add_argument("--only", nargs="*", help="names of cases; by default all")
  parser.add_argument("--compare", type=Path, nargs=2, help="two such files")
  options = parser.parse_args()
  if options.record:
    with tempfile.TemporaryDirectory() as folder:
      record(Path(folder), options.checkout.resolve(), options.record, options.only)
  if options.compare:
    sys.exit(compare(*(json.loads(path.read_text()) for path in options.compare)))


def record(folder, checkout, target, only):
  """Runs the cases with the code of a checkout, and writes what they gave."""
  found = {}
  for name, work in work_of(folder, checkout).items():
    if not only or name in only:
      found[name] = work()
      print(f"{name}: recorded", flush=True)
      target.write_text(json.dumps(found, indent=1) + "\n")


def work_of(folder, checkout):
  """Returns for each case the function that does it and returns its facts."""

  def lone(name, overrides):
    workdir = folder / name
    run(checkout, *arguments(overrides), f"--workdir={workdir}")
    return facts(workdir)

  def resumed():
    workdir = folder / "resumed"
    command = [*arguments({**ELASTIC, "num_epochs": 60, "ema.decay": 0.9}), f"--workdir={workdir}"]
    kill_after(5, workdir / "metrics.jsonl", checkout, command)
    run(checkout, *command)
    return facts(workdir)

  def sweep(name, options):
    file, workdir = folder / "sweep.py", folder / name
    file.write_text(SWEEP)
    run(checkout, f"--config={file}", f"--workdir={workdir}", *options, module="mnist_mlp.sweep")
    return {member.name: facts(member) for member in sorted((workdir / "members").iterdir())}

  cases = {name: lambda name=name, o=o: lone(name, o) for name, o in CASES.items()}
  sweeps = {name: lambda name=name, o=o: sweep(name, o) for name, o in SWEEPS.items()}
  return {**cases, "killed and resumed": resumed, **sweeps}


def arguments(overrides):
  fields = {**SMALL, **overrides}
  return [
    "--config=configs/sgd.py",
    "--config.optimizer.name=adam",
    *(f"--config.{name}={value}" for name, value in fields.items()),
  ]


def start(checkout, *command, module="mnist_mlp.main"):
  return subprocess.Popen(
    [sys.executable, "-m", module, *command],
    cwd=checkout,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    env={**os.environ, "PYTHONPATH": str(checkout)},
  )


def run(checkout, *command, module="mnist_mlp.main"):
  process = start(checkout, *command, module=module)
  output, _ = process.communicate()
  if process.returncode:
    sys.exit(f"error: {command} failed:\n{output}")


def kill_after(rows, file, checkout, command):
  """Starts a run, and kills it once it has reported some evaluations."""
  process = start(checkout, *command)
  while not file.exists() or file.read_text().count("\n") < rows:
    if process.poll() is not None:
      sys.exit(f"error: the run ended before it was killed:\n{process.communicate()[0]}")
    time.sleep(0.01)
  process.send_signal(signal.SIGKILL)
  process.communicate()


def facts(workdir):
  """Returns what is compared of a run; a run that diverged has no checkpoint and no result."""
  saved = sorted((workdir / "checkpoints").glob("[0-9]*"), key=lambda path: int(path.name))
  result = workdir / "result.json"
  return {
    "digest": json.loads((saved[-1] / "about" / "metadata").read_text())["digest"]
    if saved
    else None,
    "metrics": hashlib.sha256((workdir / "metrics.jsonl").read_bytes()).hexdigest(),
    "test": json.loads(result.read_text())["test"] if result.exists() else None,
  }


def compare(before, after):
  """Prints a line for each case of either record; returns the exit code."""
  code = 0
  for name in dict.fromkeys([*before, *after]):
    same = before.get(name) == after.get(name)
    code |= not same
    print(f"{name}: {'the same bits' if same else 'DIFFERS'}")
    if not same:
      print(f"  {before.get(name)}\n  {after.get(name)}")
  return code


if __name__ == "__main__":
  main()
