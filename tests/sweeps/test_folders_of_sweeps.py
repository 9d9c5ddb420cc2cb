"""Whose folder is whose: runs are known by their configs, whatever their folders are called."""

import shutil

import pytest
import sweeping

from mnist_mlp import config, data, sweeps
from mnist_mlp.errors import UsageError
from mnist_mlp.run.workdir import Workdir
from mnist_mlp.sweeps import engines, folders, leaderboard
from mnist_mlp.sweeps.member import FINISHED
from mnist_mlp.sweeps.plan import Options


def points_of(*rates, **base):
  """Returns the points of a sweep over learning rates, other fields of which may differ too."""
  c = config.default()
  c.update(base)
  return sweeps.check([{"optimizer.learning_rate": rate} for rate in rates], c)


def keep(points, folder):
  """Makes a folder for each point, as a sweep that has begun leaves it; returns their names."""
  found = folders.look(folder, points)
  for point, name in zip(points, found.names, strict=True):
    path = folder / "members" / name
    path.mkdir(parents=True, exist_ok=True)
    Workdir(path).keep_config(point.config)
  return found.names


def test_points_keep_their_folders_wherever_they_stand_in_the_file(tmp_path):
  first, second = keep(points_of(0.1, 0.2), tmp_path)
  assert (first, second) == ("000-learning_rate=0.1", "001-learning_rate=0.2")
  found = folders.look(tmp_path, points_of(0.05, 0.2, 0.1, 0.3))
  assert found.names == ["000-learning_rate=0.05", second, first, "003-learning_rate=0.3"]
  assert found.left == []


def test_a_name_that_another_run_has_is_not_taken(tmp_path):
  """It differs in a field that names do not show, for the sweep does not set it."""
  keep(points_of(0.1, 0.2), tmp_path)
  mixed = [points_of(0.1)[0], *points_of(0.1, 0.2, batch_size=64)[1:]]
  found = folders.look(tmp_path, mixed)
  assert found.names[0] == "000-learning_rate=0.1"
  assert found.names[1].startswith("001-learning_rate=0.2-")
  assert found.left == ["001-learning_rate=0.2"]
  assert keep(mixed, tmp_path) == found.names
  assert folders.look(tmp_path, mixed) == folders.look(tmp_path, mixed)
  assert folders.look(tmp_path, mixed).names == found.names


def test_of_two_equal_runs_the_finished_one_counts(tmp_path):
  points = points_of(0.1)
  (name,) = keep(points, tmp_path)
  members = tmp_path / "members"
  for other in ("000-before", "999-behind"):
    shutil.copytree(members / name, members / other)
    Workdir(members / other).write_json("result.json", {})
    assert folders.look(tmp_path, points).names == [other]
    (members / other / "result.json").unlink()


def test_a_config_that_cannot_be_read_is_the_run_of_that_name(tmp_path):
  """Whoever trains the run says what is wrong with it; the other runs are found."""
  points = points_of(0.1, 0.2)
  first, second = keep(points, tmp_path)
  (tmp_path / "members" / first / "config.json").write_text("{")
  assert folders.look(tmp_path, points).names == [first, second]


def checked(folder, points):
  sweep, lines = sweeping.open_sweep(points, folder)
  sweep.check_folder()
  return lines


def test_runs_that_left_the_sweep_are_named(tmp_path):
  points = points_of(*(0.1 + 0.1 * i for i in range(8)))
  keep(points, tmp_path)
  assert checked(tmp_path, points) == []
  (line,) = checked(tmp_path, points[:6])
  assert line.startswith("2 of the runs in ") and "006-" in line and "007-" in line
  (line,) = checked(tmp_path, points[6:])
  assert line.endswith(" and 1 more") and "000-" in line and "005-" not in line


def test_the_folder_of_another_sweep_is_refused_by_name(tmp_path):
  keep(points_of(0.1, 0.2), tmp_path)
  with pytest.raises(UsageError, match=r"another sweep: none of its 2 runs .*0\.1 -> 0\.3"):
    checked(tmp_path, points_of(0.3, 0.4))
  with pytest.raises(UsageError, match=r"another config \(config.batch_size: 128 -> 64\)"):
    checked(tmp_path, points_of(0.1, 0.2, batch_size=64))


def test_the_folder_of_a_run_is_refused_by_name(swept):
  folder = swept.folder / "members" / swept.rows[0]["name"]
  before = sorted(folder.rglob("*"))
  with pytest.raises(UsageError, match=f"{folder} holds a run, not a sweep"):
    sweeping.train(swept.points, folder)
  with pytest.raises(UsageError, match=f"{folder.parent} holds runs, among them 00"):
    sweeping.train(swept.points, folder.parent)
  assert sorted(folder.rglob("*")) == before


def files_of(folder, names):
  return {
    path: path.stat().st_mtime_ns
    for name in names
    for path in sorted((folder / "members" / name).rglob("*"))
    if path.is_file() and path.name != ".lock"
  }


def test_a_sweep_that_grew_trains_only_what_is_new(swept, tmp_path):
  """One point before all others, one that leaves, and the rest in another order."""
  folder = tmp_path / "w"
  shutil.copytree(swept.folder, folder)
  old = [point.overrides for point in swept.points]
  base = swept.points[0].config
  new = {"optimizer.learning_rate": 0.02, "seed": 0}
  grown = sweeps.check([new, *reversed(old[1:])], base)
  names = [row["name"] for row in swept.rows]
  before = files_of(folder, names)
  sweep, lines = sweeping.open_sweep(grown, folder)
  engines.run(sweep, sweep.members, Options(engine="vmap"))
  rows = leaderboard.write(sweep)
  assert files_of(folder, names) == before
  assert any(f"1 of the runs in {folder / 'members'}" in line for line in lines)
  assert sum("runs of" in line for line in lines) == 1, "more than the new run was trained"
  by_name = {row["name"]: row for row in rows}
  assert set(by_name) == {"000-learning_rate=0.02,seed=0", *names} - {
    "000-learning_rate=0.001,seed=0"
  }
  assert by_name["000-learning_rate=0.02,seed=0"]["status"] == FINISHED
  expected = {row["name"]: row for row in swept.rows}
  for name in set(by_name) & set(expected):
    assert by_name[name]["test_error_percent"] == expected[name]["test_error_percent"]
  assert sweeping.content(folder)[1]["left"] == ["000-learning_rate=0.001,seed=0"]


def test_new_runs_get_the_data_of_the_old_ones(swept, tmp_path, monkeypatch):
  """MNIST that has become available since must not stand in a table beside the stand-in."""
  folder, asked = tmp_path / "w", []
  shutil.copytree(swept.folder, folder)
  base = swept.points[0].config
  grown = sweeps.check([{"seed": 9}, *(point.overrides for point in swept.points)], base)
  sweep, _ = sweeping.open_sweep(grown, folder)
  load = data.load

  def noted(options, report, only):
    asked.append(only)
    return load(options, report=report, only=only)

  monkeypatch.setattr(data, "load", noted)
  sweep.group(sweep.members[0])
  assert [held["name"] for held in asked] == ["digits"]
