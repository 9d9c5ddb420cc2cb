"""The training of populations: killed and resumed, interrupted, diverged."""

import signal
import time

import limited
import processes
import pytest
import sweeping

from mnist_mlp.run.checkpoint import Checkpoints
from mnist_mlp.run.console import Console
from mnist_mlp.sweeps import engines, leaderboard
from mnist_mlp.sweeps.member import Member
from mnist_mlp.sweeps.plan import Options
from mnist_mlp.sweeps.population import Manner
from mnist_mlp.sweeps.training import train_to


@pytest.mark.slow
def test_a_killed_sweep_goes_on_to_the_same_table(swept, tmp_path, digits_dir):
  own = tmp_path / "w"
  arguments = ("--engine=vmap", "--save_every_seconds=0")
  with sweeping.running(swept.path, own, digits_dir, *arguments) as (process, output):
    saved = own / "populations"
    processes.wait_for(lambda: list(saved.glob("*/checkpoints/48/*")), process, output)
  assert not list(own.glob("members/*/result.json"))
  sweep, lines = sweeping.open_sweep(swept.points, own)
  engines.run(sweep, sweep.members, Options(engine="vmap"))
  leaderboard.write(sweep)
  assert not any("of 5 runs | step 24/72" in line for line in lines), "an epoch was repeated"
  assert any("of 5 runs | step 72/72" in line for line in lines)
  assert sweeping.content(own) == sweeping.content(swept.folder)
  for member in sweep.members:
    assert member.folder.metrics() == Member(member.point, swept.folder).folder.metrics()


@pytest.mark.slow
def test_a_sweep_interrupted_by_sigterm_says_so_and_is_saved(swept, tmp_path, digits_dir):
  own = tmp_path / "w"
  arguments = ("--engine=vmap", "--points=0:4", "--config.num_epochs=10000")
  with sweeping.running(swept.path, own, digits_dir, *arguments) as (process, output):
    processes.wait_for(lambda: "step 24/" in output.read_text(), process, output)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
  said = output.read_text()
  assert "interrupted by SIGTERM after step" in said
  assert f"resume with: python -m mnist_mlp.sweep --config={swept.path} --workdir={own} " in said
  assert "Traceback" not in said
  (population,) = (own / "populations").iterdir()
  assert list(population.glob("checkpoints/[0-9]*"))


@pytest.mark.slow
def test_members_have_their_rows_back_from_the_checkpoint_of_their_population(points, tmp_path):
  sweep, _ = sweeping.open_sweep(points[:2], tmp_path)
  (population,) = sweep.populations(sweep.members, 2)
  manner = Manner(Console(quiet=True), save_every=0.0)
  train_to(population, 1 / 3, manner)
  before = [member.folder.metrics() for member in sweep.members]
  assert [[row["step"] for row in rows] for rows in before] == [[24], [24]]
  files = [member.folder.path / "metrics.jsonl" for member in sweep.members]
  files[0].unlink()
  files[1].write_text("[]")
  (again,) = sweep.populations(sweep.members, 2)
  train_to(again, 1.0, manner)
  for member, rows in zip(sweep.members, before, strict=True):
    assert [row["step"] for row in member.folder.metrics()] == [24, 48, 72]
    assert member.folder.metrics()[:1] == rows
    about = Checkpoints(member.folder.path / "checkpoints").about(72)
    assert about["rows"] == member.folder.metrics()


def test_a_population_that_diverged_ends_at_once(tmp_path, digits_dir):
  path = sweeping.sweep_file(
    tmp_path,
    """
def sweep():
  return sweeps.grid({"optimizer.learning_rate": [1e30, 1e29]})
""",
    base="c.optimizer.name, c.num_epochs = 'sgd', 1e6",
  )
  start = time.monotonic()
  _, rows = sweeping.train(sweeping.load(path, digits_dir), tmp_path / "w")
  assert [row["status"] for row in rows] == ["diverged"] * 2
  assert not list((tmp_path / "w" / "populations").iterdir())
  assert time.monotonic() - start < 100  # of hours


@pytest.mark.slow
@pytest.mark.parametrize("megabytes", [2600, 3400])
def test_a_population_that_exceeds_memory_ends_in_one_sentence(megabytes, tmp_path, digits_dir):
  """It may get as far as to its end, where its states are fetched; that waited for ever."""
  path = sweeping.sweep_file(tmp_path, "def sweep():\n  return sweeps.grid({'seed': range(8)})")
  done = limited.train(
    "mnist_mlp.sweep",
    megabytes,
    f"--config={path}",
    f"--config.data.data_dir={digits_dir}",
    "--config.model.features=(4000, 4000)",
    "--engine=vmap",
    "--max_members=8",
    f"--workdir={tmp_path / 'w'}",
  )
  limited.check_one_sentence(done)
  assert "--max_members" in done.stderr
