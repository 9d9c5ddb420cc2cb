"""Runs as a user sees them: real processes, real signals, real files."""

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path

import processes
import pytest
import small
import tensorboard_server
from tensorboard.backend.event_processing import event_accumulator

from mnist_mlp.run.workdir import Workdir
from mnist_mlp.train import train_and_evaluate

# About 10 seconds of training in steps of about a millisecond, on real data.
LONG = (
  "--config=configs/adam.py",
  "--config.data.name=digits",
  "--config.batch_size=100",
  "--config.data.validation_examples=100",
  "--config.model.features=(256,128)",
  "--config.num_epochs=80",
  "--config.eval_every_epochs=4",
  "--config.checkpoint_every_steps=35",
  "--config.ema.decay=0.99",
  "--config.augment.rotation=5.0",
)
SHORT = (
  "--config=configs/adam.py",
  "--config.data.name=digits",
  "--config.data.validation_examples=100",
  "--config.model.features=(32,)",
  "--config.num_epochs=3",
)


def last_digest(workdir):
  """The digest over parameters, optimizer state and all, of the last checkpoint."""
  folder = max((workdir / "checkpoints").iterdir(), key=lambda path: int(path.name))
  about = json.loads((folder / "about" / "metadata").read_text())
  return folder.name, about["digest"]


def read_result(workdir):
  return json.loads((workdir / "result.json").read_text())


def wait_for_rows(process, workdir, count):
  deadline = time.monotonic() + 90
  metrics = workdir / "metrics.jsonl"
  while time.monotonic() < deadline:
    assert process.poll() is None, "the run ended before it could be interrupted"
    if metrics.exists() and metrics.read_text().count("\n") >= count:
      return
    time.sleep(0.02)
  raise AssertionError(f"no {count} rows in time")


@pytest.fixture(scope="module")
def uninterrupted(shared_dir, digits_dir, tmp_path_factory):
  workdir = tmp_path_factory.mktemp("uninterrupted") / "run"
  done = processes.run(*LONG, f"--workdir={workdir}", TFDS_DATA_DIR=str(digits_dir))
  assert done.returncode == 0, done.stderr
  return workdir


@pytest.mark.parametrize(
  ("number", "code"),
  [
    (signal.SIGKILL, -signal.SIGKILL),
    pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow),
    pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
  ],
)
def test_interrupted_and_resumed_equals_uninterrupted(
  number, code, uninterrupted, digits_dir, tmp_path
):
  workdir, output = tmp_path / "run", tmp_path / "output"
  variables = {"TFDS_DATA_DIR": str(digits_dir)}
  process = processes.start(*LONG, f"--workdir={workdir}", output=output, **variables)
  try:
    wait_for_rows(process, workdir, 5)
    process.send_signal(number)
    assert process.wait(60) == code
  finally:
    process.kill()
    process.wait()
  said = output.read_text()
  assert "Traceback" not in said
  assert not (workdir / "result.json").exists()
  if number != signal.SIGKILL:
    step = int(re.search(r"after step (\d+) of 1120", said)[1])
    assert 0 < step < 1120
    assert last_digest(workdir)[0] == str(step), "the state at the signal is not what was saved"
    assert f"resume with: python -m mnist_mlp.main {LONG[0]}" in said
  again = processes.run(*LONG, f"--workdir={workdir}", **variables)
  assert again.returncode == 0, again.stderr
  assert re.search(r"resuming at step [1-9]\d* of 1120", again.stdout)
  assert last_digest(workdir) == last_digest(uninterrupted)
  assert (workdir / "metrics.jsonl").read_bytes() == (uninterrupted / "metrics.jsonl").read_bytes()
  assert read_result(workdir)["test"] == read_result(uninterrupted)["test"]


def test_the_config_is_written_before_the_data_that_it_names(digits_dir, tmp_path, monkeypatch):
  """The other way round, a crash in between would leave data that the next config must take."""
  written, write = [], Workdir.write_text
  monkeypatch.setattr(
    Workdir, "write_text", lambda self, name, text: (written.append(name), write(self, name, text))
  )
  c = small.config_of(num_steps=2, data__name="digits", data__data_dir=str(digits_dir))
  c.data.validation_examples = 0
  train_and_evaluate(c, tmp_path / "run")
  assert written[:2] == ["config.json", "dataset.json"]


def test_a_resumed_run_shows_every_evaluation_in_tensorboard(uninterrupted, digits_dir, tmp_path):
  workdir = tmp_path / "run"
  shutil.copytree(uninterrupted, workdir)
  (workdir / "result.json").unlink()  # as if it had been killed when all was trained and saved
  again = processes.run(*LONG, f"--workdir={workdir}", TFDS_DATA_DIR=str(digits_dir))
  assert again.returncode == 0, again.stderr
  assert "resuming at step 1120 of 1120" in again.stdout
  events = event_accumulator.EventAccumulator(str(workdir)).Reload()  # as TensorBoard reads them
  steps = [event.step for event in events.Scalars("validation/accuracy")]
  assert steps == list(range(56, 1121, 56))
  result = read_result(workdir)
  assert result["seconds"] is result["examples_per_second"] is None
  assert read_result(uninterrupted)["seconds"] > 0


def test_result_and_metrics_say_what_was_trained(uninterrupted):
  result = read_result(uninterrupted)
  assert result["dataset"]["name"] == "digits" and not result["dataset"]["stand_in_for"]
  assert result["dataset"]["examples"] == {"train": 1400, "validation": 100, "test": 297}
  assert result["steps"] == 1120 and result["epochs"] == 80
  assert result["test"]["examples"] == 297 and result["test"]["error_percent"] < 15
  assert result["environment"]["packages"]["jax"]
  rows = [json.loads(line) for line in (uninterrupted / "metrics.jsonl").open()]
  assert [row["step"] for row in rows] == list(range(56, 1121, 56))
  best = max(rows, key=lambda row: row["validation/accuracy"])["validation/accuracy"]
  assert result["best_validation"]["accuracy"] == best
  kept = sorted(int(path.name) for path in (uninterrupted / "checkpoints").iterdir())
  assert kept[-1] == 1120 and len(kept) <= 3 and result["best_validation"]["step"] in kept


def test_a_finished_run_says_so_without_starting_jax(uninterrupted, digits_dir):
  before = (uninterrupted / "result.json").stat().st_mtime_ns
  done = processes.run(
    *LONG, f"--workdir={uninterrupted}", python=("-X", "importtime"), TFDS_DATA_DIR=str(digits_dir)
  )
  assert done.returncode == 0 and "is finished" in done.stdout
  assert not re.search(r"\| +jax$", done.stderr, re.MULTILINE)
  assert (uninterrupted / "result.json").stat().st_mtime_ns == before


def test_another_config_is_refused_with_the_difference(uninterrupted):
  done = processes.run(*LONG, f"--workdir={uninterrupted}", "--config.seed=7")
  assert done.returncode == 2
  assert done.stderr.count("\n") == 1 and "config.seed: 0 -> 7" in done.stderr


def test_a_workdir_in_use_is_refused(digits_dir, tmp_path):
  workdir = tmp_path / "run"
  process = processes.start(
    *LONG, f"--workdir={workdir}", output=tmp_path / "output", TFDS_DATA_DIR=str(digits_dir)
  )
  try:
    wait_for_rows(process, workdir, 1)
    second = processes.run(*LONG, f"--workdir={workdir}", TFDS_DATA_DIR=str(digits_dir))
  finally:
    process.kill()
    process.wait()
  assert second.returncode == 1
  assert second.stderr == (
    f"error: the workdir {workdir} is in use by another run; wait for it, or give another "
    "--workdir\n"
  )


def test_help_and_a_run_on_prepared_data_import_no_tensorflow(digits_dir, tmp_path):
  for arguments in (["--help"], [*SHORT, f"--workdir={tmp_path / 'run'}"]):
    done = processes.run(*arguments, python=("-X", "importtime"), TFDS_DATA_DIR=str(digits_dir))
    imported = set(re.findall(r"^import time:.*\| +(\S+)$", done.stderr, re.MULTILINE))
    assert "absl.flags" in imported and "tensorflow" not in imported
    if arguments == ["--help"]:
      assert "jax" not in imported and "--workdir" in done.stdout
  assert (tmp_path / "run" / "result.json").exists()


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
  assert re.search(r"epoch +4/12 +step 56/168 \| train loss .* \| validation loss", text)


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
def test_a_resumed_run_never_changes_its_dataset(tmp_path, digits_dir, mnist_dir):
  arguments = (
    "--config=configs/adam.py",
    "--config.num_epochs=40",
    "--config.model.features=(512,512)",
    f"--workdir={tmp_path / 'run'}",
  )
  offline = {"TFDS_DATA_DIR": str(digits_dir), "https_proxy": "http://127.0.0.1:9"}
  process = processes.start(*arguments, output=tmp_path / "output", **offline)
  try:
    wait_for_rows(process, tmp_path / "run", 2)
  finally:
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
  # Now MNIST is to be had, but the run was started on digits.
  (tmp_path / "data").mkdir()
  for folder in (digits_dir, mnist_dir):
    for path in folder.iterdir():
      target = tmp_path / "data" / path.name
      if not target.exists():
        target.symlink_to(path)
  again = processes.run(*arguments, TFDS_DATA_DIR=str(tmp_path / "data"))
  assert again.returncode == 0, again.stderr
  assert read_result(tmp_path / "run")["dataset"]["name"] == "digits"


def test_tensorboard_shows_a_run(uninterrupted):
  tags = {
    "scalars": {
      "train/loss",
      "train/accuracy",
      "validation/loss",
      "validation/accuracy",
      "test/accuracy",
      "test/loss",
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
  assert f"tensorboard --logdir=runs/{folder.name}" in done.stdout
  assert f"--workdir=runs/{folder.name}" in done.stdout
  assert Path(folder, "result.json").exists()
