"""Trains recipes over seeds, and makes the table of what they reach.

    python scripts/recipes.py --recipes=quick,adam --seeds=0:5

Every run is a process of its own, `python -m mnist_mlp.main`, in <runs>/<recipe>/seed-<n>. What was
interrupted goes on where it stopped, and what is finished is not trained again. The results go to
--results, `results/recipes.json`. The table of all that the file holds is printed as Markdown.

Runs train on all of train, and their test errors are recorded. Settings are selected on validation
only: with --validate, runs hold out the last twelfth of train, in <runs>/<recipe>-validate/, and
only the error on that is shown:

    python scripts/recipes.py --recipes=quick --seeds=0:3 --validate \
        --override=optimizer.learning_rate=1e-3

With --committee, a recipe's runs are also recorded together, their probabilities averaged. With
--update, docs/results.md gets the table, and the headers of configs/ get their figures.
"""

import hashlib
import math
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import recipe_results
from absl import flags
from etils import epy
from recipe_results import Measurement

from mnist_mlp import data
from mnist_mlp.errors import RunError, UsageError, listing
from mnist_mlp.run import cli
from mnist_mlp.run.config_files import load_config
from mnist_mlp.run.workdir import Workdir

with epy.lazy_imports():  # JAX takes seconds, for which a wrong flag need not wait.
  from mnist_mlp import inference

ROOT = Path(__file__).resolve().parents[1]

_HELD_OUT = 1 / 12  # the share of train that is validation; 5,000 of MNIST


def define_flags(values: flags.FlagValues, arguments: Sequence[str]) -> None:
  """Defines this script's flags."""
  del arguments
  flags.DEFINE_list("recipes", [], "names of files in configs/, without .py; none: table", values)
  flags.DEFINE_string("seeds", "0:5", "first:end, like a range, or a list: 0,3,4", values)
  flags.DEFINE_bool("validate", False, "hold out validation examples; never test", values)
  flags.DEFINE_multi_string(
    "override", [], "FIELD=VALUE of the config, without 'config.'; recorded with results", values
  )
  flags.DEFINE_bool(
    "committee", False, "also record the mean of what the seeds say (Meier et al. 2011)", values
  )
  flags.DEFINE_string("runs", "runs/recipes", "folder of the runs", values)
  flags.DEFINE_string("results", "results/recipes.json", "file of the results", values)
  flags.DEFINE_bool("update", False, "bring docs/results.md and configs/ up to date", values)
  flags.DEFINE_bool("timed", True, "record seconds; say --notimed on a busy machine", values)


def main(line: cli.CommandLine) -> None:
  """Trains what is missing, then prints the table."""
  given = line.flags
  seeds = parse_seeds(given.seeds)
  configs = [_config_path(name) for name in given.recipes]
  for override in given.override:
    check_override(override)
  recipe_results.read(Path(given.results))  # An error now, rather than after training.
  for config in configs:
    if given.validate:
      _validate(config, seeds, given)
    else:
      _measure_recipe(config, seeds, given)
  results = recipe_results.read(Path(given.results))
  if not given.validate:
    print(recipe_results.table(results))
  if given.update:
    recipe_results.update_docs(results, ROOT)


def _validate(config: Path, seeds: Sequence[int], given: flags.FlagValues) -> None:
  held_out = round(_HELD_OUT * _prepare_data(config, given.override))
  errors = []
  for seed in seeds:
    workdir, _ = _train(config, seed, held_out, given)
    # At the end of the run, rather than at its best.
    errors.append(100 * (1 - Workdir(workdir).result()["validation"]["accuracy"]))
  mean = recipe_results.mean_and_std(errors)
  print(f"{config.stem}: validation error {mean}%, {len(errors)} seeds")


def _measure_recipe(config: Path, seeds: Sequence[int], given: flags.FlagValues) -> None:
  _prepare_data(config, given.override)
  name, workdirs = " ".join([config.stem, *sorted(given.override)]), []
  for seed in seeds:
    workdir, seconds = _train(config, seed, 0, given)
    workdirs.append(workdir)
    changes = recipe_results.changes_to_default(Workdir(workdir).config())
    _add(Measurement(name, changes, seed, _measure(workdir), seconds), given)
  if given.committee:
    members = ",".join(map(str, sorted(set(seeds))))
    committee = f"committee of {len(set(seeds))} {name}"
    _add(Measurement(committee, changes, members, _measure(*workdirs), None), given)


def _add(measurement: Measurement, given: flags.FlagValues) -> None:
  path = Path(given.results)
  results = recipe_results.read(path)  # Anew: another process may have added to them meanwhile.
  recipe_results.record(results, measurement)
  recipe_results.write(path, results)


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


def _prepare_data(config: Path, overrides: Sequence[str]) -> int:
  """Prepares the recipe's data, so that no run's time includes that; counts its train examples."""
  loaded = load_config(config)
  for override in overrides:
    name, _, value = override.partition("=")
    if name in ("data.name", "data.files", "data.data_dir", "data.manual_dir"):
      loaded.data[name.removeprefix("data.")] = value
  loaded.data.offline = ""
  loaded.data.validation_examples = 0
  return data.load(loaded.data).train.num_examples


def _train(
  config: Path, seed: int, held_out: int, given: flags.FlagValues
) -> tuple[Path, float | None]:
  """Trains a seed; returns its workdir, and its seconds if they are those of a whole run.

  The process sees for itself whether the run is finished, and whether it is one of this config.
  """
  variant = config.stem + ("-validate" if given.validate else "")
  if given.override:
    variant += "-" + hashlib.sha256(repr(sorted(given.override)).encode()).hexdigest()[:8]
  workdir = Path(given.runs) / variant / f"seed-{seed}"
  fresh = not workdir.exists()
  command = [sys.executable, "-m", "mnist_mlp.main", f"--config={config}", f"--workdir={workdir}"]
  command += [f"--config.seed={seed}", "--config.data.offline="]
  command += [f"--config.data.validation_examples={held_out}"]
  command += [f"--config.{override}" for override in given.override]
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
  return workdir, round(seconds, 1) if fresh and given.timed else None


def _measure(*workdirs: Path) -> dict[str, Any]:
  """Returns what a finished run, or the committee of several, reaches on test.

  Raises:
    RunError: one did not train on all of train.
  """
  results = [Workdir(workdir).result() for workdir in workdirs]
  for workdir, result in zip(workdirs, results, strict=True):
    if result["dataset"]["examples"]["validation"] or result["dataset"]["stand_in_for"]:
      raise RunError(
        f"the run in {workdir} did not train on all of train; its test error is nobody's business"
      )
  net = inference.load_nets(workdirs)
  test = data.load(net.config.data, report=lambda line: None).test
  measured = recipe_results.score(net.probabilities(net.logits(test.images)), test.labels)
  stored = results[0]["test"]["error_percent"]
  if len(results) == 1 and not math.isclose(measured["error"], stored, abs_tol=1e-3):
    raise RunError(
      f"the checkpoint in {workdirs[0]} has {measured['error']}% test error, but its result.json "
      f"says {stored}%"
    )
  return {**measured, "environment": results[0]["environment"]}


if __name__ == "__main__":
  cli.run(main, define_flags)
