"""A plan: what a worker in another process gets, and what it makes of it."""

import dataclasses
import pickle
import re
import time

import pytest
import small_run
import sweeping

from mnist_mlp.run.console import Console
from mnist_mlp.sweeps.engines import ENGINES
from mnist_mlp.sweeps.plan import Options, Plan


def plan_of(points, folder, share=1.0, **options):
  """Returns a plan for all populations of a sweep, and the sweep."""
  sweep, _ = sweeping.open_sweep(points, folder)
  populations = sweep.populations(sweep.members, 3)
  return Plan.of(sweep, populations, share, Options(**options)), sweep


def test_a_plan_survives_the_way_into_another_process(points, tmp_path):
  plan, sweep = plan_of(points, tmp_path, 0.5, save_every=7.0)
  sent = pickle.loads(pickle.dumps(plan))
  assert (sent.folder, sent.share, sent.save_every) == (tmp_path, 0.5, 7.0)
  assert sent.populations == plan.populations
  opened = sent.open(Console(quiet=True))
  assert [member.name for member in opened.members] == [member.name for member in sweep.members]
  for ours, theirs in zip(sweep.members, opened.members, strict=True):
    assert ours.config == theirs.config and ours.folder.path == theirs.folder.path
    assert theirs.config.is_locked


def test_a_plan_names_populations_by_folder_and_members(points, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  plan, sweep = plan_of(points, "w")  # A worker may have another working directory.
  assert plan.folder == tmp_path / "w"
  members = [[int(name[:3]) for name in names] for _, names in plan.populations]
  assert members == [[0, 1, 2], [3, 4], [5]]
  opened = plan.open(Console(quiet=True))
  for path, names in plan.populations:
    assert path.parent == tmp_path / "w" / "populations"
    population = opened.population(path, names)
    assert [member.name for member in population.members] == names
    assert population.path == path
    assert population.group.config == sweep.population(path, names).group.config


def test_a_worker_trains_the_population_of_an_index_up_to_the_share(points, tmp_path):
  plan, _ = plan_of(points, tmp_path, share=1 / 3, save_every=0.0)
  plan = pickle.loads(pickle.dumps(plan))
  opened, steps = plan.open(Console(quiet=True)), []
  plan.train(opened, 2, Console(quiet=True), steps.append)
  trained = opened.members[5]
  assert [row["step"] for row in trained.folder.metrics()] == steps == [24]
  assert trained.status() == "unfinished"
  assert not any(member.folder.path.exists() for member in opened.members[:5])


def test_progress_counts_the_runs_that_are_done_whoever_trained_them(points, tmp_path):
  """A worker knows the others' runs by their folders."""
  plan, sweep = plan_of(points, tmp_path)
  lines = small_run.Lines()
  plan = dataclasses.replace(plan, started=time.time() - 600)
  for member in sweep.members[:3]:  # What another process has trained.
    member.folder.path.mkdir(parents=True)
    member.stop("diverged", 1)
  plan.train(plan.open(Console(quiet=True)), 2, lines)
  assert re.fullmatch(r"4 of 6 runs done, ([5-9]|\d\d):\d\d left", lines.lines[-1])
  for member in sweep.members[3:5]:
    member.folder.path.mkdir(parents=True)
    member.stop("diverged", 1)
  assert plan._progress(sweep) == "6 of 6 runs done"


@pytest.mark.parametrize("name", ENGINES)
def test_engines_have_what_the_protocol_asks_for(name):
  engine = ENGINES[name](Options(max_members=5))
  assert engine.stops_early is (name == "ray")
  assert engine.largest(100) == 5
  assert callable(engine.train) and hasattr(engine, "__enter__") and hasattr(engine, "__exit__")


@pytest.mark.parametrize(("name", "expected"), [("vmap", 0), ("processes", 1)])
def test_by_default_a_population_is_as_large_as_fits_or_a_single_run(name, expected):
  assert ENGINES[name](Options()).largest(100) == expected
