"""Runs as a user sees them: real processes, real files, a real terminal and TensorBoard."""

import json
import os
import pty
import re
import select
import subprocess
from pathlib import Path

import processes
import pytest
import small
import tensorboard_server
from training_runs import LONG, SHORT, last_digest, read_result

from mnist_mlp.errors import UsageError
from mnist_mlp.run.checkpoint import Checkpoints
from mnist_mlp.run.workdir import Workdir
from mnist_mlp.train import Trainer, train_and_evaluate


class Enough(Exception):
  """Ends a run that a test has seen enough of."""


def test_the_config_is_written_before_the_data_that_it_names(digits_dir, tmp_path, monkeypatch):
  """The other way round, a crash in between would leave data that the next config must take."""
  written = []

  def write(folder, name, text):
    written.append(name)
    if len(written) == 2:
      raise Enough

  monkeypatch.setattr(Workdir, "write_text", write)
  c = small.config_of(num_steps=2, data__name="digits", data__data_dir=str(digits_dir))
  c.data.validation_examples = 0
  with pytest.raises(Enough):
    train_and_evaluate(c, tmp_path / "run")
  assert written == ["config.json", "dataset.json"]


def test_the_last_checkpoint_is_saved_while_the_run_is_tested(digits_dir, tmp_path, monkeypatch):
  """To ask for the best checkpoint is to wait for the last one, in which time a test is done."""
  asked = []

  def test(trainer):
    asked.append("test")
    raise Enough

  monkeypatch.setattr(Trainer, "test", test)
  monkeypatch.setattr(Checkpoints, "best", lambda checkpoints: asked.append("best"))
  c = small.config_of(num_steps=2, data__name="digits", data__data_dir=str(digits_dir))
  c.model.features, c.data.validation_examples = (), 0
  with pytest.raises(Enough):
    train_and_evaluate(c, tmp_path / "run")
  assert asked == ["test"]


def test_code_of_ones_own_that_is_missing_is_said_before_anything_is_written(tmp_path, digits_dir):
  c = small.config_of(model__name="nowhere:Net", data__name="digits", data__offline="")
  c.data.data_dir, c.data.validation_examples = str(digits_dir), 0
  with pytest.raises(UsageError, match="there is no module 'nowhere'"):
    train_and_evaluate(c, tmp_path / "run")
  assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_result_and_metrics_say_what_was_trained(uninterrupted):
  result = read_result(uninterrupted)
  assert result["dataset"]["name"] == "digits" and not result["dataset"]["stand_in_for"]
  assert result["dataset"]["examples"] == {"train": 1400, "validation": 100, "test": 297}
  assert result["steps"] == 560 and result["epochs"] == 40
  assert result["test"]["examples"] == 297 and result["test"]["error_percent"] < 15
  assert result["environment"]["packages"]["jax"]
  rows = [json.loads(line) for line in (uninterrupted / "metrics.jsonl").open()]
  assert [row["step"] for row in rows] == list(range(56, 561, 56))
  best = max(rows, key=lambda row: row["validation/accuracy"])["validation/accuracy"]
  assert result["best_validation"]["accuracy"] == best
  kept = sorted(int(path.name) for path in (uninterrupted / "checkpoints").iterdir())
  assert kept[-1] == 560 and len(kept) <= 3 and result["best_validation"]["step"] in kept


@pytest.mark.slow
def test_help_and_a_run_on_prepared_data_import_no_tensorflow(uninterrupted):
  helped = processes.run("--help", python=("-X", "importtime"))
  for times in (helped.stderr, (uninterrupted.parent / "imports").read_text()):
    imported = set(re.findall(r"^import time:.*\| +(\S+)$", times, re.MULTILINE))
    assert "absl.flags" in imported and "tensorflow" not in imported
    if times == helped.stderr:
      assert "jax" not in imported and "--workdir" in helped.stdout
    else:
      assert "jax" in imported
  assert (uninterrupted / "result.json").exists()


@pytest.mark.parametrize("optimizer", ["sgd", pytest.param("adamw", marks=pytest.mark.slow)])
def test_a_loss_that_becomes_nan_stops_and_keeps_the_last_good_checkpoint(
  optimizer, digits_dir, tmp_path
):
  # Decay by far more than the weights each step: they grow without bound, but not at once.
  arguments = (
    "--config=configs/sgd.py",
    "--config.data.name=digits",
    "--config.batch_size=100",
    "--config.data.validation_examples=100",
    "--config.model.features=(16,)",
    f"--config.optimizer.name={optimizer}",
    "--config.optimizer.weight_decay=40",
    "--config.checkpoint_every_steps=2",
  )
  done = processes.run(*arguments, f"--workdir={tmp_path / 'run'}", TFDS_DATA_DIR=str(digits_dir))
  assert done.returncode == 1, done.stdout + done.stderr
  assert "Traceback" not in done.stderr and done.stderr.count("\n") == 1
  bad, good = map(
    int,
    re.search(
      r"NaN or infinite at step (\d+); the last good checkpoint is that of step (\d+)", done.stderr
    ).groups(),
  )
  assert 2 <= good < bad
  assert not (tmp_path / "run" / "result.json").exists()
  assert last_digest(tmp_path / "run")[0] == str(good)


@pytest.mark.slow
def test_profile_writes_a_trace(digits_dir, tmp_path):
  done = processes.run(*SHORT, f"--workdir={tmp_path}", "--profile", TFDS_DATA_DIR=str(digits_dir))
  assert done.returncode == 0, done.stderr
  for pattern in ("*.xplane.pb", "perfetto_trace.json.gz"):
    (trace,) = (tmp_path / "plugins" / "profile").glob(f"*/{pattern}")
    assert trace.stat().st_size > 1000


@pytest.mark.slow
def test_progress_bar_on_a_terminal(digits_dir, tmp_path):
  leader, follower = pty.openpty()
  process = subprocess.Popen(
    processes.command(*LONG, "--config.num_epochs=12", f"--workdir={tmp_path}"),
    cwd=processes.ROOT,
    env=processes.environment(TFDS_DATA_DIR=str(digits_dir), COLUMNS="120"),
    stdin=subprocess.DEVNULL,
    stdout=follower,
    stderr=follower,
  )
  os.close(follower)
  shown = b""
  while process.poll() is None or select.select([leader], [], [], 0.1)[0]:
    try:
      shown += os.read(leader, 65536)
    except OSError:  # The other side is closed.
      break
  os.close(leader)
  assert process.wait(60) == 0
  text = shown.decode()
  assert re.search(r"\d+%\|.*\| .*/16.8k \[.*<.*, .* examples/s\]", text)
  assert re.search(r"epoch +4 of 12, step 56 of 168 \| train loss .* \| validation loss", text)


@pytest.mark.slow
def test_stand_in_is_said_loudly_and_stays(tmp_path, digits_dir):
  # No such dataset here, and no network to it: the embedded one is used.
  variables = {
    "TFDS_DATA_DIR": str(digits_dir),
    "https_proxy": "http://127.0.0.1:9",
    "http_proxy": "http://127.0.0.1:9",
  }
  arguments = ("--config=configs/adam.py", "--config.num_epochs=2", "--config.model.features=(16,)")
  done = processes.run(*arguments, f"--workdir={tmp_path / 'run'}", **variables)
  assert done.returncode == 0, done.stderr
  lines = done.stdout.splitlines()
  start = lines.index(next(line for line in lines if line.startswith("epoch")))
  for part in (lines[:start], lines[start:]):
    assert any("mnist could not be had: this run trains on digits INSTEAD" in line for line in part)
  result = read_result(tmp_path / "run")
  assert result["dataset"]["name"] == "digits"
  assert result["dataset"]["stand_in_for"] == "mnist"
  refused = processes.run(
    *arguments, "--config.data.offline=", f"--workdir={tmp_path / 'other'}", **variables
  )
  assert refused.returncode == 1 and "Traceback" not in refused.stderr
  assert "manual_dir" in refused.stderr


@pytest.mark.slow
def test_tensorboard_shows_a_run(uninterrupted):
  tags = {
    "scalars": {
      "train/loss",
      "train/accuracy",
      "validation/loss",
      "validation/cross_entropy",
      "validation/accuracy",
      "test/accuracy",
      "test/loss",
      "test/cross_entropy",
      "train/learning_rate",
      "train/gradient_norm",
      "train/update_norm",
      "train/parameter_norm",
      "train/examples_per_second",
    },
    "images": {
      "weights/first_layer",
      "test/worst_mistakes",
      "test/confusion_matrix",
      "test/reliability",
      "train/distortions",
    },
    "histograms": {"weights/Dense_0/kernel", "weights/Dense_1/bias"},
    "text": {"config", "parameters"},
  }
  with tensorboard_server.serve(uninterrupted.parent, runs=["run"]) as server:
    for plugin, expected in tags.items():
      shown = server.get(f"/data/plugin/{plugin}/tags")["run"]
      assert expected <= set(shown), plugin
    rows = [json.loads(line) for line in (uninterrupted / "metrics.jsonl").open()]
    assert [step for step, _ in server.scalars("run", "validation/accuracy")] == [
      row["step"] for row in rows
    ]
    assert server.image("run", "test/confusion_matrix")[1].startswith(b"\x89PNG")
    assert "label_smoothing" in server.texts("run", "config")[0][1]
    (group,) = server.session_groups()
    assert group["hparams"]["optimizer.learning_rate"] == 0.001
    facts = json.loads((uninterrupted / "dataset.json").read_text())
    assert group["hparams"]["data.fingerprint"] == facts["fingerprint"]
    assert group["sessions"][0]["status"] == "STATUS_SUCCESS"


@pytest.mark.slow
def test_workdir_is_optional(tmp_path, digits_dir):
  done = subprocess.run(
    processes.command(f"--config={processes.ROOT / 'configs/adam.py'}", *SHORT[1:]),
    cwd=tmp_path,
    env=processes.environment(TFDS_DATA_DIR=str(digits_dir)),
    capture_output=True,
    text=True,
    timeout=120,
  )
  assert done.returncode == 0, done.stderr
  (folder,) = (tmp_path / "runs").iterdir()
  assert re.fullmatch(r"adam-\d{8}-\d{6}", folder.name)
  assert "tensorboard --logdir=runs\n" in done.stdout
  assert f"--workdir=runs/{folder.name}" in done.stdout
  assert Path(folder, "result.json").exists()
