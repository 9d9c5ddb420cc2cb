"""Sweeps: their definition, and from the command to the table."""

import contextlib
import csv
import fcntl
import json
import os
import runpy
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import processes
import pytest
import tensorboard_server

from mnist_mlp import config, sweeps
from mnist_mlp.errors import HeldError, UsageError
from mnist_mlp.run import cli as commandline
from mnist_mlp.run import tensorboard as summaries
from mnist_mlp.run.console import Console
from mnist_mlp.sweeps import engines, leaderboard, trials
from mnist_mlp.train import train_and_evaluate

SHIPPED = sorted((Path(__file__).parents[2] / "configs").glob("sweep_*.py"))


# Definition.


def test_grid_zip_and_product():
  grid = sweeps.grid({"seed": range(2), "batch_size": [8, 16]})
  assert grid == [
    {"seed": 0, "batch_size": 8},
    {"seed": 0, "batch_size": 16},
    {"seed": 1, "batch_size": 8},
    {"seed": 1, "batch_size": 16},
  ]
  assert sweeps.zipped({"seed": [1, 2], "batch_size": [8, 16]}) == [
    {"seed": 1, "batch_size": 8},
    {"seed": 2, "batch_size": 16},
  ]
  assert sweeps.product(sweeps.grid({"seed": range(2)}), [{"batch_size": 8}]) == [
    {"seed": 0, "batch_size": 8},
    {"seed": 1, "batch_size": 8},
  ]
  with pytest.raises(ValueError, match="2 for 'seed', 3 for 'batch_size'"):
    sweeps.zipped({"seed": [1, 2], "batch_size": [1, 2, 3]})


AXES = {
  "optimizer.learning_rate": sweeps.log_uniform(1e-4, 1e-1),
  "model.dropout": sweeps.uniform(0.0, 0.5),
  "batch_size": sweeps.integers(3, 5),
  "optimizer.name": sweeps.choices(["adam", "sgd"]),
}


@pytest.mark.parametrize("sample", [sweeps.random, sweeps.sobol])
def test_samples_follow_their_distributions_and_their_seed(sample):
  points = sample(256, AXES, seed=1)
  assert points == sample(256, AXES, seed=1) != sample(256, AXES, seed=2)
  assert len(sample(5, AXES)) == 5
  rates = np.log10([point["optimizer.learning_rate"] for point in points])
  dropouts = np.array([point["model.dropout"] for point in points])
  for values, low, high in ((rates, -4, -1), (dropouts, 0, 0.5)):
    assert low <= values.min() < low + 0.05 * (high - low)
    assert high - 0.05 * (high - low) < values.max() <= high
    assert values.mean() == pytest.approx((low + high) / 2, abs=0.07 * (high - low))
  for name, values in (("batch_size", {3, 4, 5}), ("optimizer.name", {"adam", "sgd"})):
    counts = [sum(point[name] == value for point in points) for value in values]
    assert sum(counts) == 256
    assert min(counts) > 256 / len(values) * 0.7


def test_sobol_fills_every_cell_of_a_grid():
  """16 points of a plane, one in each of 4 x 4 cells: independent draws would leave some empty."""
  points = sweeps.sobol(16, {"a": sweeps.uniform(0, 4), "b": sweeps.uniform(0, 4)})
  assert len({(int(point["a"]), int(point["b"])) for point in points}) == 16


def test_points_are_validated_configs():
  points = sweeps.check(
    [
      {"optimizer.learning_rate": np.float64(0.5), "model.features": [8, 4]},
      {"model.dropout": 0, "seed": np.int64(3)},
    ],
    config.default(),
  )
  assert points[0].config.optimizer.learning_rate == 0.5
  assert points[0].config.model.features == (8, 4)
  assert points[0].name == "000-learning_rate=0.5,features=8x4"
  assert type(points[1].config.model.dropout) is float
  assert points[1].config.seed == 3
  assert points[1].config.is_locked
  assert config.differences(config.default(), points[1].config) == "config.seed: 0 -> 3"
  json.loads(config.to_json(points[0].config))


@pytest.mark.parametrize(
  ("produced", "message"),
  [
    (
      [{"seed": 1}, {"optimizer.learning_rat": 0.1}],
      "point 1 .*'optimizer.learning_rat'.*did you mean 'optimizer.learning_rate'",
    ),
    ([{"model.dropout": 1.5}], r"point 0 .*config.model.dropout is 1.5 .*\[0, 1\)"),
    ([{"optimizer.learning_rate": "big"}], "point 0 .*config.optimizer.learning_rate is 'big'"),
    ([{"seed": 1}, 7], "point 1 of the sweep is 7, a int, but must be a dict"),
    ([{"seed": 1}, {"seed": 2}, {"seed": 1}], "points 0 and 2 of the sweep are the same run"),
    ([{"seed": 0}, {}], "points 0 and 1 of the sweep are the same run"),
    ([{3: 1}], "point 0 .*config.3 is not a field"),
  ],
)
def test_wrong_points_are_refused(produced, message):
  with pytest.raises(UsageError, match=message):
    sweeps.check(produced, config.default())


@pytest.mark.parametrize(
  ("text", "chosen"),
  [
    ("", [0, 1, 2, 3, 4]),
    ("1:3", [1, 2]),
    ("3:", [3, 4]),
    (":2", [0, 1]),
    ("0::2", [0, 2, 4]),
    ("4:99", [4]),
  ],
)
def test_points_selects_a_slice(text, chosen):
  assert sweeps.select([0, 1, 2, 3, 4], text) == chosen


@pytest.mark.parametrize("text", ["3", "a:b", "1:2:0", "-1:", "7:9", "2:2"])
def test_points_that_select_nothing_are_refused(text):
  with pytest.raises(UsageError, match=f"--points is '{text}'"):
    sweeps.select([0, 1, 2, 3, 4], text)


@pytest.mark.parametrize("path", SHIPPED, ids=[path.stem for path in SHIPPED])
def test_shipped_sweeps_are_valid(path):
  points = sweeps.load(path, runpy.run_path(str(path))["get_config"]())
  assert len(points) >= 8
  assert len({point.name for point in points}) == len(points)


# The command.


def sweep_file(folder, body, base=""):
  path = folder / "a_sweep.py"
  path.write_text(f"""
from mnist_mlp import config, sweeps

def get_config():
  c = config.default()
  c.data.name = "digits"
  c.data.validation_examples = 300
  c.batch_size = 50
  c.num_epochs = 3.0
  c.model.features = (16,)
  {base}
  return c

{body}
""")
  return path


@pytest.mark.parametrize(
  ("body", "message"),
  [
    ("", "has no function sweep()"),
    ("def sweep():\n  return []", "yields no point at all"),
    ("def sweep():\n  return 3", "must yield dicts, but returned a int"),
    ("def sweep():\n  yield {'seed': 1}\n  yield {'sed': 2}", "point 1 of the sweep, {'sed': 2}"),
    ("def sweep():\n  yield {'seed': 1 / 0}", "line 15: ZeroDivisionError"),
  ],
)
def test_a_wrong_sweep_file_is_one_sentence(tmp_path, body, message):
  path = sweep_file(tmp_path, body)
  done = processes.run(f"--config={path}", f"--workdir={tmp_path / 'w'}", module="mnist_mlp.sweep")
  assert done.returncode == 2, done.stderr
  assert message in done.stderr
  assert done.stderr.startswith("error: ")
  assert len(done.stderr.splitlines()) == 1
  assert not (tmp_path / "w").exists()


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (["--config.seed=3"], "config.seed is given on the command line, but the sweep sets it"),
    (["--points=5:9"], "--points is '5:9', which holds none of the 2 points"),
    (["--halving=1"], "--halving is 1"),
    (["--halving=2", "--config.data.validation_examples=0"], "validation_examples is 0"),
    (["--engine=cluster"], "engine"),
    (["--config.batch_size=5000"], "point 0 of the sweep, {'seed': 0}: config.batch_size is 5000"),
  ],
)
def test_wrong_arguments_are_one_sentence(tmp_path, digits_dir, arguments, message):
  path = sweep_file(tmp_path, "def sweep():\n  return sweeps.grid({'seed': range(2)})")
  done = processes.run(
    f"--config={path}",
    f"--workdir={tmp_path / 'w'}",
    f"--config.data.data_dir={digits_dir}",
    *arguments,
    module="mnist_mlp.sweep",
  )
  assert done.returncode == 2, done.stderr
  assert message in done.stderr
  assert "Traceback" not in done.stderr
  assert not (tmp_path / "w").exists()


# Training. Two learning rates, two seeds, and one that diverges; two groups.


SWEEP = """
def sweep():
  yield from sweeps.grid({"optimizer.learning_rate": [0.001, 0.01], "seed": [0, 1]})
  yield {"optimizer.learning_rate": 1e30, "seed": 0}
  yield {"optimizer.learning_rate": 0.01, "seed": 0, "model.dropout": 0.5}
"""


def load(path, digits_dir):
  base = commandline.load_config(path)
  base.data.data_dir = str(digits_dir)
  return sweeps.load(path, base)


def train(points, folder, chosen=slice(None), **options):
  sweep = engines.Sweep(points, folder, Console())
  engines.run(sweep, sweep.members[chosen], engines.Options(engine="vmap", **options))
  return sweep, leaderboard.write(folder, sweep.members)


def content(folder):
  return (folder / "sweep.csv").read_text(), json.loads((folder / "sweep.json").read_text())


@pytest.fixture(scope="session")
def swept(shared_dir, digits_dir):
  """A sweep that was trained without interruption: (file, points, folder, rows)."""
  folder = shared_dir / "swept"
  folder.mkdir(exist_ok=True)
  with open(folder / ".lock", "w") as lock:  # Once for all of xdist's workers.
    fcntl.flock(lock, fcntl.LOCK_EX)
    path = sweep_file(folder, SWEEP)
    points = load(path, digits_dir)
    _, rows = train(points, folder / "w")
  return path, points, folder / "w", rows


def test_the_table_ranks_by_validation_accuracy(swept):
  _, _, folder, rows = swept
  assert [row["status"] for row in rows] == ["finished"] * 5 + ["diverged"]
  accuracies = [row["validation_accuracy"] for row in rows[:-1]]
  assert accuracies == sorted(accuracies, reverse=True)
  assert accuracies[0] > 0.8
  assert rows[-1]["optimizer.learning_rate"] == 1e30
  assert all(0 < row["test_error_percent"] < 100 for row in rows[:-1])
  with open(folder / "sweep.csv") as file:
    table = list(csv.DictReader(file))
  assert [int(row["point"]) for row in table] == [row["point"] for row in rows]
  assert (folder / "sweep.png").read_bytes().startswith(b"\x89PNG")
  assert not any((folder / "populations").iterdir())


def test_seeds_are_one_trial_and_the_winner_is_chosen_by_means(swept):
  path, points, folder, rows = swept
  trials_ = leaderboard.trials_of(rows)
  assert sorted(trial["runs"] for trial in trials_) == [1, 1, 2, 2]
  won = leaderboard.winner(trials_)
  assert won["optimizer.learning_rate"] == 0.01
  own = [row["validation_accuracy"] for row in rows if row["trial"] == won["trial"]]
  assert won["validation_accuracy"] == pytest.approx(np.mean(own))
  command = leaderboard.retrain_command(
    won, points[won["point"]].config, str(path), ["--config.num_epochs=2"], folder
  )
  assert "--config.optimizer.learning_rate=0.01" in command
  assert "--config.num_epochs=2" in command
  assert "--config.seed" not in command or won["runs"] == 1
  table = leaderboard.table(rows)
  assert len(table.splitlines()) == 5
  assert "±" in table
  assert "diverged" in table.splitlines()[-1]


def table_row(point, validation, **changes):
  return {
    "point": point,
    "name": str(point),
    "trial": str(point),
    "status": "finished",
    "epoch": 1.0,
    "validation_accuracy": validation,
    "validation_loss": 0.1,
    "test_error_percent": 5.0,
    **changes,
  }


def test_the_winner_by_lbfgs_gets_the_full_batch_of_all_training_data():
  c = config.default()
  c.batch_size, c.data.validation_examples, c.optimizer.name = 1597, 200, "lbfgs"
  row = table_row(0, 0.9, **{"model.init_scale": 0.1})
  command = leaderboard.retrain_command(row, c, "sweep.py", [], Path("w"))
  assert shlex.split(command)[4:] == [
    "--config.model.init_scale=0.1",
    "--config.batch_size=1797",
    "--config.data.validation_examples=0",
    "--workdir=w/winner",
  ]


def test_longer_runs_do_not_win_by_being_longer():
  rows = [table_row(0, 0.9), table_row(1, 0.2, epoch=2.0)]
  assert leaderboard.winner(leaderboard.trials_of(rows))["point"] == 0


def test_there_is_no_mean_of_runs_that_got_to_different_epochs():
  rows = [table_row(0, 0.9), table_row(1, 0.2, trial="0", epoch=0.5, status="stopped early")]
  (trial,) = leaderboard.trials_of(rows)
  assert trial["validation_accuracy"] is trial["validation_accuracy_std"] is None
  assert trial["status"] == "stopped early"


def test_test_is_never_selected_on():
  rows = [table_row(0, 0.9, test_error_percent=1.0), table_row(1, 0.95, test_error_percent=5.0)]
  assert leaderboard.winner(leaderboard.trials_of(rows))["point"] == 1


def test_a_member_is_like_a_lone_run(swept, tmp_path):
  _, points, folder, _ = swept
  member = trials.Member(points[2], folder)
  train_and_evaluate(points[2].config, tmp_path / "lone")
  lone = trials.Workdir(tmp_path / "lone")
  assert member.folder.config() == lone.config()
  assert member.folder.read_json("dataset.json") == lone.read_json("dataset.json")
  for own, expected in zip(member.folder.metrics(), lone.metrics(), strict=True):
    assert own == pytest.approx(expected, rel=1e-3, abs=1e-5)
  own, expected = member.folder.result(), lone.result()
  assert set(own) >= set(expected)
  for name in ("test", "validation", "train", "best_validation"):
    assert own[name] == pytest.approx(expected[name], rel=1e-3)

  def saved(folder):
    return sorted(path.name for path in (folder.path / "checkpoints").glob("[0-9]*"))

  assert saved(member.folder)[-1] == saved(lone)[-1]


def test_main_says_that_a_member_is_finished_and_restores_its_state(swept):
  path, points, folder, _ = swept
  member = trials.Member(points[5], folder)
  before = member.folder.result()
  done = processes.run(
    f"--config={path}",
    f"--config.data.data_dir={points[5].config.data.data_dir}",
    "--config.optimizer.learning_rate=0.01",
    "--config.model.dropout=0.5",
    f"--workdir={member.folder.path}",
  )
  assert done.returncode == 0, done.stderr
  assert "is finished" in done.stdout
  state = train_and_evaluate(points[5].config, member.folder.path)
  assert int(state.step) == before["steps"]
  assert member.folder.result() == before


def test_a_second_start_changes_nothing(swept):
  _, points, folder, _ = swept
  before = content(folder)
  files = sorted(folder.rglob("*"))
  train(points, folder)
  assert content(folder) == before
  assert sorted(folder.rglob("*")) == files


def test_slices_fill_one_table(swept, tmp_path):
  _, points, folder, _ = swept
  shutil.copytree(folder, tmp_path / "w")
  shutil.rmtree(trials.Member(points[5], tmp_path / "w").folder.path)
  _, rows = train(points, tmp_path / "w", slice(0, 5))
  assert [row["point"] for row in rows if row["status"] == "unfinished"] == [5]
  train(points, tmp_path / "w", slice(4, 6))
  assert content(tmp_path / "w") == content(folder)


def test_a_changed_sweep_file_is_refused(swept, tmp_path):
  _, points, folder, _ = swept
  base = points[0].config.copy_and_resolve_references()
  base.num_epochs = 9.0
  changed = sweeps.check([point.overrides for point in points], base)
  with pytest.raises(UsageError, match=r"another config \(config.num_epochs: 3.0 -> 9.0\)"):
    train(changed, folder)


# Survival, early stopping, engines, TensorBoard.


@contextlib.contextmanager
def running(path, folder, digits_dir, output, *arguments, **options):
  """Gives the process of a sweep, which is killed in the end if it has not ended by itself."""
  with open(output, "w") as file:
    process = subprocess.Popen(
      processes.command(
        f"--config={path}",
        f"--workdir={folder}",
        f"--config.data.data_dir={digits_dir}",
        *arguments,
        module="mnist_mlp.sweep",
      ),
      cwd=processes.ROOT,
      env=processes.environment(),
      stdout=file,
      stderr=file,
      stdin=subprocess.DEVNULL,
      **options,
    )
  try:
    yield process
  finally:
    process.kill()
    process.wait()


def wait_for(condition, process, output, seconds=200):
  deadline = time.monotonic() + seconds
  while not condition():
    if process.poll() is not None or time.monotonic() > deadline:
      raise RuntimeError(f"not reached:\n{Path(output).read_text()}")
    time.sleep(0.02)


def test_a_killed_sweep_goes_on_to_the_same_table(swept, tmp_path, digits_dir):
  path, points, folder, _ = swept
  own, output = tmp_path / "w", tmp_path / "output"
  checkpoints = own / "populations"
  with running(path, own, digits_dir, output, "--engine=vmap", "--save_every_seconds=0") as process:
    wait_for(lambda: list(checkpoints.glob("*/checkpoints/48/*")), process, output)
  assert not list(own.glob("members/*/result.json"))
  lines = []
  sweep = engines.Sweep(points, own, Console())
  sweep.console.line = lines.append
  engines.run(sweep, sweep.members, engines.Options(engine="vmap"))
  leaderboard.write(own, sweep.members)
  assert not any("of 5 runs | step 24/72" in line for line in lines), "an epoch was repeated"
  assert any("of 5 runs | step 72/72" in line for line in lines)
  assert content(own) == content(folder)
  for member in sweep.members:
    assert member.folder.metrics() == trials.Member(member.point, folder).folder.metrics()


@pytest.mark.slow
def test_a_sweep_interrupted_by_sigterm_says_so_and_is_saved(swept, tmp_path, digits_dir):
  path, _, _, _ = swept
  own, output = tmp_path / "w", tmp_path / "output"
  with running(
    path, own, digits_dir, output, "--engine=vmap", "--points=0:4", "--config.num_epochs=10000"
  ) as process:
    wait_for(lambda: "step 24/" in output.read_text(), process, output)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
  assert "interrupted by SIGTERM after step" in output.read_text()
  assert f"resume with: python -m mnist_mlp.sweep --config={path} --workdir={own} " in (
    output.read_text()
  )
  assert "Traceback" not in output.read_text()
  (population,) = (own / "populations").iterdir()
  assert list(population.glob("checkpoints/[0-9]*"))


def test_a_population_in_use_is_refused(swept, tmp_path):
  _, points, _, _ = swept
  sweep = engines.Sweep(points, tmp_path, Console())
  (population,) = sweep.populations(sweep.members[5:], 0)
  with trials.Workdir(population.path).lock(), pytest.raises(HeldError, match="is in use"):
    engines.run(sweep, sweep.members[5:], engines.Options(engine="vmap"))


def test_memory_splits_a_group_into_equal_populations(swept, tmp_path, monkeypatch):
  _, points, _, _ = swept
  sweep = engines.Sweep(points, tmp_path, Console())
  group = sweep.group(sweep.members[0])
  monkeypatch.setattr(engines, "free_bytes", lambda: 2 * 3 * group.bytes_per_member)
  assert [len(p.members) for p in sweep.populations(sweep.members[:5], 0)] == [3, 2]
  assert [len(p.members) for p in sweep.populations(sweep.members, 2)] == [2, 2, 1, 1]


@pytest.mark.slow
def test_halving_stops_the_worst_and_keeps_what_they_reached(tmp_path, digits_dir):
  path = sweep_file(
    tmp_path,
    """
def sweep():
  return sweeps.grid({"optimizer.learning_rate": [1e-5, 0.01, 1e-4, 0.003]})
""",
    base="c.num_epochs = 4.0",
  )
  points = load(path, digits_dir)
  sweep, rows = train(points, tmp_path / "w", halving=2)
  by_point = {row["point"]: row for row in rows}
  # Rungs after one and two epochs of four.
  assert {point: row["epoch"] for point, row in by_point.items()} in (
    {0: 1.0, 2: 1.0, 1: 4.0, 3: 2.0},
    {0: 1.0, 2: 1.0, 1: 2.0, 3: 4.0},
  )
  assert [row["status"] for row in rows] == ["finished"] + ["stopped early"] * 3
  before = content(tmp_path / "w")
  train(points, tmp_path / "w", halving=2)
  assert content(tmp_path / "w") == before
  # A run that was stopped can be trained to its end, from where it stands.
  stopped = sweep.members[0]
  state = train_and_evaluate(stopped.config, stopped.folder.path)
  assert int(state.step) == 4 * 24
  assert [row["epoch"] for row in stopped.folder.metrics()] == [1.0, 2.0, 3.0, 4.0]


@pytest.mark.slow
def test_halving_compares_means_over_seeds(tmp_path, digits_dir):
  path = sweep_file(
    tmp_path,
    """
def sweep():
  return sweeps.grid({"optimizer.learning_rate": [1e-5, 0.01], "seed": [0, 1]})
""",
    base="c.num_epochs = 2.0",
  )
  _, rows = train(load(path, digits_dir), tmp_path / "w", halving=2)
  assert [(row["optimizer.learning_rate"], row["status"]) for row in rows] == [
    (0.01, "finished")
  ] * 2 + [(1e-5, "stopped early")] * 2
  assert leaderboard.winner(leaderboard.trials_of(rows))["runs"] == 2


def test_a_population_that_diverged_ends_at_once(tmp_path, digits_dir):
  path = sweep_file(
    tmp_path,
    """
def sweep():
  return sweeps.grid({"optimizer.learning_rate": [1e30, 1e29]})
""",
    base="c.optimizer.name, c.num_epochs = 'sgd', 1e6",
  )
  start = time.monotonic()
  _, rows = train(load(path, digits_dir), tmp_path / "w")
  assert [row["status"] for row in rows] == ["diverged"] * 2
  assert not list((tmp_path / "w" / "populations").iterdir())
  assert time.monotonic() - start < 100  # of hours


@pytest.mark.slow
def test_a_second_start_in_processes_is_refused(swept, tmp_path, digits_dir):
  path, _, _, _ = swept
  own, output = tmp_path / "w", tmp_path / "output"
  arguments = (
    "--engine=processes",
    "--points=0:2",
    "--halving=2",
    "--config.num_epochs=100000",
    "--config.eval_every_epochs=100",
  )
  with running(path, own, digits_dir, output, *arguments) as process:
    wait_for(lambda: output.read_text().count("step 2400/") == 2, process, output)
    second = processes.run(
      f"--config={path}",
      f"--workdir={own}",
      f"--config.data.data_dir={digits_dir}",
      *arguments,
      module="mnist_mlp.sweep",
    )
    assert process.poll() is None
  assert second.returncode == 1
  assert "is in use by another run" in second.stderr and "Traceback" not in second.stderr
  assert "runs go on" not in second.stdout
  assert not list(own.glob("members/*/stopped.json"))


@pytest.mark.slow
def test_ctrl_c_in_a_terminal_saves_what_the_processes_did(swept, tmp_path, digits_dir):
  """There, all processes get the signal, and the parent passes its own on besides."""
  path, _, _, _ = swept
  own, output = tmp_path / "w", tmp_path / "output"
  with running(
    path,
    own,
    digits_dir,
    output,
    "--engine=processes",
    "--points=0:2",
    "--config.num_epochs=100000",
    "--config.eval_every_epochs=2000",
    start_new_session=True,
  ) as process:
    wait_for(lambda: output.read_text().count("step 48000/") == 2, process, output)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) == 130
  assert "Traceback" not in output.read_text()
  assert len(list(own.glob("populations/*/checkpoints/[0-9]*"))) >= 2


@pytest.mark.slow
def test_the_winners_command_repeats_overrides_however_they_were_written(tmp_path, digits_dir):
  path = sweep_file(tmp_path, "def sweep():\n  return sweeps.grid({'batch_size': [100, 200]})")
  done = processes.run(
    f"--config={path}",
    f"--workdir={tmp_path / 'w'}",
    f"--config.data.data_dir={digits_dir}",
    "--config.num_epochs",
    "1",
    "--noconfig.ema.evaluate",
    module="mnist_mlp.sweep",
  )
  assert done.returncode == 0, done.stderr
  command = shlex.split(done.stdout.splitlines()[-1])
  assert "--config.num_epochs=1.0" in command and "--config.ema.evaluate=False" in command
  again = processes.run(*command[3:])
  assert again.returncode == 0, again.stderr
  saved = config.from_json((tmp_path / "w" / "winner" / "config.json").read_text())
  assert saved.num_epochs == 1.0 and not saved.ema.evaluate
  conflict = processes.run(
    f"--config={path}", "--config.batch_size", "40", module="mnist_mlp.sweep"
  )
  assert conflict.returncode == 2
  assert "config.batch_size is given on the command line" in conflict.stderr


@pytest.mark.slow
def test_single_threaded_processes_give_the_same_table(swept, tmp_path, digits_dir):
  path, _, _, rows = swept
  done = processes.run(
    f"--config={path}",
    f"--workdir={tmp_path}",
    f"--config.data.data_dir={digits_dir}",
    "--engine=processes",
    "--processes=2",
    module="mnist_mlp.sweep",
    JAX_COMPILATION_CACHE_DIR="",
    XDG_CACHE_HOME=str(tmp_path / "cache"),
  )
  assert done.returncode == 0, done.stderr
  own = json.loads((tmp_path / "sweep.json").read_text())["runs"]
  expected = {row["name"]: row for row in rows}
  assert {row["name"]: row["status"] for row in own} == {
    name: row["status"] for name, row in expected.items()
  }
  for row in own:
    if row["status"] == "finished":
      for name in leaderboard.MEASURES:
        assert row[name] == pytest.approx(expected[row["name"]][name], rel=2e-2)
  kept = (tmp_path / "cache" / "mnist_mlp").glob("xla-*/jit_train_chunk*-cache")
  assert list(kept), "the processes compile for themselves alone"


@pytest.mark.slow
def test_processes_end_with_their_parent(swept, tmp_path, digits_dir):
  path, _, _, _ = swept
  own, output = tmp_path / "w", tmp_path / "output"
  with running(
    path,
    own,
    digits_dir,
    output,
    "--engine=processes",
    "--processes=2",
    "--config.num_epochs=10000",
    "--save_every_seconds=0",
  ) as process:
    wait_for(lambda: len(list(own.glob("populations/*/checkpoints/[0-9]*"))) >= 2, process, output)
    workers = [
      int(pid)
      for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    ]
    assert len(workers) >= 2
  deadline = time.monotonic() + 10
  while any(_alive(pid) for pid in workers) and time.monotonic() < deadline:
    time.sleep(0.1)
  assert not any(_alive(pid) for pid in workers)


def _alive(pid):
  try:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
  except FileNotFoundError:
    return False


def test_tensorboard_has_numeric_columns_for_nets_of_different_depth(tmp_path):
  for features in ((8,), (8, 4)):
    c = config.default()
    c.model.features = features
    run = tmp_path / f"{len(features)}-layers"
    writer = summaries.create_writer(run)
    writer.write_hparams(summaries.hparams_of(c))
    writer.write_scalars(1, {"validation/accuracy": 0.5})
    writer.close()
  with tensorboard_server.serve(tmp_path, runs=["1-layers", "2-layers"]) as server:
    columns = {info["name"]: info["type"] for info in server.experiment()["hparamInfos"]}
  assert {columns[f"model.features.{part}"] for part in ("length", "0", "1")} == {
    "DATA_TYPE_FLOAT64"
  }


def test_tensorboard_shows_every_member_and_numeric_columns(swept):
  _, points, folder, rows = swept
  members = folder / "members"
  with tensorboard_server.serve(members, runs=[point.name for point in points]) as server:
    columns = {info["name"]: info for info in server.experiment()["hparamInfos"]}
    for name in ("optimizer.learning_rate", "seed", "model.dropout"):
      assert columns[name]["type"] == "DATA_TYPE_FLOAT64"
    groups = server.session_groups()
  sessions = {session["name"]: session for group in groups for session in group["sessions"]}
  assert set(sessions) == {point.name for point in points}
  assert sorted(len(group["sessions"]) for group in groups) == [1, 1, 2, 2]
  for row in rows:
    status = "STATUS_SUCCESS" if row["status"] == "finished" else "STATUS_FAILURE"
    assert sessions[row["name"]]["status"] == status
