"""A member of a sweep and its folder, against a lone run of the same config."""

import processes
import pytest

from mnist_mlp.run.workdir import Workdir
from mnist_mlp.sweeps.member import DIVERGED, FINISHED, STOPPED, UNFINISHED, Member
from mnist_mlp.train import train_and_evaluate

RESULT = {"steps": 9, "dataset": {"name": "digits"}, "test": {"error_percent": 1.0}}


def saved(folder):
  return sorted(path.name for path in (folder.path / "checkpoints").glob("[0-9]*"))


@pytest.mark.slow
def test_a_member_is_like_a_lone_run(swept, tmp_path):
  member = Member(swept.points[2], swept.folder)
  train_and_evaluate(swept.points[2].config, tmp_path / "lone")
  lone = Workdir(tmp_path / "lone")
  assert member.folder.config() == lone.config()
  assert member.folder.read_json("dataset.json") == lone.read_json("dataset.json")
  for own, expected in zip(member.folder.metrics(), lone.metrics(), strict=True):
    assert own == pytest.approx(expected, rel=1e-3, abs=1e-5)
  own, expected = member.folder.result(), lone.result()
  assert set(own) >= set(expected)
  for name in ("test", "validation", "train", "best_validation"):
    assert own[name] == pytest.approx(expected[name], rel=1e-3)
  for name in ("temperature", "best_temperature"):
    assert own["calibration"][name] == pytest.approx(expected["calibration"][name], rel=1e-3)
  for split in ("test", "validation"):
    wanted = pytest.approx(expected["calibration"][split], abs=2e-3)
    assert own["calibration"][split] == wanted
  assert saved(member.folder)[-1] == saved(lone)[-1]


def test_main_says_that_a_member_is_finished_and_restores_its_state(swept):
  member = Member(swept.points[5], swept.folder)
  before = member.folder.result()
  done = processes.run(
    f"--config={swept.path}",
    f"--config.data.data_dir={member.config.data.data_dir}",
    "--config.optimizer.learning_rate=0.01",
    "--config.model.dropout=0.5",
    f"--workdir={member.folder.path}",
  )
  assert done.returncode == 0, done.stderr
  assert "is finished" in done.stdout
  state = train_and_evaluate(member.config, member.folder.path)
  assert int(state.step) == before["steps"]
  assert member.folder.result() == before


def test_the_status_of_a_member_is_what_its_folder_says(swept, tmp_path):
  member = Member(swept.points[0], tmp_path)
  assert member.folder.path == tmp_path / "members" / "000-learning_rate=0.001,seed=0"
  assert member.status() == UNFINISHED and not member.folder.path.exists()
  member.folder.path.mkdir(parents=True)
  for status in (STOPPED, DIVERGED):
    member.stop(status, 7)
    assert member.status() == status
    assert member.folder.read_json("stopped.json") == {"status": status, "step": 7}
  member.folder.write_json("result.json", RESULT)  # It was trained to its end after all.
  assert member.status() == FINISHED
