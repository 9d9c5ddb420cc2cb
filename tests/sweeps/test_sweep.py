"""All points of a sweep: in which populations they train."""

import processes
import pytest
import sweeping

from mnist_mlp.errors import UsageError
from mnist_mlp.run.hparams import setting_id
from mnist_mlp.sweeps import points as points_lib
from mnist_mlp.sweeps import sweep as sweep_lib
from mnist_mlp.sweeps.member import STOPPED
from mnist_mlp.sweeps.population import Population


def sizes(populations):
  return [len(population.members) for population in populations]


def test_memory_splits_a_group_into_equal_populations(points, tmp_path, monkeypatch):
  sweep, _ = sweeping.open_sweep(points, tmp_path)
  group = sweep.group(sweep.members[0])
  monkeypatch.setattr(sweep_lib, "free_bytes", lambda: 2 * 3 * group.bytes_per_member)
  assert sizes(sweep.populations(sweep.members[:5], 0)) == [3, 2]
  assert sizes(sweep.populations(sweep.members, 2)) == [2, 2, 1, 1]


FEW_FILES = """
import resource, sys
import sweeping
from pathlib import Path
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 190))
points = sweeping.load(Path(sys.argv[1]), sys.argv[2])
_, rows = sweeping.train(points, Path(sys.argv[3]))
assert resource.getrlimit(resource.RLIMIT_NOFILE) == (190, 190)
finished = [row for row in rows if row["status"] == "finished"]
print(len(finished), sorted({row["population"] for row in finished}))
"""


@pytest.mark.slow
def test_populations_are_no_larger_than_the_limit_of_open_files(tmp_path, digits_dir):
  path = sweeping.sweep_file(
    tmp_path,
    "def sweep():\n  return sweeps.grid({'seed': range(50)})",
    "c.model.features, c.num_steps = (), 2",
  )
  done = processes.python(FEW_FILES, path, digits_dir, tmp_path / "w")
  assert done.returncode == 0, done.stderr
  assert done.stdout.splitlines()[-1] == "50 [16, 17]"


def test_groups_and_data_are_made_once(points, tmp_path):
  sweep, lines = sweeping.open_sweep(points, tmp_path)
  groups = [sweep.group(member) for member in sweep.members]
  assert len(set(map(id, groups))) == 2
  assert groups[0].dataset is groups[5].dataset
  assert sum("digits" in line for line in lines) <= 1, "the data were loaded twice"


def test_a_finer_key_makes_a_population_of_each_setting(points, tmp_path):
  sweep, _ = sweeping.open_sweep(points, tmp_path)
  assert sizes(sweep.populations(sweep.members, 0, setting_id)) == [2, 2, 1, 1]


def test_a_population_that_was_begun_goes_on_as_it_was(points, tmp_path):
  sweep, _ = sweeping.open_sweep(points, tmp_path)
  (begun,) = sweep.populations(sweep.members[1:4], 0)
  begun.path.mkdir(parents=True)
  begun.note_members()
  again = sweep.populations(sweep.members, 0)
  assert [[member.point.index for member in p.members] for p in again] == [[1, 2, 3], [0, 4], [5]]
  assert again[0].path == begun.path
  assert again[1].path != begun.path
  for member in begun.members:
    member.folder.path.mkdir(parents=True)
    member.stop(STOPPED, 1)
  assert [[m.point.index for m in p.members] for p in sweep.populations(sweep.members, 0)] == [
    [0, 4],
    [5],
  ]


def test_the_population_that_halving_left_goes_before_the_one_it_came_from(points, tmp_path):
  """A process that was killed in between leaves both."""
  sweep, _ = sweeping.open_sweep(points, tmp_path)
  (whole,) = sweep.populations(sweep.members[:4], 0)
  for name, rows in ((whole.path.name, range(4)), (f"{whole.path.name}-24", (1, 3))):
    part = Population(whole.path.with_name(name), whole.group, [whole.members[row] for row in rows])
    part.path.mkdir(parents=True)
    part.note_members()
  found = sweep.populations(sweep.members[:4], 0)
  assert found[0].path.name == f"{whole.path.name}-24"
  assert sizes(found) == [2, 4]


def test_populations_of_runs_that_left_the_sweep_are_passed_over(points, tmp_path):
  sweep, _ = sweeping.open_sweep(points, tmp_path)
  (begun,) = sweep.populations(sweep.members[:4], 0)
  begun.path.mkdir(parents=True)
  begun.note_members()
  fewer, lines = sweeping.open_sweep(points[:3], tmp_path)
  assert [p.path == begun.path for p in fewer.populations(fewer.members, 0)] == [False]
  assert any(str(begun.path) in line and "passed over" in line for line in lines)


def test_a_point_that_does_not_fit_the_data_is_named(points, tmp_path):
  wrong = points_lib.check([{"seed": 0}, {"num_epochs": 1e-6}], points[0].config)
  sweep, _ = sweeping.open_sweep(wrong, tmp_path)
  message = r"point 1 of the sweep, {'num_epochs': 1e-06}: config\.num_epochs is 1e-06"
  with pytest.raises(UsageError, match=message):
    sweep.group(sweep.members[1])
