"""scripts/recipes.py, and the figures that the recipes' headers give."""

import json
import os
import shutil
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pages
import processes
import pytest
import recipe_results
import recipes
import shipped
from recipe_results import Measurement

from mnist_mlp.errors import RunError
from mnist_mlp.run.config_files import load_config, load_module

ROOT = Path(__file__).resolve().parents[2]
TINY = (
  "--recipes=quick",
  "--override=num_epochs=1",
  "--override=batch_size=64",
  "--override=model.features=(16,)",
  "--override=data.name=digits",
)
NAME = "quick batch_size=64 data.name=digits model.features=(16,) num_epochs=1"


def run(folder, *arguments, **variables):
  return subprocess.run(
    [sys.executable, ROOT / "scripts" / "recipes.py", *arguments],
    cwd=folder,
    env={**os.environ, **variables},
    capture_output=True,
    text=True,
    timeout=240,
    stdin=subprocess.DEVNULL,
  )


def trained(folder, digits_dir, *arguments):
  done = run(folder, *TINY, "--seeds=0", *arguments, TFDS_DATA_DIR=str(digits_dir))
  assert done.returncode == 0, done.stderr
  return done.stdout


def result_of(workdir):
  return json.loads((workdir / "result.json").read_text())


def results_of(folder):
  return json.loads((folder / "results" / "recipes.json").read_text())


@pytest.mark.slow
def test_trains_on_all_of_train_and_records(tmp_path, digits_dir):
  assert f"| `{NAME}` | none | " in trained(tmp_path, digits_dir)
  seed = results_of(tmp_path)["recipes"][NAME]["seeds"]["0"]
  result = result_of(next((tmp_path / "runs" / "recipes").glob("*/seed-0")))
  assert result["dataset"]["examples"] == {"train": 1500, "validation": 0, "test": 297}
  assert seed["error"] == pytest.approx(result["test"]["error_percent"], abs=1e-4)
  assert seed["seconds"] > result["seconds"]
  assert results_of(tmp_path)["environments"][seed["environment"]] == result["environment"]


@pytest.mark.slow
def test_a_finished_run_is_not_trained_again(tmp_path, digits_dir):
  trained(tmp_path, digits_dir)
  results = results_of(tmp_path)
  file = next((tmp_path / "runs" / "recipes").glob("*/seed-0")) / "result.json"
  before = file.stat().st_mtime_ns
  trained(tmp_path, digits_dir)
  assert file.stat().st_mtime_ns == before
  assert results_of(tmp_path) == results


@pytest.mark.slow
def test_validation_does_not_show_test(tmp_path, digits_dir):
  output = trained(tmp_path, digits_dir, "--validate")
  result = result_of(next((tmp_path / "runs" / "recipes").glob("quick-validate-*/seed-0")))
  assert result["dataset"]["examples"]["validation"] == 125
  error = 100 * (1 - result["validation"]["accuracy"])
  assert output.splitlines()[-1] == f"quick: validation error {error:.2f}%, 1 seeds"
  assert f"{result['test']['error_percent']:.2f}" not in output
  assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
  "arguments, message",
  [
    (["--recipes=qick"], "'qick', which is not one of adam, "),
    (["--recipes=quick", "--seeds=5:0"], "--seeds is '5:0', but must look like 0:5 or 0,3,4"),
    (["--recipes=quick", "--override=seed=3"], "--override names seed, which this script decides"),
    (["--recipes=quick", "--override=data.validation_examples=9"], "which this script decides"),
    (["--recipes=quick", "--override=seed"], "must look like FIELD=VALUE"),
  ],
)
def test_wrong_arguments_are_refused(tmp_path, arguments, message):
  done = run(tmp_path, *arguments)
  assert done.returncode == 2 and done.stderr.startswith("error: "), done.stderr
  assert message in done.stderr and done.stderr.count("\n") == 1
  assert not list(tmp_path.iterdir())


def test_score():
  labels = np.array([0, 1, 1, 0, 1])
  probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.05, 0.95], [0.7, 0.3], [0.6, 0.4]])
  score = recipe_results.score(probabilities, labels)
  assert score["error"] == 40
  assert score["halves"] == [pytest.approx(33.3333), 50]
  assert score["calibration_error"] == pytest.approx(
    100 * (0.1 + 0.8 + 0.05 + 0.3 + 0.6) / 5
  )  # each in a bin of its own


ENVIRONMENT = {
  "devices": "1 x cpu",
  "cpu_cores": 2,
  "processor": "Zuse Z3",
  "packages": {"jax": "0.10.2"},
}


def measured(error, **environment):
  return {
    "error": error,
    "halves": [error + 0.1, error - 0.1],
    "calibration_error": 0.5,
    "environment": {**ENVIRONMENT, **environment},
  }


def test_the_table_shows_mean_and_standard_deviation():
  results = {"environments": [], "recipes": {}}
  for seed, error in enumerate((1.3, 1.4, 1.6)):
    measurement = Measurement("adam", {"seed": 1}, seed, measured(error), 10.0 + seed)
    recipe_results.record(results, measurement)
  other = Measurement("deep batch_size=3", {}, 7, measured(0.5, cpu_cores=4), None)
  recipe_results.record(results, other)
  lines = recipe_results.table(results).splitlines()
  assert lines[2] == (
    "| `adam` | 1.60 (Keras's example) | 1.43 ± 0.15 (3) | 1.53, 1.33 | 0.50 ± 0.00 | 11 |"
  )
  assert lines[3] == (
    "| `deep batch_size=3` | none | 0.50 (1) | 0.60, 0.40 | 0.50 | not measured |"
  )
  assert lines[-1] == (
    "Measured on 1 x cpu, 2 cores of Zuse Z3, JAX 0.10.2; 1 x cpu, 4 cores of Zuse Z3, JAX 0.10.2."
  )


def test_a_resumed_run_keeps_its_seconds_and_a_changed_recipe_loses_its_seeds():
  results = {"environments": [], "recipes": {}}
  first = Measurement("adam", {"batch_size": 1}, 0, measured(1.3), 10.0)
  recipe_results.record(results, first)
  recipe_results.record(results, first._replace(seconds=None))
  assert results["recipes"]["adam"]["seeds"]["0"]["seconds"] == 10.0
  changed = Measurement("adam", {"batch_size": 2}, 1, measured(1.5), 11.0)
  recipe_results.record(results, changed)
  assert list(results["recipes"]["adam"]["seeds"]) == ["1"]
  assert len(results["environments"]) == 1


@pytest.mark.parametrize("content", ["[]", "{}", "null", '{"recipes": {}}', "{", "folder"])
def test_a_file_of_other_things_is_refused(tmp_path, content):
  path = tmp_path / "results.json"
  path.mkdir() if content == "folder" else path.write_text(content)
  with pytest.raises(RunError, match=r"results\.json .*; move it away"):
    recipe_results.read(path)


def test_what_another_process_recorded_meanwhile_stays(tmp_path):
  path = tmp_path / "results.json"
  given = types.SimpleNamespace(results=str(path))
  recipes._add(Measurement("adam", {}, 0, measured(1.3), 10.0), given)
  other = recipe_results.read(path)
  recipe_results.record(other, Measurement("quick", {}, 0, measured(1.2), 8.0))
  recipe_results.write(path, other)
  recipes._add(Measurement("adam", {}, 1, measured(1.4), 11.0), given)
  found = recipe_results.read(path)["recipes"]
  assert set(found) == {"adam", "quick"} and set(found["adam"]["seeds"]) == {"0", "1"}


def test_headers_give_the_measured_figures_of_the_recipe_as_it_is():
  recipes = recipe_results.read(ROOT / "results" / "recipes.json")["recipes"]
  for path in [ROOT / "configs" / f"{name}.py" for name in sorted(shipped.recipes())]:
    header = load_module(path)["__doc__"]
    if path.stem not in recipes:
      assert "Measured" not in header, f"{path.name} gives figures that nothing measured"
      continue
    entry = recipes[path.stem]
    assert entry["config"] == recipe_results.changes_to_default(load_config(path)), path.name
    assert recipe_results.measured_line(entry) in header.splitlines(), path.name


PAGE = ROOT / "docs" / "results.md"


def test_the_page_of_results_shows_what_is_recorded():
  shown = pages.part(PAGE.read_text(), "table", "recipes")
  assert shown == recipe_results.table(recipe_results.read(ROOT / "results" / "recipes.json"))


def test_page_picture_and_headers_are_brought_up_to_date(tmp_path):
  shutil.copytree(ROOT / "configs", tmp_path / "configs")
  (tmp_path / "docs").mkdir()
  shutil.copy(PAGE, tmp_path / "docs")
  results = {"environments": [], "recipes": {}}
  for name in ("adam", "momentum", "committee of 5 deep"):  # with a figure, without one, no config
    recipe_results.record(results, Measurement(name, {}, 0, measured(7.77), 10.0))
  recipe_results.update_docs(results, tmp_path)
  recipe_results.update_docs(results, tmp_path)
  for name in ("adam", "momentum"):
    text = (tmp_path / "configs" / f"{name}.py").read_text()
    assert text.count("Measured, ") == 1
    header, original = (
      (folder / "configs" / f"{name}.py").read_text().split('"""')[1] for folder in (tmp_path, ROOT)
    )
    assert header.splitlines()[-2:] == [
      "",
      "Measured, trained on all of train: 7.77% test error, 1 seed.",
    ]
    assert header.startswith(original.partition("Measured")[0])
    before = (ROOT / "configs" / f"{name}.py").read_text().partition("from mnist_mlp")[2]
    assert text.partition("from mnist_mlp")[2] == before
  page = (tmp_path / "docs" / "results.md").read_text()
  assert "| `committee of 5 deep` | 0.39 (Meier 2011, 25 nets) | 7.77 (1) |" in page
  end = "<!-- end of table -->"
  assert page.partition(end)[2] == PAGE.read_text().partition(end)[2]
  assert (tmp_path / "docs" / "results.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_quick_reaches_its_accuracy_on_mnist(mnist_dir, tmp_path):
  done = processes.run(
    "--config=configs/quick.py",
    f"--workdir={tmp_path / 'run'}",
    "--config.data.offline=",
    "--config.data.validation_examples=0",
    TFDS_DATA_DIR=str(mnist_dir),
  )
  assert done.returncode == 0, done.stderr
  result = json.loads((tmp_path / "run" / "result.json").read_text())
  assert result["dataset"]["examples"] == {"train": 60_000, "validation": 0, "test": 10_000}
  assert result["test"]["error_percent"] <= 1.5
