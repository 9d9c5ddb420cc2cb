"""Runs whose batch is larger than their data."""

import json

import pytest
import sweeping
from tensorboard.backend.event_processing import event_accumulator

from mnist_mlp import config, inference
from mnist_mlp.train import train_and_evaluate

SWEEP = "def sweep():\n  return [{'batch_size': 50}, {'batch_size': 5000}, {'batch_size': 9000}]"


def hparams(folder):
  events = event_accumulator.EventAccumulator(str(folder)).Reload()
  data = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
  return data


@pytest.mark.slow
def test_a_run_says_which_batch_it_used_and_goes_on_with_it(digits_dir, tmp_path, capfd):
  c = config.default()
  c.data.update(name="digits", data_dir=str(digits_dir), validation_examples=0.2)
  c.batch_size, c.num_steps, c.model.features = 5000, 4, (8,)
  state = train_and_evaluate(c, tmp_path / "run")
  said = capfd.readouterr()
  line = "batch_size is 5000, but digits has 1,200 training examples: batches of 1,200 are used"
  assert line in said.out + said.err
  result = json.loads((tmp_path / "run" / "result.json").read_text())
  assert (result["batch_size"], result["epochs"]) == (1200, 4.0)
  assert json.loads((tmp_path / "run" / "config.json").read_text())["batch_size"] == 5000
  assert b"\x00\x00\x00\x00\xc0\x92@" in hparams(tmp_path / "run")  # 1200.0, as a double
  assert int(train_and_evaluate(c, tmp_path / "run").step) == int(state.step) == 4
  assert inference.load_run(tmp_path / "run").step == 4


@pytest.mark.slow
def test_members_of_a_sweep_say_which_batch_they_used(digits_dir, tmp_path):
  points = sweeping.load(sweeping.sweep_file(tmp_path, SWEEP), digits_dir)
  sweep, rows = sweeping.train(points, tmp_path / "sweep")
  assert sorted(row["batch_size"] for row in rows) == [50, 1200, 1200]
  assert {row["status"] for row in rows} == {"finished"}
  asked = [member.folder.config().batch_size for member in sweep.members]
  assert asked == [50, 5000, 9000]
  used = [member.folder.result()["batch_size"] for member in sweep.members]
  assert used == [50, 1200, 1200]
  # A sweep that goes on finds its runs.
  assert sweeping.train(points, tmp_path / "sweep")[1] == rows
