"""The engine 'processes', from the command: its table, and how it ends."""

import os
import signal
import time
from pathlib import Path

import processes
import pytest
import sweeping

from mnist_mlp.sweeps import leaderboard
from mnist_mlp.sweeps.engine_processes import num_processes
from mnist_mlp.sweeps.plan import Options

ENGINE = "--engine=processes"


def test_there_are_as_many_processes_as_cores_unless_the_options_say_so():
  assert num_processes(Options(processes=3)) == 3
  assert 1 <= num_processes(Options()) <= len(os.sched_getaffinity(0))


@pytest.mark.slow
def test_single_threaded_processes_give_the_same_table(swept, tmp_path, digits_dir):
  done = sweeping.run(
    swept.path,
    tmp_path,
    digits_dir,
    ENGINE,
    "--processes=2",
    JAX_COMPILATION_CACHE_DIR="",
    XDG_CACHE_HOME=str(tmp_path / "cache"),
  )
  assert done.returncode == 0, done.stderr
  own, expected = sweeping.rows_of(tmp_path), {row["name"]: row for row in swept.rows}
  assert {name: row["status"] for name, row in own.items()} == {
    name: row["status"] for name, row in expected.items()
  }
  for name, row in own.items():
    if row["status"] == "finished":
      for measure in leaderboard.MEASURES:
        assert row[measure] == pytest.approx(expected[name][measure], rel=2e-2)
  kept = (tmp_path / "cache" / "mnist_mlp").glob("xla-*/jit_scan_steps*-cache")
  assert list(kept), "the processes compile for themselves alone"


@pytest.mark.slow
def test_a_second_start_in_processes_is_refused(sweep_path, tmp_path, digits_dir):
  own = tmp_path / "w"
  arguments = (
    ENGINE,
    "--points=0:2",
    "--halving=2",
    "--config.num_epochs=100000",
    "--config.eval_every_epochs=100",
  )
  with sweeping.running(sweep_path, own, digits_dir, *arguments) as (process, output):
    processes.wait_for(lambda: output.read_text().count("step 2400/") == 2, process, output)
    second = sweeping.run(sweep_path, own, digits_dir, *arguments)
    assert process.poll() is None
  assert second.returncode == 1
  assert "is in use by another process" in second.stderr and "Traceback" not in second.stderr
  assert "runs go on" not in second.stdout
  assert not list(own.glob("members/*/stopped.json"))


@pytest.mark.slow
def test_ctrl_c_in_a_terminal_saves_what_the_processes_did(sweep_path, tmp_path, digits_dir):
  """There, all processes get the signal, and the parent passes its own on besides."""
  own = tmp_path / "w"
  arguments = (
    ENGINE,
    "--points=0:2",
    "--config.num_epochs=100000",
    "--config.eval_every_epochs=2000",
  )
  with sweeping.running(sweep_path, own, digits_dir, *arguments, start_new_session=True) as (
    process,
    output,
  ):
    processes.wait_for(lambda: output.read_text().count("step 48000/") == 2, process, output)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) == 130
  assert is_said_once(output.read_text())
  assert len(list(own.glob("populations/*/checkpoints/[0-9]*"))) >= 2


def workers_of(process):
  children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
  found = [int(pid) for pid in children if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()]
  assert len(found) == 2
  return found


def is_said_once(text):
  return text.count("interrupted") == 1 and "Traceback" not in text


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.2, 1.0, 2.0, 3.0])
def test_ctrl_c_while_processes_start_is_said_once(seconds, sweep_path, tmp_path, digits_dir):
  """They import for some seconds, and there every interrupt is a traceback."""
  arguments = (ENGINE, "--processes=2", "--points=0:2", "--config.num_epochs=100000")
  with sweeping.running(sweep_path, tmp_path, digits_dir, *arguments, start_new_session=True) as (
    process,
    output,
  ):
    processes.wait_for(lambda: "in 2 processes" in output.read_text(), process, output)
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) == 130
  assert is_said_once(output.read_text())


@pytest.mark.slow
def test_a_second_ctrl_c_ends_the_processes_at_once(sweep_path, tmp_path, digits_dir):
  arguments = (ENGINE, "--processes=2", "--points=0:2", "--config.num_epochs=100000")
  with sweeping.running(sweep_path, tmp_path, digits_dir, *arguments, start_new_session=True) as (
    process,
    output,
  ):
    processes.wait_for(lambda: "step" in output.read_text(), process, output)
    workers = workers_of(process)
    for worker in workers:
      os.kill(worker, signal.SIGSTOP)  # So the first Ctrl-C does not end them.
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(2)
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(20) == 130
  assert is_said_once(output.read_text())
  assert not any(map(_alive, workers))


@pytest.mark.slow
def test_processes_end_with_their_parent(sweep_path, tmp_path, digits_dir):
  own = tmp_path / "w"
  arguments = (ENGINE, "--processes=2", "--config.num_epochs=10000", "--save_every_seconds=0")
  saved = own / "populations"
  with sweeping.running(sweep_path, own, digits_dir, *arguments) as (process, output):
    processes.wait_for(lambda: len(list(saved.glob("*/checkpoints/[0-9]*"))) >= 2, process, output)
    workers = workers_of(process)
  deadline = time.monotonic() + 10
  while any(_alive(pid) for pid in workers) and time.monotonic() < deadline:
    time.sleep(0.1)
  assert not any(_alive(pid) for pid in workers)


def _alive(pid):
  try:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
  except FileNotFoundError:
    return False
