"""Trains recipes over seeds, and makes the table of what they reach.

    python scripts/recipes.py --recipes=quick,adam --seeds=0:5

Every run is a process of its own, `python -m mnist_mlp.main`, in <runs>/<recipe>/seed-<n>: what was
interrupted goes on where it stopped, and what is finished is not trained again. The results go to
--results, `results/recipes.json`; the table of all that it holds is printed as Markdown.

Selection is on validation only. So runs train on all of train, and their test errors are recorded;
with --validate they hold out the last twelfth of it, in <runs>/<recipe>-validate/, and only the
error on that is shown:

    python scripts/recipes.py --recipes=quick --seeds=0:3 --validate \
        --override=optimizer.learning_rate=1e-3

With --committee, a recipe's runs are also recorded together, their probabilities averaged. With
--update, README.md gets the table, and the headers of configs/ their figures.
"""

import hashlib
import json
import math
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pages
from absl import flags
from ml_collections import ConfigDict

from mnist_mlp import config as config_lib
from mnist_mlp.errors import RunError, UsageError, listing
from mnist_mlp.run import cli as commandline
from mnist_mlp.run.workdir import Workdir

ROOT = Path(__file__).resolve().parents[1]

# What others published for the method of a recipe: test error in per cent, and where.
PUBLISHED = {
  "adam": "1.60 (Keras's example)",
  "elastic": "0.7 (Simard 2003)",
  "committee of deep": "0.39 (Meier 2011, 25 nets)",
  "deep": "0.35 (Ciresan 2010, 4 times the weights)",
  "deep_big": "0.35 (Ciresan 2010)",
  "dropout": "1.06 (Srivastava 2014)",
  "lab_tanh": "12.93 (its program)",
  "streamed": "about 2 (its program)",
  "streamed loss.smallest_probability=1e-7 model.init=glorot model.init_scale=1": "about 2 (its program)",
}

_HELD_OUT = 1 / 12  # the share of train that is validation; 5,000 of MNIST

_RECIPES = flags.DEFINE_list("recipes", [], "names of files in configs/, without .py; none: table")
_SEEDS = flags.DEFINE_string("seeds", "0:5", "first:end, like a range, or a list: 0,3,4")
_VALIDATE = flags.DEFINE_bool("validate", False, "hold out validation examples; never test")
_OVERRIDE = flags.DEFINE_multi_string(
  "override", [], "FIELD=VALUE of the config, without 'config.'; recorded with the results"
)
_COMMITTEE = flags.DEFINE_bool(
  "committee", False, "also record the mean of what a recipe's seeds say (Meier et al. 2011)"
)
_RUNS = flags.DEFINE_string("runs", "runs/recipes", "folder of the runs")
_RESULTS = flags.DEFINE_string("results", "results/recipes.json", "file of the results")
_UPDATE = flags.DEFINE_bool("update", False, "bring README.md and configs/ up to date")
_TIMED = flags.DEFINE_bool("timed", True, "record seconds; say --notimed when the machine is busy")


def main() -> None:
  """Trains what is missing, then prints the table."""
  seeds = parse_seeds(_SEEDS.value)
  configs = [_config_path(name) for name in _RECIPES.value]
  for override in _OVERRIDE.value:
    check_override(override)
  results = read_results(Path(_RESULTS.value))
  for config in configs:
    examples = _prepare_data(config)
    held_out = round(_HELD_OUT * examples) if _VALIDATE.value else 0
    errors, workdirs = [], []
    for seed in seeds:
      workdir, seconds = _train(config, seed, held_out)
      workdirs.append(workdir)
      if _VALIDATE.value:
        errors.append(_validation_error(workdir))
      else:
        changes = changes_to_default(Workdir(workdir).config())
        results = _add(config.stem, changes, seed, _measure(workdir), seconds)
    if _COMMITTEE.value and not _VALIDATE.value:
      name = f"committee of {len(set(seeds))} {config.stem}"
      members = ",".join(map(str, sorted(set(seeds))))
      results = _add(name, changes, members, _measure(*workdirs), None)
    if _VALIDATE.value:
      print(f"{config.stem}: validation error {mean_and_std(errors)}%, {len(errors)} seeds")
  if not _VALIDATE.value:
    print(table(results))
  if _UPDATE.value:
    update_docs(results, ROOT)


def _add(
  recipe: str,
  changes: Mapping[str, Any],
  seed: int | str,
  measured: Mapping[str, Any],
  seconds: float | None,
) -> dict[str, Any]:
  """Records a seed or a committee in the file of results; returns all that it holds then."""
  path = Path(_RESULTS.value)
  results = read_results(path)  # Anew: another process may have added to them meanwhile.
  record(results, recipe, _OVERRIDE.value, changes, seed, measured, seconds)
  _write(path, results)
  return results


def parse_seeds(text: str) -> list[int]:
  """Returns the seeds of '0:5' or '0,3,4'; raises a UsageError for anything else."""
  try:
    first, colon, end = text.partition(":")
    seeds = list(range(int(first), int(end))) if colon else [int(seed) for seed in text.split(",")]
  except ValueError:
    seeds = []
  if not seeds:
    raise UsageError(f"--seeds is {text!r}, but must look like 0:5 or 0,3,4")
  return seeds


def _config_path(name: str) -> Path:
  known = sorted(path.stem for path in (ROOT / "configs").glob("*.py"))
  if name not in known:
    raise UsageError(f"--recipes names {name!r}, which is not one of {listing(known)}")
  return ROOT / "configs" / f"{name}.py"


def check_override(override: str) -> None:
  """Raises a UsageError for an override that takes the choice of examples or seeds from us."""
  name, equals, _ = override.partition("=")
  if not equals:
    raise UsageError(f"--override is {override!r}, but must look like FIELD=VALUE")
  if name in ("seed", "data.validation_examples", "data.offline"):
    raise UsageError(
      f"--override names {name}, which this script decides: seeds by --seeds, validation "
      "examples by --validate, and a stand-in for the data is never used"
    )


def _prepare_data(config: Path) -> int:
  """Prepares the recipe's data, so that no run's time includes that; counts its train examples."""
  from mnist_mlp.data import dataset as data

  loaded = commandline.load_config(config)
  for override in _OVERRIDE.value:
    name, _, value = override.partition("=")
    if name in ("data.name", "data.files", "data.data_dir", "data.manual_dir"):
      loaded.data[name.removeprefix("data.")] = value
  loaded.data.offline = ""
  loaded.data.validation_examples = 0
  return data.load(loaded.data).train.num_examples


def _train(config: Path, seed: int, held_out: int) -> tuple[Path, float | None]:
  """Trains a seed; returns its workdir, and its seconds if they are those of a whole run.

  The process sees for itself whether the run is finished, and whether it is one of this config.
  """
  variant = config.stem + ("-validate" if _VALIDATE.value else "")
  if _OVERRIDE.value:
    variant += "-" + hashlib.sha256(repr(sorted(_OVERRIDE.value)).encode()).hexdigest()[:8]
  workdir = Path(_RUNS.value) / variant / f"seed-{seed}"
  fresh = not workdir.exists()
  command = [
    sys.executable,
    "-m",
    "mnist_mlp.main",
    f"--config={config}",
    f"--workdir={workdir}",
    f"--config.seed={seed}",
    "--config.data.offline=",
    f"--config.data.validation_examples={held_out}",
    *(f"--config.{override}" for override in _OVERRIDE.value),
  ]
  print(f"{variant} seed {seed} ...", flush=True)
  started = time.perf_counter()
  log = workdir.with_name(f"seed-{seed}.log")
  log.parent.mkdir(parents=True, exist_ok=True)
  with log.open("a") as file:
    done = subprocess.run(command, stdout=file, stderr=file, stdin=subprocess.DEVNULL, check=False)
  seconds = time.perf_counter() - started
  if done.returncode:
    last = log.read_text().strip().splitlines()[-1:]
    raise RunError(f"{config.stem} with seed {seed} failed: {' '.join(last)} (see {log})")
  return workdir, round(seconds, 1) if fresh and _TIMED.value else None


def _validation_error(workdir: Path) -> float:
  """Returns the validation error in per cent, at the end of the run rather than at its best."""
  return 100 * (1 - Workdir(workdir).result()["validation"]["accuracy"])


def _measure(*workdirs: Path) -> dict[str, Any]:
  """Returns what a finished run, or the committee of several, reaches on test.

  Raises:
    RunError: one did not train on all of train.
  """
  # Here because JAX takes seconds, which a wrong flag need not wait for.
  from mnist_mlp.data import dataset as data
  from mnist_mlp.inference import pictures as inference

  results = [Workdir(workdir).result() for workdir in workdirs]
  for workdir, result in zip(workdirs, results, strict=True):
    if result["dataset"]["examples"]["validation"] or result["dataset"]["stand_in_for"]:
      raise RunError(
        f"the run in {workdir} did not train on all of train; its test error is nobody's business"
      )
  net = inference.load_nets(workdirs)
  test = data.load(net.config.data, report=lambda line: None).test
  measured = score(net.probabilities(net.logits(test.images)), test.labels)
  stored = results[0]["test"]["error_percent"]
  if len(results) == 1 and not math.isclose(measured["error"], stored, abs_tol=1e-3):
    raise RunError(
      f"the checkpoint in {workdirs[0]} has {measured['error']}% test error, but its result.json "
      f"says {stored}%"
    )
  return {**measured, "environment": results[0]["environment"]}


def score(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
  """Returns the error in per cent, that of both halves, and the expected calibration error.

  Args:
    probabilities: float [N, classes].
    labels: int [N].
  """
  from mnist_mlp.run.figures import expected_calibration_error

  wrong = probabilities.argmax(-1) != labels
  halves = np.array_split(wrong, 2)
  return {
    "error": round(100 * float(wrong.mean()), 4),
    "halves": [round(100 * float(half.mean()), 4) for half in halves],
    "calibration_error": round(100 * float(expected_calibration_error(labels, probabilities)), 3),
  }


def read_results(path: Path) -> dict[str, Any]:
  """Returns the content of the results file; an empty one if there is none.

  {'environments': [...], 'recipes': {name: {'config': {...}, 'seeds': {seed: {...}}}}}, where
  config is what differs from the default, and a seed has its error, that of both halves of test and
  its expected calibration error in per cent, its seconds (null if they were not measured), and the
  index of its environment.
  """
  try:
    results = json.loads(path.read_text())
  except FileNotFoundError:
    return {"environments": [], "recipes": {}}
  except (OSError, ValueError) as error:
    raise RunError(f"{path} cannot be read: {error}; move it away to start anew") from error
  if not isinstance(results, dict) or set(results) != {"environments", "recipes"}:
    raise RunError(f"{path} holds no results of recipes; move it away to start anew")
  return results


def changes_to_default(config: ConfigDict) -> dict[str, Any]:
  """Returns the fields that make a recipe: those that differ from the default, but for the seed
  and where the data is."""
  default = config_lib.flatten(config_lib.default())
  ours = config_lib.flatten(config)
  apart = ("seed", "data.data_dir", "data.manual_dir", "data.offline", "data.validation_examples")
  return json.loads(
    json.dumps(
      {
        name: value
        for name, value in sorted(ours.items())
        if name not in apart and value != default[name]
      }
    )
  )


def record(
  results: dict[str, Any],
  recipe: str,
  overrides: Sequence[str],
  changes: Mapping[str, Any],
  seed: int | str,
  measured: Mapping[str, Any],
  seconds: float | None,
) -> None:
  """Adds a seed, or a committee by the seeds of its members, to the results, in place.

  Seconds that are known already stay known; results of another config, from before the recipe was
  changed, go.
  """
  name = " ".join([recipe, *sorted(overrides)])
  if results["recipes"].get(name, {}).get("config") != changes:
    results["recipes"][name] = {"config": changes, "seeds": {}}
  entry = results["recipes"][name]
  environment = measured["environment"]
  if environment not in results["environments"]:
    results["environments"].append(environment)
  old = entry["seeds"].get(str(seed), {})
  entry["seeds"][str(seed)] = {
    **measured,
    "environment": results["environments"].index(environment),
    "seconds": old.get("seconds") if seconds is None else seconds,
  }


def _write(path: Path, results: dict[str, Any]) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_name(f".{path.name}.{os.getpid()}")
  temporary.write_text(json.dumps(results, indent=1) + "\n")
  temporary.replace(path)


def mean_and_std(values: Sequence[float]) -> str:
  """Returns '1.41 ± 0.05', with the standard deviation of a sample; one value has none."""
  mean = f"{statistics.mean(values):.2f}"
  return f"{mean} ± {statistics.stdev(values):.2f}" if len(values) > 1 else mean


def measured_line(entry: Mapping[str, Any]) -> str:
  """Returns the line that a config's header has of its results."""
  errors = [seed["error"] for seed in entry["seeds"].values()]
  return f"Measured: {mean_and_std(errors)}% test error, {_count(len(errors), 'seed')}."


def _count(number: int, noun: str) -> str:
  return f"{number} {noun}" + ("s" if number != 1 else "")


def table(results: Mapping[str, Any]) -> str:
  """Returns a Markdown table of everything in the results, and where they were measured."""
  columns = (
    "recipe",
    "published error, %",
    "error, % (seeds)",
    "on each half of test, %",
    "calibration error, %",
    "seconds",
  )
  rows = [columns, ["---"] * len(columns)]
  for name, entry in results["recipes"].items():
    seeds = entry["seeds"].values()
    halves = [statistics.mean(seed["halves"][half] for seed in seeds) for half in range(2)]
    seconds = [seed["seconds"] for seed in seeds if seed["seconds"] is not None]
    rows.append(
      (
        f"`{name}`",
        PUBLISHED.get(re.sub(r"^committee of \d+", "committee of", name), "none"),
        f"{mean_and_std([seed['error'] for seed in seeds])} ({len(seeds)})",
        f"{halves[0]:.2f}, {halves[1]:.2f}",
        mean_and_std([seed["calibration_error"] for seed in seeds]),
        f"{statistics.mean(seconds):.0f}" if seconds else "not measured",
      )
    )
  machines = {
    f"{e['devices']}, {_count(e['cpu_cores'], 'core')} of {e['processor']}, "
    f"JAX {e['packages']['jax']}"
    for e in results["environments"]
  }
  lines = ["| " + " | ".join(row) + " |" for row in rows]
  return "\n".join([*lines, "", "Measured on " + "; ".join(sorted(machines)) + "."])


def update_docs(results: Mapping[str, Any], root: Path) -> None:
  """Brings the table in root/README.md up to date, and the figures in the headers of root/configs/.

  A header's line follows what it says of the recipe, or replaces the one that it has.
  """
  readme = root / "README.md"
  readme.write_text(pages.replace_part(readme.read_text(), "table", "recipes", table(results)))
  for name, entry in results["recipes"].items():
    path = root / "configs" / f"{name}.py"
    if path.exists():  # else it is a committee, or has overrides
      _, header, code = path.read_text().split('"""', 2)
      header = re.sub(r"\n+Measured: .*\n", "\n", header)
      path.write_text(f'"""{header}\n{measured_line(entry)}\n"""{code}')


if __name__ == "__main__":
  commandline.run(main)
