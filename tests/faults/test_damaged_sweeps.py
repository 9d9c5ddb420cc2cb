"""Every file in the folder of a sweep, damaged in every way: the same table, or a sentence."""

import shutil

import pytest
import sweeping
from damages import DAMAGES

from mnist_mlp.errors import UserError
from mnist_mlp.run.console import Console
from mnist_mlp.sweeps import engines, leaderboard
from mnist_mlp.sweeps.plan import Options
from mnist_mlp.sweeps.population import Manner
from mnist_mlp.sweeps.training import train_to

SWEEP = """
def sweep():
  yield from sweeps.grid({"optimizer.learning_rate": [0.001, 0.01]})
"""
EXTENTS = [
  pytest.param(1, marks=pytest.mark.slow, id="some files"),
  pytest.param(10, marks=pytest.mark.hundredfold, id="many files"),
]


@pytest.fixture(scope="module")
def points(tmp_path_factory, digits_dir):
  path = sweeping.sweep_file(
    tmp_path_factory.mktemp("sweep"), SWEEP, "c.num_steps, c.eval_every_steps = 12, 4"
  )
  return sweeping.load(path, digits_dir)


@pytest.fixture(scope="module")
def folders(points, tmp_path_factory):
  """{name: the folder, not to be written to}: of the sweep as it was begun, and finished."""
  base = tmp_path_factory.mktemp("folders")
  sweep, _ = sweeping.open_sweep(points, base / "begun")
  (population,) = sweep.populations(sweep.members, 2)
  train_to(population, 1 / 2, Manner(Console(quiet=True), save_every=0.0))
  sweeping.train(points, base / "finished")
  return {name: base / name for name in ("begun", "finished")}


def measures(rows):
  """Returns what was measured of each point, whatever its folder is called.

  The last bits may depend on how many runs trained as one program.
  """
  names = leaderboard.MEASURES
  return {row["point"]: (row["status"], *(f"{row[name]:.4g}" for name in names)) for row in rows}


def outcome(points, folder):
  """Trains the sweep on; returns (the sentence with which that ended, rows of its table)."""
  try:
    sweep, _ = sweeping.open_sweep(points, folder)
    engines.run(sweep, sweep.members, Options(engine="vmap"))
    return "", leaderboard.write(sweep)
  except UserError as error:
    return str(error), []


@pytest.mark.parametrize("extent", EXTENTS)
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("state", ["begun", "finished"])
def test_a_damaged_sweep_comes_to_the_same_table_or_says_why_not(
  points, folders, tmp_path, chance, count, state, damage, extent
):
  expected = measures(
    leaderboard.rows_of(sweeping.open_sweep(points, folders["finished"])[0].members)
  )
  paths = (path for path in folders[state].glob("**/*") if path.is_file() and path.stat().st_size)
  files = sorted(path.relative_to(folders[state]) for path in paths)
  for number, file in enumerate(chance.sample(files, extent)):
    folder = shutil.copytree(folders[state], tmp_path / str(number))
    DAMAGES[damage](folder / file)
    said, rows = outcome(points, folder)
    if said:
      assert str(folder) in said and "\n" not in said, (file, said)
    else:
      assert measures(rows) == expected, file
    count("damaged files of sweeps", 1)
