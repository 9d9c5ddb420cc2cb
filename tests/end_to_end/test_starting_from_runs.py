"""Runs that start from other runs: with the whole state, for more epochs, or with the weights."""

import json
import re
import shutil

import jax
import numpy as np
import processes
import pytest
from lost_runs import config_of, same
from training_runs import read_result

from mnist_mlp import main
from mnist_mlp.core.state import evaluation_variables
from mnist_mlp.errors import RunError, UsageError
from mnist_mlp.run import cli, trained
from mnist_mlp.run.origin import Origin
from mnist_mlp.train import train_and_evaluate


def longer(digits_dir, steps, **changes):
  config = config_of(digits_dir)
  config.num_steps = steps
  with config.unlocked():
    config.update_from_flattened_dict(changes)
  return config


@pytest.fixture(scope="module")
def short(tmp_path_factory, digits_dir):
  """The workdir, not to be written to, of a run of 12 steps."""
  workdir = tmp_path_factory.mktemp("origin") / "short"
  train_and_evaluate(longer(digits_dir, 12), workdir)
  return workdir


def origin_file(workdir):
  return json.loads((workdir / "origin.json").read_text())


def test_more_steps_come_to_what_a_run_of_that_length_does(short, digits_dir, tmp_path):
  before = {path: path.stat().st_mtime_ns for path in short.rglob("*")}
  whole, continued = tmp_path / "whole", tmp_path / "continued"
  train_and_evaluate(longer(digits_dir, 24), whole)
  origin = Origin.of(short, more_epochs=1.0)
  train_and_evaluate(longer(digits_dir, 24), continued, origin=origin)
  assert same(continued, whole)
  assert {path: path.stat().st_mtime_ns for path in short.rglob("*")} == before
  kept = origin_file(continued)
  assert (kept["workdir"], kept["step"], len(kept["digest"])) == (str(short), 12, 64)
  assert read_result(continued)["origin"] == kept and read_result(whole)["origin"] is None


@pytest.mark.slow
def test_a_run_with_an_origin_resumes_without_it(short, digits_dir, tmp_path):
  config, workdir = longer(digits_dir, 24), tmp_path / "run"
  other = shutil.copytree(short, tmp_path / "short")
  train_and_evaluate(config, workdir, origin=Origin.of(other, more_epochs=1.0))
  finished = shutil.copytree(workdir, tmp_path / "finished")
  shutil.rmtree(other)
  for step in (24, 18):
    shutil.rmtree(workdir / "checkpoints" / str(step), ignore_errors=True)
    (workdir / "result.json").unlink(missing_ok=True)
    train_and_evaluate(config, workdir)
    assert same(workdir, finished)
  (workdir / "result.json").unlink()
  shutil.rmtree(workdir / "checkpoints")
  with pytest.raises(UsageError, match=f"the workdir {other} does not exist"):
    train_and_evaluate(config, workdir)


@pytest.mark.slow
def test_a_lost_start_is_made_again_from_the_same_origin_only(short, digits_dir, tmp_path):
  config, workdir = longer(digits_dir, 24), tmp_path / "run"
  other = shutil.copytree(short, tmp_path / "short")
  train_and_evaluate(config, workdir, origin=Origin.of(other, more_epochs=1.0))
  finished = shutil.copytree(workdir, tmp_path / "finished")
  (workdir / "result.json").unlink()
  shutil.rmtree(workdir / "checkpoints")
  train_and_evaluate(config, workdir)
  assert same(workdir, finished)
  (workdir / "result.json").unlink()
  shutil.rmtree(workdir / "checkpoints")
  shutil.rmtree(other)
  train_and_evaluate(longer(digits_dir, 12, seed=5), other)
  with pytest.raises(RunError, match="no longer as it was when this run started from it"):
    train_and_evaluate(config, workdir)


@pytest.mark.slow
def test_the_best_state_so_far_comes_along(digits_dir, tmp_path):
  shaken = {"optimizer.name": "sgd", "optimizer.learning_rate": 2.0}
  for seed in range(20):  # Of steps so long some end worse than they were.
    workdir = tmp_path / f"short{seed}"
    train_and_evaluate(longer(digits_dir, 12, seed=seed, **shaken), workdir)
    if read_result(workdir)["best_validation"]["step"] == 6:
      break
  config = longer(digits_dir, 13, seed=seed, **shaken)
  train_and_evaluate(config, tmp_path / "whole")
  train_and_evaluate(config, tmp_path / "run", origin=Origin.of(workdir, more_epochs=1.0))
  assert read_result(tmp_path / "run")["best_validation"]["step"] == 6
  assert same(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize("norm", [pytest.param("none", marks=pytest.mark.slow), "batch"])
def test_weights_of_another_run_are_those_of_the_first_step(short, digits_dir, tmp_path, norm):
  other = short
  if norm == "batch":
    other = tmp_path / "other"
    train_and_evaluate(longer(digits_dir, 12, **{"model.norm": norm, "ema.decay": 0.9}), other)
  found = trained.read(other)
  wanted = evaluation_variables(found.state, found.config)
  config = longer(
    digits_dir,
    6,
    **{"model.norm": norm, "optimizer.name": "sgd", "optimizer.learning_rate": 0.0, "seed": 3},
  )
  state = train_and_evaluate(config, tmp_path / "run", origin=Origin.of(other))
  jax.tree.map(np.testing.assert_array_equal, state.params, wanted["params"])
  assert trained.read(tmp_path / "run").step == 6
  assert origin_file(tmp_path / "run")["step"] == 12
  rows = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
  assert [json.loads(row)["step"] for row in rows] == [6]
  again = shutil.copytree(tmp_path / "run", tmp_path / "again")
  (again / "result.json").unlink()
  shutil.rmtree(again / "checkpoints" / "6")
  train_and_evaluate(config, again)
  assert same(again, tmp_path / "run")


@pytest.mark.slow
def test_another_start_than_the_folder_had_is_refused(short, digits_dir, tmp_path):
  config = longer(digits_dir, 12)
  fresh = shutil.copytree(short, tmp_path / "fresh")
  with pytest.raises(UsageError, match="holds a run that started anew; leave --start_from out"):
    train_and_evaluate(config, fresh, origin=Origin.of(short))
  train_and_evaluate(config, tmp_path / "run", origin=Origin.of(short))
  train_and_evaluate(config, tmp_path / "run")
  with pytest.raises(UsageError, match="otherwise than asked for"):
    train_and_evaluate(config, tmp_path / "run", origin=Origin.of(short, best=True))


def test_a_net_that_does_not_fit_is_refused_and_nothing_is_begun(short, digits_dir, tmp_path):
  config = longer(digits_dir, 12, **{"model.features": (9,)})
  with pytest.raises(UsageError, match=r"do not fit this config's net: params/\S+ is \(.*\) there"):
    train_and_evaluate(config, tmp_path / "run", origin=Origin.of(short))


@pytest.mark.parametrize(
  ("arguments", "said"),
  [
    (["--more_epochs=3"], "--more_epochs needs --start_from=RUN"),
    (["--best"], "--best needs --start_from=RUN"),
    (["--start_from=no/run"], "needs a --config to train, or --more_epochs"),
    (["--start_from=no/run", "--more_epochs=1"], "no/run does not exist"),
    (["--start_from=no/run", "--more_epochs=-1"], "--more_epochs is -1, but must be above 0"),
    (["--start_from=no/run", "--more_epochs=nan"], "--more_epochs is nan"),
    (["--start_from=r", "--more_epochs=1", "--config=configs/adam.py"], "exclude each other"),
    (["--start_from=r", "--more_epochs=1", "--best"], "exclude each other"),
  ],
)
def test_flags_that_disagree_are_one_sentence(arguments, said):
  line = cli.parse(main.main, main.define_flags, ["main.py", *arguments], positional=False)
  with pytest.raises(UsageError, match=re.escape(said)):
    main.main(line)


@pytest.mark.slow
def test_the_command_makes_a_run_longer(short, tmp_path):
  arguments = (f"--start_from={short}", "--more_epochs=0.5", f"--workdir={tmp_path / 'run'}")
  for _ in range(2):
    done = processes.run(*arguments)
    assert done.returncode == 0, done.stderr
  result = read_result(tmp_path / "run")
  assert result["steps"] > 12 and result["origin"]["more_epochs"] == 0.5
