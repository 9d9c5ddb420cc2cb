"""The table of a sweep: ranks, means over seeds, the winner and the command that trains it."""

import csv
import shutil

import numpy as np
import processes
import pytest
import sweeping

from mnist_mlp.sweeps import leaderboard
from mnist_mlp.sweeps.member import Member


def test_the_table_ranks_by_validation_accuracy(swept):
  rows = swept.rows
  assert [row["status"] for row in rows] == ["finished"] * 5 + ["diverged"]
  accuracies = [row["validation_accuracy"] for row in rows[:-1]]
  assert accuracies == sorted(accuracies, reverse=True)
  assert accuracies[0] > 0.8
  assert rows[-1]["optimizer.learning_rate"] == 1e30
  assert all(0 < row["test_error_percent"] < 100 for row in rows[:-1])
  with open(swept.folder / "sweep.csv") as file:
    table = list(csv.DictReader(file))
  assert [int(row["point"]) for row in table] == [row["point"] for row in rows]
  assert (swept.folder / "sweep.png").read_bytes().startswith(b"\x89PNG")
  assert not any((swept.folder / "populations").iterdir())


def test_seeds_are_one_setting_and_the_winner_is_chosen_by_means(swept):
  rows = swept.rows
  settings = leaderboard.settings_of(rows)
  assert sorted(setting["runs"] for setting in settings) == [1, 1, 2, 2]
  won = leaderboard.winner(settings)
  assert won["optimizer.learning_rate"] == 0.01
  own = [row["validation_accuracy"] for row in rows if row["setting"] == won["setting"]]
  assert won["validation_accuracy"] == pytest.approx(np.mean(own))
  table = leaderboard.table(rows)
  assert len(table.splitlines()) == 5
  assert "±" in table
  assert "diverged" in table.splitlines()[-1]


def table_row(point, validation, **changes):
  return {
    "point": point,
    "name": str(point),
    "setting": str(point),
    "status": "finished",
    "epoch": 1.0,
    "validation_accuracy": validation,
    "validation_loss": 0.1,
    "validation_cross_entropy": 0.2,
    "test_error_percent": 5.0,
    **changes,
  }


def test_longer_runs_do_not_win_by_being_longer():
  rows = [table_row(0, 0.9), table_row(1, 0.2, epoch=2.0)]
  assert leaderboard.winner(leaderboard.settings_of(rows))["point"] == 0


def test_there_is_no_mean_of_runs_that_got_to_different_epochs():
  rows = [table_row(0, 0.9), table_row(1, 0.2, setting="0", epoch=0.5, status="stopped early")]
  (setting,) = leaderboard.settings_of(rows)
  assert setting["validation_accuracy"] is setting["validation_accuracy_std"] is None
  assert setting["status"] == "stopped early"


def test_test_is_never_selected_on():
  rows = [table_row(0, 0.9, test_error_percent=1.0), table_row(1, 0.95, test_error_percent=5.0)]
  assert leaderboard.winner(leaderboard.settings_of(rows))["point"] == 1


@pytest.mark.parametrize(
  "rows",
  [
    [table_row(0, None)],
    [table_row(0, 0.9), table_row(1, 0.9, setting="0", status="unfinished")],
    [table_row(0, 0.9, status="stopped early"), table_row(1, 0.9, status="diverged")],
  ],
  ids=["no validation", "a seed is missing", "none finished"],
)
def test_nobody_wins_without_all_seeds_finished_and_validated(rows):
  assert leaderboard.winner(leaderboard.settings_of(rows)) is None


def test_the_table_says_how_many_runs_trained_as_one_program(swept):
  """The last bits of a result depend on it."""
  sizes = {row["point"]: row["population"] for row in swept.rows}
  assert sizes == {0: 5, 1: 5, 2: 5, 3: 5, 4: None, 5: 1}
  written = {row["point"]: row["population"] for row in sweeping.content(swept.folder)[1]["runs"]}
  assert written == sizes


def test_a_second_start_changes_nothing(swept):
  before = sweeping.content(swept.folder)
  files = sorted(swept.folder.rglob("*"))
  sweeping.train(swept.points, swept.folder)
  assert sweeping.content(swept.folder) == before
  assert sorted(swept.folder.rglob("*")) == files


def test_slices_fill_one_table(swept, tmp_path):
  shutil.copytree(swept.folder, tmp_path / "w")
  shutil.rmtree(Member(swept.points[5], tmp_path / "w").folder.path)
  _, rows = sweeping.train(swept.points, tmp_path / "w", slice(0, 5))
  assert [row["point"] for row in rows if row["status"] == "unfinished"] == [5]
  sweeping.train(swept.points, tmp_path / "w", slice(4, 6))
  assert sweeping.content(tmp_path / "w") == sweeping.content(swept.folder)


FRESH = """
import sys
import mnist_mlp.sweeps.leaderboard
loaded = [name for name in sys.modules if name.startswith(("tensorboard", "google.protobuf"))]
assert not loaded, loaded
"""


def test_the_leaderboard_needs_no_protocol_buffers():
  done = processes.python(FRESH)
  assert done.returncode == 0, done.stderr
