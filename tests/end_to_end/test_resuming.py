"""Runs that are stopped, killed, resumed or started twice: real processes, real signals."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import threading

import processes
import pytest
from tensorboard.backend.event_processing import event_accumulator
from training_runs import LONG, last_digest, read_result, wait_for_rows

pytestmark = pytest.mark.usefixtures("optimized")


# The run that is compared with has its data on the device.
ON_HOST = ("--config.data.placement=host",)


@pytest.mark.parametrize(
  ("number", "code", "options"),
  [
    pytest.param(signal.SIGKILL, -signal.SIGKILL, (), marks=pytest.mark.slow),
    pytest.param(signal.SIGTERM, 143, (), marks=pytest.mark.slow),
    pytest.param(signal.SIGTERM, 143, ON_HOST, marks=pytest.mark.slow),
    pytest.param(signal.SIGKILL, -signal.SIGKILL, ON_HOST, marks=pytest.mark.slow),
    pytest.param(signal.SIGINT, 130, (), marks=pytest.mark.slow),
    pytest.param(signal.SIGHUP, 129, (), marks=pytest.mark.hundredfold),
    pytest.param(signal.SIGUSR1, 138, (), marks=pytest.mark.slow),
    pytest.param(signal.SIGUSR2, 140, (), marks=pytest.mark.hundredfold),
  ],
)
def test_interrupted_and_resumed_equals_uninterrupted(
  number, code, options, uninterrupted, digits_dir, tmp_path
):
  workdir, output = tmp_path / "run", tmp_path / "output"
  variables = {"TFDS_DATA_DIR": str(digits_dir)}
  process = processes.start(
    *LONG, *options, f"--workdir={workdir}", output=output, variables=variables
  )
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
    step = int(re.search(r"after step (\d+) of 560", said)[1])
    assert 0 < step < 560
    assert last_digest(workdir)[0] == str(step), "the state at the signal is not what was saved"
    assert f"resume with: python -m mnist_mlp.main {LONG[0]}" in said
  again = processes.run(*LONG, *options, f"--workdir={workdir}", **variables)
  assert again.returncode == 0, again.stderr
  assert re.search(r"resuming at step [1-9]\d* of 560", again.stdout)
  assert last_digest(workdir) == last_digest(uninterrupted)
  assert (workdir / "metrics.jsonl").read_bytes() == (uninterrupted / "metrics.jsonl").read_bytes()
  assert read_result(workdir)["test"] == read_result(uninterrupted)["test"]


@pytest.mark.slow
def test_a_run_whose_terminal_goes_away_saves_its_state(digits_dir, tmp_path):
  """The terminal takes its output no longer, and the system sends SIGHUP."""
  ours, terminal = os.openpty()
  process = subprocess.Popen(
    ["setsid", "--ctty", "--wait", *processes.command(*LONG, f"--workdir={tmp_path / 'run'}")],
    cwd=processes.ROOT,
    env=processes.environment(TFDS_DATA_DIR=str(digits_dir), **processes.OPTIMIZED),
    **dict.fromkeys(("stdin", "stdout", "stderr"), terminal),
  )
  os.close(terminal)
  try:
    reader = threading.Thread(target=drain, args=(ours,), daemon=True)
    reader.start()
    wait_for_rows(process, tmp_path / "run", 3)
    os.close(ours)
    assert process.wait(60) == 129
  finally:
    process.kill()
    process.wait()
  step = int(last_digest(tmp_path / "run")[0])
  rows = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
  assert 0 < step < 560 and len(rows) == step // 56
  assert not (tmp_path / "run" / "result.json").exists()


def drain(terminal):
  """Reads what a terminal shows, so that it never waits."""
  with contextlib.suppress(OSError):
    while os.read(terminal, 10_000):
      pass


@pytest.mark.slow
def test_a_resumed_run_shows_every_evaluation_in_tensorboard(uninterrupted, digits_dir, tmp_path):
  workdir = tmp_path / "run"
  shutil.copytree(uninterrupted, workdir)
  (workdir / "result.json").unlink()  # as if it had been killed when all was trained and saved
  again = processes.run(*LONG, f"--workdir={workdir}", TFDS_DATA_DIR=str(digits_dir))
  assert again.returncode == 0, again.stderr
  assert "resuming at step 560 of 560" in again.stdout
  events = event_accumulator.EventAccumulator(str(workdir)).Reload()  # as TensorBoard reads them
  steps = [event.step for event in events.Scalars("validation/accuracy")]
  assert steps == list(range(56, 561, 56))
  result = read_result(workdir)
  assert result["seconds"] is result["examples_per_second"] is None
  assert read_result(uninterrupted)["seconds"] > 0


@pytest.mark.slow
def test_a_finished_run_says_so_without_starting_jax(uninterrupted, digits_dir):
  before = (uninterrupted / "result.json").stat().st_mtime_ns
  done = processes.run(
    *LONG, f"--workdir={uninterrupted}", python=("-X", "importtime"), TFDS_DATA_DIR=str(digits_dir)
  )
  assert done.returncode == 0 and "is finished" in done.stdout
  assert not re.search(r"\| +jax$", done.stderr, re.MULTILINE)
  assert (uninterrupted / "result.json").stat().st_mtime_ns == before


@pytest.mark.slow
def test_another_config_is_refused_with_the_difference(uninterrupted):
  done = processes.run(*LONG, f"--workdir={uninterrupted}", "--config.seed=7")
  assert done.returncode == 2
  assert done.stderr.count("\n") == 1 and "config.seed: 0 -> 7" in done.stderr


@pytest.mark.slow
def test_a_workdir_in_use_is_refused(digits_dir, tmp_path):
  workdir = tmp_path / "run"
  process = processes.start(
    *LONG,
    f"--workdir={workdir}",
    output=tmp_path / "output",
    variables={"TFDS_DATA_DIR": str(digits_dir)},
  )
  try:
    wait_for_rows(process, workdir, 1)
    second = processes.run(*LONG, f"--workdir={workdir}", TFDS_DATA_DIR=str(digits_dir))
  finally:
    process.kill()
    process.wait()
  assert second.returncode == 1
  assert second.stderr == (
    f"error: the workdir {workdir} is in use by another process; wait for it, or give another "
    "--workdir\n"
  )


@pytest.mark.slow
def test_a_resumed_run_never_changes_its_dataset(tmp_path, digits_dir, mnist_dir):
  arguments = (
    "--config=configs/adam.py",
    "--config.num_epochs=40",
    "--config.model.features=(512,512)",
    f"--workdir={tmp_path / 'run'}",
  )
  offline = {"TFDS_DATA_DIR": str(digits_dir), "https_proxy": "http://127.0.0.1:9"}
  process = processes.start(*arguments, output=tmp_path / "output", variables=offline)
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
