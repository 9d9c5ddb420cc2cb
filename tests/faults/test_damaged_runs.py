"""Every file that a run wrote, lost or damaged: the run goes on to the same files, or says why not.

Whatever happens, it is one sentence, and never a result of something else.
"""

import os
import shutil

import pytest
from damages import DAMAGES, EXTENTS, copies_with_damage
from lost_runs import config_of, outcome, same

from mnist_mlp.train import train_and_evaluate

FAST = ("half",)
MARKED = [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in DAMAGES]
FILES = ("config.json", "dataset.json", "environment.json", "metrics.jsonl", "result.json")


@pytest.mark.parametrize("damage", MARKED)
@pytest.mark.parametrize("name", FILES[:-1])
def test_a_begun_run_comes_to_the_same_end_or_says_why_not(
  begun, finished, digits_dir, tmp_path, name, damage
):
  workdir = shutil.copytree(begun, tmp_path / "run")
  DAMAGES[damage](workdir / name)
  said = outcome(config_of(digits_dir), workdir)
  if said:
    assert str(workdir / name) in said and "\n" not in said
    assert name != "metrics.jsonl", "its rows are in the checkpoint"
  else:
    assert same(workdir, finished)


@pytest.mark.parametrize("damage", MARKED)
def test_a_finished_run_says_what_is_wrong_with_its_result(finished, digits_dir, tmp_path, damage):
  workdir = shutil.copytree(finished, tmp_path / "run")
  DAMAGES[damage](workdir / "result.json")
  said = outcome(config_of(digits_dir), workdir)
  if said:
    assert str(workdir / "result.json") in said
  else:
    assert damage in ("gone", "a flipped bit")
    assert damage == "a flipped bit" or same(workdir, finished)


@pytest.mark.parametrize("extent", EXTENTS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_begun_run_with_a_damaged_checkpoint_comes_to_the_same_end(
  begun, finished, digits_dir, tmp_path, chance, count, damage, extent
):
  for workdir, path in copies_with_damage(begun, damage, tmp_path, chance, extent):
    said = outcome(config_of(digits_dir), workdir)
    assert said == "" and same(workdir, finished), (path, said)
    count("damaged files", 1)


@pytest.mark.slow
def test_a_workdir_may_have_any_name(finished, digits_dir, tmp_path):
  workdir = tmp_path / r"[0-9]*? {a} b\c" / os.fsdecode(b"\xff")
  train_and_evaluate(config_of(digits_dir), workdir)
  assert same(workdir, finished)
  (workdir / "result.json").unlink()
  assert outcome(config_of(digits_dir), workdir) == ""
  assert same(workdir, finished)
  assert [path.name for path in tmp_path.iterdir()] == [r"[0-9]*? {a} b\c"]
