"""Successive halving: the rungs, and who goes on at each."""

import pytest
import sweeping

from mnist_mlp.sweeps import halving, leaderboard
from mnist_mlp.sweeps import points as points_lib
from mnist_mlp.sweeps.member import DIVERGED, STOPPED, UNFINISHED
from mnist_mlp.train import train_and_evaluate


@pytest.mark.parametrize(
  ("settings", "epochs", "rate", "expected"),
  [
    (4, 8.0, 2, [1 / 4, 1 / 2]),  # Four settings: two rungs leave one of them.
    (9, 8.0, 2, [1 / 8, 1 / 4, 1 / 2]),
    (9, 4.0, 2, [1 / 4, 1 / 2]),  # Four evaluations: the first rung is the first of them.
    (9, 9.0, 3, [1 / 9, 1 / 3]),
    (9, 8.0, 3, [1 / 3]),
    (3, 8.0, 4, []),
    (4, 0.5, 2, []),
    (4, 8.0, 0, []),
  ],
)
def test_rungs_are_powers_of_the_rate(points, tmp_path, settings, epochs, rate, expected):
  """Two seeds each: only settings count."""
  base = points[0].config.copy_and_resolve_references()
  base.num_epochs, base.eval_every_epochs = epochs, 1.0
  rates = [0.01 * (index + 1) for index in range(settings)]
  overrides = [{"optimizer.learning_rate": r, "seed": seed} for r in rates for seed in (0, 1)]
  sweep, _ = sweeping.open_sweep(points_lib.check(overrides, base), tmp_path)
  assert halving.rungs(sweep, sweep.members, rate) == pytest.approx(expected)


def test_the_best_settings_go_on_by_the_means_of_their_seeds_at_the_rung(points, tmp_path):
  """One setting has the single best seed, and a diverged one; a later row counts for nothing."""
  sweep, lines = sweeping.open_sweep(points, tmp_path)
  contestants = sweep.members[:4]  # two learning rates, two seeds each
  step = sweep.group(contestants[0]).timetable.evaluation_after(1 / 3)
  for member, accuracy in zip(contestants, (0.99, 0.98, 0.6, 0.7), strict=True):
    member.folder.path.mkdir(parents=True)
    member.folder.history.add({"step": step, "validation/accuracy": accuracy})
    member.folder.history.add({"step": 2 * step, "validation/accuracy": 1 - accuracy})
  contestants[1].stop(DIVERGED, step)
  going_on = halving.halve(sweep, contestants, 1 / 3, 2)
  assert going_on == contestants[2:]
  assert [member.status() for member in contestants] == [STOPPED, DIVERGED, UNFINISHED, UNFINISHED]
  assert lines[-1] == "after 33.3% of the training, 2 of 4 runs go on"


@pytest.mark.slow
def test_halving_stops_the_worst_and_keeps_what_they_reached(tmp_path, digits_dir):
  path = sweeping.sweep_file(
    tmp_path,
    """
def sweep():
  return sweeps.grid({"optimizer.learning_rate": [1e-5, 0.01, 1e-4, 0.003]})
""",
    base="c.num_epochs = 4.0",
  )
  points = sweeping.load(path, digits_dir)
  sweep, rows = sweeping.train(points, tmp_path / "w", halving=2)
  by_point = {row["point"]: row for row in rows}
  # Rungs after one and two epochs of four.
  assert {point: row["epoch"] for point, row in by_point.items()} in (
    {0: 1.0, 2: 1.0, 1: 4.0, 3: 2.0},
    {0: 1.0, 2: 1.0, 1: 2.0, 3: 4.0},
  )
  assert [row["status"] for row in rows] == ["finished"] + ["stopped early"] * 3
  before = sweeping.content(tmp_path / "w")
  sweeping.train(points, tmp_path / "w", halving=2)
  assert sweeping.content(tmp_path / "w") == before
  # A run that was stopped can be trained to its end, from where it stands.
  stopped = sweep.members[0]
  state = train_and_evaluate(stopped.config, stopped.folder.path)
  assert int(state.step) == 4 * 24
  assert [row["epoch"] for row in stopped.folder.metrics()] == [1.0, 2.0, 3.0, 4.0]


@pytest.mark.slow
def test_halving_compares_means_over_seeds(tmp_path, digits_dir):
  path = sweeping.sweep_file(
    tmp_path,
    """
def sweep():
  return sweeps.grid({"optimizer.learning_rate": [1e-5, 0.01], "seed": [0, 1]})
""",
    base="c.num_epochs = 2.0",
  )
  _, rows = sweeping.train(sweeping.load(path, digits_dir), tmp_path / "w", halving=2)
  assert [(row["optimizer.learning_rate"], row["status"]) for row in rows] == [
    (0.01, "finished")
  ] * 2 + [(1e-5, "stopped early")] * 2
  assert leaderboard.winner(leaderboard.settings_of(rows))["runs"] == 2
