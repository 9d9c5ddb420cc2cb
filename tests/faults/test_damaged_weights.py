"""Checkpoints of a finished run, lost or damaged: its weights are right, or there are none."""

import shutil

import pytest
import small
from damages import DAMAGES, EXTENTS, copies_with_damage
from lost_runs import config_of, outcome
from training_runs import read_result

from mnist_mlp.errors import UserError
from mnist_mlp.inference import load_run


@pytest.mark.parametrize("lost", ["checkpoints", "checkpoints/24"])
def test_a_finished_run_returns_its_last_weights_or_none(finished, digits_dir, tmp_path, lost):
  workdir = shutil.copytree(finished, tmp_path / "run")
  shutil.rmtree(workdir / lost)
  assert "its last checkpoint, 24, is no longer in" in outcome(config_of(digits_dir), workdir)
  with pytest.raises(UserError, match=r"no longer in|no whole checkpoint"):
    load_run(workdir)
  shutil.rmtree(workdir / "checkpoints")
  with pytest.raises(UserError, match="its last checkpoint, 24, is no longer in"):
    load_run(workdir)


def test_the_best_weights_are_those_that_the_result_names(finished, tmp_path):
  best = read_result(finished)["best_validation"]["step"]
  assert load_run(finished, best=True).step == best
  workdir = shutil.copytree(finished, tmp_path / "run")
  shutil.rmtree(workdir / "checkpoints" / str(best))
  with pytest.raises(UserError, match=f"its best checkpoint, {best}, is no longer in"):
    load_run(workdir, best=True)


@pytest.mark.parametrize("extent", EXTENTS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_weights_are_never_returned(
  finished, digits_dir, tmp_path, chance, count, damage, extent
):
  expected = load_run(finished)
  for workdir, file in copies_with_damage(finished, damage, tmp_path, chance, extent):
    try:
      found = load_run(workdir)
    except UserError as error:
      assert str(workdir) in str(error) and "\n" not in str(error), file
    else:
      assert small.differing(found.state.params, expected.state.params) == [], file
    said = outcome(config_of(digits_dir), workdir)
    assert "\n" not in said and read_result(workdir) == read_result(finished), file
    count("damaged files", 1)
