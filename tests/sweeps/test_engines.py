"""Which engine trains a sweep, and that one goes on where another stopped."""

import signal

import processes
import pytest
import sweeping

from mnist_mlp import sweeps
from mnist_mlp.errors import UsageError
from mnist_mlp.sweeps import engines, leaderboard
from mnist_mlp.sweeps import points as points_lib
from mnist_mlp.sweeps.plan import Options


def test_a_changed_sweep_file_is_refused(swept):
  base = swept.points[0].config.copy_and_resolve_references()
  base.num_epochs = 9.0
  changed = sweeps.check([point.overrides for point in swept.points], base)
  with pytest.raises(UsageError, match=r"another config \(config.num_epochs: 3.0 -> 9.0\)"):
    sweeping.train(changed, swept.folder)


@pytest.mark.parametrize(
  ("features", "processes", "chosen", "expected"),
  [
    ((16,), 2, slice(None), "vmap"),
    ((512, 512), 2, slice(None), "processes"),
    ((512, 512), 1, slice(None), "vmap"),
    ((512, 512), 2, slice(1), "vmap"),
    ((), 2, slice(None), "processes"),  # A net with convolutions.
  ],
)
def test_large_nets_on_several_cores_train_in_processes(
  points, tmp_path, features, processes, chosen, expected
):
  base = points[0].config.copy_and_resolve_references()
  base.model.features = features
  base.model.name = "mlp" if features else "cnn"
  wide = points_lib.check([{"seed": 0}, {"seed": 1}], base)
  sweep, _ = sweeping.open_sweep(wide, tmp_path)
  options = Options(processes=processes)
  assert engines.choose_engine(sweep, sweep.members[chosen], options) == expected


def test_halving_that_stops_nobody_says_so(swept):
  """All are finished already, so that nothing trains."""
  sweep, lines = sweeping.open_sweep(swept.points, swept.folder)
  before = sweeping.content(swept.folder)
  engines.run(sweep, sweep.members[:1], Options(engine="vmap", halving=3))
  for part in ("--halving=3 stops nobody", "3 settings", "seeds", "as many evaluations"):
    assert part in lines[-1]
  assert sweeping.content(swept.folder) == before


SEEDS = """
def sweep():
  return sweeps.grid({"optimizer.learning_rate": [0.01, 0.003], "seed": [0, 1]})
"""


@pytest.mark.slow
def test_processes_go_on_where_vmap_was_interrupted(tmp_path, digits_dir):
  path = sweeping.sweep_file(tmp_path, SEEDS, base="c.num_epochs = 200.0")
  own = tmp_path / "w"
  with sweeping.running(path, own, digits_dir, "--engine=vmap") as (process, output):
    processes.wait_for(lambda: "step 240/" in output.read_text(), process, output)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143, output.read_text()
  done = sweeping.run(path, own, digits_dir, "--engine=processes", "--processes=2")
  assert done.returncode == 0, done.stderr
  assert "1 populations in 1 processes" in done.stdout, "the population did not go on as it was"
  assert " step 24/" not in done.stdout, "the population started anew"
  sweeping.train(sweeping.load(path, digits_dir), tmp_path / "straight")
  expected = sweeping.rows_of(tmp_path / "straight")
  for name, row in sweeping.rows_of(own).items():
    assert row["status"] == "finished"
    assert row["epoch"] == expected[name]["epoch"] == 200.0
    for measure in leaderboard.MEASURES:
      assert row[measure] == pytest.approx(expected[name][measure], rel=0.2, abs=0.01)


@pytest.mark.slow
def test_rungs_of_one_engine_are_those_of_another(tmp_path, digits_dir):
  """Processes, ended after the first rung; then vmap, to the end."""
  path = sweeping.sweep_file(
    tmp_path,
    """
def sweep():
  return sweeps.grid({"optimizer.learning_rate": [1e-5, 0.01, 1e-6, 0.003]})
""",
    base="c.num_epochs, c.eval_every_epochs = 200.0, 50.0",
  )
  own = tmp_path / "w"
  arguments = ("--engine=processes", "--processes=2", "--halving=2")
  with sweeping.running(path, own, digits_dir, *arguments) as (process, output):
    processes.wait_for(lambda: "2 of 4 runs go on" in output.read_text(), process, output)
    process.send_signal(signal.SIGTERM)
    # Between two rungs nothing trains, and the signal has its usual effect.
    assert process.wait(60) in (143, -signal.SIGTERM), output.read_text()
  stopped = sorted(own.glob("members/*/stopped.json"))
  assert [file.parent.name[:3] for file in stopped] == ["000", "002"]
  points = sweeping.load(path, digits_dir)
  _, rows = sweeping.train(points, own, halving=2)
  assert sorted(row["epoch"] for row in rows) == [50.0, 50.0, 100.0, 200.0]
  assert [row["status"] for row in rows] == ["finished"] + ["stopped early"] * 3
  before = sweeping.content(own)
  sweeping.train(points, own, engine="processes", processes=2, halving=2)
  assert sweeping.content(own) == before
