"""Where a start of a run goes on, and what is said if something is gone."""

import shutil

import numpy as np
import pytest
import small
import small_run

from mnist_mlp.errors import RunError
from mnist_mlp.run.checkpoint import Checkpoints
from mnist_mlp.run.resuming import resume

FIRST = {"step": np.array(0, np.int32)}
ROWS = [{"step": step, "train/loss": 1 / step} for step in (6, 12, 18)]
RESULT = {"steps": 18, "dataset": {"name": "small"}, "test": {"error_percent": 1.0}}


def begun(path, **changes):
  """Returns a run of 18 steps, evaluated every 6, with checkpoints of the last two evaluations."""
  run = small_run.run_of(path, num_steps=18, eval_every_steps=6, **changes)
  run.folder.write_json("environment.json", run.environment)
  with Checkpoints(path / "checkpoints") as checkpoints:
    for row in ROWS:
      run.folder.history.add(row)
      checkpoints.save(row["step"], {"step": np.array(row["step"], np.int32)}, run.about())
  return run


def resumed(run):
  """Returns the run as the next process sees it, the steps done, and the tree."""
  again = small_run.run_of(run.folder.path, num_steps=18, eval_every_steps=6)
  with Checkpoints(again.folder.path / "checkpoints", again.console.line) as checkpoints:
    step, tree = resume(again, FIRST, checkpoints)
  return again, step, int(tree["step"])


def test_a_new_run_starts_at_the_beginning(tmp_path):
  run, step, value = resumed(small_run.run_of(tmp_path / "run"))
  assert (step, value, run.console.lines) == (0, 0, [])
  assert run.folder.history.rows == run.folder.metrics() == []
  assert run.folder.read_json("environment.json") == run.environment


DAMAGES = {
  "gone": lambda path: path.unlink(),
  "empty": lambda path: path.write_bytes(b""),
  "torn": lambda path: path.write_bytes(path.read_bytes()[:-20]),
  "a flipped digit": lambda path: path.write_text(path.read_text().replace("1", "2")),
  "other JSON": lambda path: path.write_text('[]\n3\n"x"\n{}\n'),
  "a link": lambda path: (path.unlink(), path.symlink_to("/dev/null")),
  "none": lambda path: None,
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("to", [18, 12])
def test_rows_come_back_with_the_checkpoint(tmp_path, damage, to):
  run = begun(tmp_path / "run")
  path = tmp_path / "run" / "metrics.jsonl"
  expected = b"".join(path.read_bytes().splitlines(keepends=True)[: to // 6])
  DAMAGES[damage](path)
  if to == 12:
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "18")
  again, step, value = resumed(run)
  assert step == value == to
  assert path.read_bytes() == expected and not path.is_symlink()
  assert again.folder.history.rows == ROWS[: to // 6]
  assert not any("metrics.jsonl" in line for line in again.console.lines)


def without_rows(run):
  """Rewrites the checkpoints as version 0.2.0 wrote them."""
  about = {key: run.about()[key] for key in ("config", "environment")}
  shutil.rmtree(run.folder.path / "checkpoints")
  with Checkpoints(run.folder.path / "checkpoints") as checkpoints:
    checkpoints.save(18, {"step": np.array(18, np.int32)}, about)


def test_rows_of_an_old_checkpoint_are_those_of_the_file(tmp_path):
  run = begun(tmp_path / "run")
  without_rows(run)
  again, step, _ = resumed(run)
  assert step == 18 and again.folder.history.rows == ROWS
  assert again.console.lines == []


def test_rows_that_an_old_run_lost_are_said_to_be_lost(tmp_path):
  run = begun(tmp_path / "run")
  without_rows(run)
  path = tmp_path / "run" / "metrics.jsonl"
  path.write_bytes(path.read_bytes()[:-20])
  again, step, _ = resumed(run)
  assert step == 18 and again.folder.history.rows == ROWS[:2]
  (line,) = again.console.lines
  assert line.startswith(f"1 of the evaluations up to step 18 are lost from {path}")


def test_a_finished_run_gives_its_last_state_or_none(tmp_path):
  run = begun(tmp_path / "run")
  run.folder.write_json("result.json", RESULT)
  before = (tmp_path / "run" / "metrics.jsonl").stat().st_mtime_ns
  assert resumed(run)[1:] == (18, 18)
  assert (tmp_path / "run" / "metrics.jsonl").stat().st_mtime_ns == before
  shutil.rmtree(tmp_path / "run" / "checkpoints" / "18")  # The one of step 12 is still there.
  with pytest.raises(RunError, match="is finished, but its last checkpoint, 18, is no longer in"):
    resumed(run)
  shutil.rmtree(tmp_path / "run" / "checkpoints")
  with pytest.raises(RunError, match="is finished, but its last checkpoint, 18, is no longer in"):
    resumed(run)


def test_a_finished_run_with_a_damaged_last_checkpoint_is_left_as_it_is(tmp_path):
  run = begun(tmp_path / "run")
  run.folder.write_json("result.json", RESULT)
  (tmp_path / "run" / "checkpoints" / "18" / "about" / "metadata").write_text("{}")
  with pytest.raises(RunError, match=r"checkpoints/18 is damaged"):
    resumed(run)
  assert (tmp_path / "run" / "checkpoints" / "18").is_dir()


def test_a_run_whose_checkpoints_are_gone_says_that_it_starts_anew(tmp_path):
  run = begun(tmp_path / "run")
  shutil.rmtree(tmp_path / "run" / "checkpoints")
  again, step, value = resumed(run)
  assert (step, value, again.folder.metrics()) == (0, 0, [])
  (line,) = again.console.lines
  assert "had reached step 18, but its checkpoints are gone: it starts anew" in line


def test_checkpoints_of_another_run_are_refused(tmp_path):
  """Although config.json and dataset.json, which would tell, are gone."""
  other = begun(tmp_path / "other", seed=7)
  with pytest.raises(RunError, match=r"are those of another run \(config\.seed: 7 -> 0\)"):
    resumed(other)
  run = begun(tmp_path / "run")
  about = {**run.about(), "fingerprint": "another"}
  with Checkpoints(tmp_path / "run" / "checkpoints") as checkpoints:
    checkpoints.save(24, FIRST, about)
  with pytest.raises(
    RunError, match=r"are those of another run \(other data, of fingerprint another"
  ):
    resumed(run)


def test_checkpoints_of_a_run_whose_data_were_moved_are_its_own(tmp_path):
  run = begun(tmp_path / "run", data__data_dir="/elsewhere")
  assert small.config_of().data.data_dir == ""
  assert resumed(run)[1] == 18


def test_other_versions_and_devices_are_said(tmp_path):
  run = begun(tmp_path / "run")
  run.folder.write_json("environment.json", {"packages": {"jax": "0.1"}, "devices": "1 x old"})
  again = resumed(run)[0]
  (line,) = again.console.lines
  assert "the last bits of the results may change" in line and "jax: 0.1 -> None" in line
