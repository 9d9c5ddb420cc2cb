"""The command `mnist_mlp.sweep`: wrong files and arguments, and the command that it ends with."""

import shlex
import shutil

import processes
import pytest
import sweeping

from mnist_mlp.run.config_json import from_json
from mnist_mlp.sweeps import leaderboard
from mnist_mlp.sweeps.member import DIVERGED, Member


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
  path = sweeping.sweep_file(tmp_path, body)
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
    (["--ray_address=auto"], "--ray_address needs --engine=ray"),
    (["--config.num_epochs=1e-6"], "point 0 of the sweep, {'seed': 0}: config.num_epochs is 1e-"),
  ],
)
def test_wrong_arguments_are_one_sentence(tmp_path, digits_dir, arguments, message):
  path = sweeping.sweep_file(tmp_path, "def sweep():\n  return sweeps.grid({'seed': range(2)})")
  done = sweeping.run(path, tmp_path / "w", digits_dir, *arguments)
  assert done.returncode == 2, done.stderr
  assert message in done.stderr
  assert "Traceback" not in done.stderr
  assert not (tmp_path / "w").exists()


def test_a_finished_sweep_shows_its_table_and_how_to_train_the_winner(swept, digits_dir):
  before = sweeping.content(swept.folder)
  done = sweeping.run(swept.path, swept.folder, digits_dir, "--engine=vmap")
  assert done.returncode == 0, done.stderr
  assert sweeping.content(swept.folder) == before
  *_, files, members, winner, command = done.stdout.splitlines()
  assert leaderboard.table(swept.rows) in done.stdout
  assert files == "tables and figure: " + ", ".join(
    str(swept.folder / f"sweep.{suffix}") for suffix in ("json", "csv", "png")
  )
  assert members == f"look at the runs:  tensorboard --logdir={swept.folder / 'members'}"
  won = leaderboard.winner(leaderboard.settings_of(swept.rows))
  assert winner == (
    f"winner by validation accuracy: {won['name']}; to train it on all training data:"
  )
  assert shlex.split(command)[:4] == ["python", "-m", "mnist_mlp.main", f"--config={swept.path}"]
  assert f"--config.data.data_dir={digits_dir}" in command
  assert f"--workdir={swept.folder / 'winner'}" in command


def test_before_all_runs_are_done_the_best_is_no_winner(swept, tmp_path, digits_dir):
  """What it selects is finished already, so that nothing trains."""
  shutil.copytree(swept.folder, tmp_path / "w")
  shutil.rmtree(Member(swept.points[5], tmp_path / "w").folder.path)
  done = sweeping.run(swept.path, tmp_path / "w", digits_dir, "--points=0:2")
  assert done.returncode == 0, done.stderr
  assert "winner" not in done.stdout
  best = leaderboard.winner(leaderboard.settings_of(swept.rows[:5]))
  assert done.stdout.splitlines()[-2:] == [
    "1 of 6 runs are unfinished; the same command goes on with them",
    f"best so far by validation accuracy: {best['name']}",
  ]


def test_without_a_validated_winner_it_says_why(tmp_path, digits_dir):
  """The only run is stopped already, so that nothing trains."""
  path = sweeping.sweep_file(tmp_path, "def sweep():\n  return [{'seed': 1}]")
  (member,) = sweeping.open_sweep(sweeping.load(path, digits_dir), tmp_path / "w")[0].members
  member.folder.path.mkdir(parents=True)
  member.stop(DIVERGED, 3)
  done = sweeping.run(path, tmp_path / "w", digits_dir)
  assert done.returncode == 0, done.stderr
  assert done.stdout.splitlines()[-1] == (
    "no winner: no setting has all its seeds finished with a validation accuracy"
  )
  assert "sweep.png" not in done.stdout


@pytest.mark.slow
def test_the_winners_command_repeats_overrides_however_they_were_written(tmp_path, digits_dir):
  path = sweeping.sweep_file(
    tmp_path, "def sweep():\n  return sweeps.grid({'batch_size': [100, 200]})"
  )
  done = sweeping.run(
    path, tmp_path / "w", digits_dir, "--config.num_epochs", "1", "--noconfig.ema.evaluate"
  )
  assert done.returncode == 0, done.stderr
  command = shlex.split(done.stdout.splitlines()[-1])
  assert "--config.num_epochs=1.0" in command and "--config.ema.evaluate=False" in command
  again = processes.run(*command[3:])
  assert again.returncode == 0, again.stderr
  saved = from_json((tmp_path / "w" / "winner" / "config.json").read_text())
  assert saved.num_epochs == 1.0 and not saved.ema.evaluate
  conflict = processes.run(
    f"--config={path}", "--config.batch_size", "40", module="mnist_mlp.sweep"
  )
  assert conflict.returncode == 2
  assert "config.batch_size is given on the command line" in conflict.stderr
