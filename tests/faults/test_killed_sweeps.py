"""Sweeps that are killed again and again, with each engine of one machine."""

import os

import killing
import pytest
import sweeping
from chances import rounds
from training_runs import last_digest

KILLS = 2  # of each round
SECONDS = 6.0  # within which a sweep is killed, from where it claims its first folder
SWEEP = """
def sweep():
  for width in (16, 8):
    yield from sweeps.grid({"model.features": [(width,)], "optimizer.learning_rate": [0.001, 0.01]})
"""
EVER = ("--config.num_epochs=60", "--config.eval_every_epochs=10", "--save_every_seconds=0")
ALONE = {"start_new_session": True}

pytestmark = pytest.mark.usefixtures("optimized")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
  """The sweep file."""
  return sweeping.sweep_file(tmp_path_factory.mktemp("sweep"), SWEEP)


@pytest.fixture(scope="module")
def undisturbed(path, digits_dir, tmp_path_factory):
  """{engine: the workdir, not to be written to, of the sweep}, each made when it is asked for."""
  folders = {}

  def of(engine):
    if engine not in folders:
      folders[engine] = tmp_path_factory.mktemp("undisturbed") / engine
      done = sweeping.run(
        path, folders[engine], digits_dir, f"--engine={engine}", *EVER, timeout=900
      )
      assert done.returncode == 0, done.stderr
    return folders[engine]

  return of


@rounds(slow=1, all_of_them=10)
@pytest.mark.parametrize("engine", ["vmap", "processes"])
def test_a_killed_sweep_comes_to_the_same_end(
  number, engine, path, undisturbed, digits_dir, tmp_path, chance, count
):
  expected, workdir, kills = undisturbed(engine), tmp_path / "w", 0
  words = (f"--engine={engine}", *EVER)
  for _ in range(KILLS):
    with sweeping.running(path, workdir, digits_dir, *words, start_new_session=True) as (
      process,
      _,
    ):
      kills += killing.is_killed(process, workdir, chance.uniform(0, SECONDS))
  done = sweeping.run(path, workdir, digits_dir, *words, timeout=900)
  assert done.returncode == 0, done.stderr
  assert sweeping.content(workdir) == sweeping.content(expected)
  members = os.listdir(expected / "members")
  assert sorted(os.listdir(workdir / "members")) == sorted(members)
  for name in members:
    own, other = (folder / "members" / name for folder in (workdir, expected))
    assert last_digest(own) == last_digest(other)
    assert (own / "metrics.jsonl").read_bytes() == (other / "metrics.jsonl").read_bytes()
  count("SIGKILLs of sweeps", kills)
