"""Populations: their folders, and who may train them."""

import pytest
import small
import sweeping

from mnist_mlp.errors import HeldError, RunError, UsageError
from mnist_mlp.run.workdir import Workdir
from mnist_mlp.sweeps import engines
from mnist_mlp.sweeps.member import STOPPED
from mnist_mlp.sweeps.plan import Options


def population_of(points, folder, chosen=slice(0, 2)):
  """Returns a new population of some points."""
  sweep, _ = sweeping.open_sweep(points, folder)
  (population,) = sweep.populations(sweep.members[chosen], 0)
  return population


def test_a_population_in_use_is_refused(points, tmp_path):
  sweep, _ = sweeping.open_sweep(points, tmp_path)
  (population,) = sweep.populations(sweep.members[5:], 0)
  with Workdir(population.path).lock(), pytest.raises(HeldError, match="is in use"):
    engines.run(sweep, sweep.members[5:], Options(engine="vmap"))


def test_a_claim_holds_the_folders_of_the_population_and_of_who_trains(points, tmp_path):
  population = population_of(points, tmp_path)
  first, second = population.members
  first.folder.path.mkdir(parents=True)
  first.stop(STOPPED, 3)
  with population.claim() as runs:
    assert list(runs) == [1] == population.unfinished()
    assert runs[1].config is second.config and runs[1].folder is second.folder
    assert Workdir(population.path).read_json("members.json") == {
      "members": [first.name, second.name]
    }
    for folder in (Workdir(population.path), second.folder):
      with pytest.raises(HeldError, match="is in use"), folder.lock():
        pass
    with first.folder.lock():  # Somebody may train it to its end alone.
      pass
  with Workdir(population.path).lock(), second.folder.lock():
    pass


def test_a_member_that_trains_elsewhere_is_not_claimed(points, tmp_path):
  population = population_of(points, tmp_path)
  with (
    population.members[1].folder.lock(),
    pytest.raises(HeldError, match=population.members[1].name),
    population.claim(),
  ):
    pass


def test_a_member_of_another_config_or_of_other_data_is_not_claimed(points, tmp_path):
  population = population_of(points, tmp_path)
  folder = population.members[0].folder
  folder.path.mkdir(parents=True)
  folder.write_json("dataset.json", {"name": "digits", "fingerprint": "another"})
  with pytest.raises(RunError, match="was started on other data"), population.claim():
    pass
  folder.keep_config(small.config_of())
  with pytest.raises(UsageError, match="holds a run of another config"), population.claim():
    pass


def test_a_population_begins_at_step_0_and_its_folder_can_be_removed(points, tmp_path):
  population = population_of(points, tmp_path)
  with population.checkpoints(sweeping.Console(quiet=True)) as checkpoints:
    step, tree = population.restore(checkpoints)
  assert step == 0 and len(tree["best"]["accuracy"]) == 2
  population.remove()
  assert not population.path.exists()
  population.remove()  # Another process may have done so.
