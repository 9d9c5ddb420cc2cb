"""Every file that a run wrote, lost or damaged: the run goes on to the same files, or says why not.

Whatever happens, it is one sentence, and never a result of something else.
"""

import os
import shutil

import pytest
from lost_runs import config_of, outcome, same
from training_runs import read_result

from mnist_mlp.errors import UserError
from mnist_mlp.inference import load_run
from mnist_mlp.train import train_and_evaluate

DAMAGES = {
  "gone": lambda path: path.unlink(),
  "empty": lambda path: path.write_bytes(b""),
  "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
  "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
  "a flipped bit": lambda path: path.write_bytes(flipped(path.read_bytes())),
  **{text: lambda path, text=text: path.write_text(text) for text in ("{}", "[]", "3", '"x"')},
}
FAST = ("half",)
MARKED = [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in DAMAGES]
FILES = ("config.json", "dataset.json", "environment.json", "metrics.jsonl", "result.json")


def flipped(content):
  middle = len(content) // 2
  return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, digits_dir):
  """The workdir, not to be written to, of a finished run."""
  workdir = tmp_path_factory.mktemp("lost") / "finished"
  train_and_evaluate(config_of(digits_dir), workdir)
  return workdir


@pytest.fixture(scope="module")
def begun(finished):
  """The same run, as it was when it was killed after its third evaluation."""
  workdir = shutil.copytree(finished, finished.with_name("begun"))
  shutil.rmtree(workdir / "checkpoints" / "24")
  (workdir / "result.json").unlink()
  return workdir


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


def test_a_workdir_may_have_any_name(finished, digits_dir, tmp_path):
  workdir = tmp_path / r"[0-9]*? {a} b\c" / os.fsdecode(b"\xff")
  train_and_evaluate(config_of(digits_dir), workdir)
  assert same(workdir, finished)
  assert load_run(workdir).step == 24
  (workdir / "result.json").unlink()
  assert outcome(config_of(digits_dir), workdir) == ""
  assert same(workdir, finished)
  assert [path.name for path in tmp_path.iterdir()] == [r"[0-9]*? {a} b\c"]
