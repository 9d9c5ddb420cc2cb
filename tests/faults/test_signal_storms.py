"""Runs that get signal upon signal, at any moment: while they are imported, train, save and end."""

import re
import signal
import subprocess
import time

import killing
import processes
import pytest
from chances import rounds
from lost_runs import same
from training_runs import LONG

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
STORMS = 3  # of each round
MOST = 6  # signals of a storm
IMPORTS = 4.0  # seconds, about, before a run begins to write

pytestmark = pytest.mark.usefixtures("optimized")


def storm(process, moments, chance):
  """Sends a signal at each moment, in seconds from now; returns those that were sent."""
  sent, begun = [], time.monotonic()
  for moment in sorted(moments):
    try:
      process.wait(max(0.0, begun + moment - time.monotonic()))
      break
    except subprocess.TimeoutExpired:
      sent.append(chance.choice(SIGNALS))
      process.send_signal(sent[-1])
  return sent


def code_of(process, output):
  """Returns the exit code of a process; of one that hangs, an error shows where."""
  try:
    return process.wait(600)
  except subprocess.TimeoutExpired:
    process.send_signal(signal.SIGABRT)  # faulthandler shows what each thread does.
    process.wait(60)
    pytest.fail(f"it hangs:\n{output.read_text()}")


def check(code, sent, said):
  """Asserts that a process ended as one of its signals asks for, and said no more than a line."""
  # Before a run has begun, and if it is told twice, signals have their usual effect. Of SIGINT, it
  # is a line and 130 as well.
  usual = {-number for number in sent if number != signal.SIGINT}
  allowed = {0, *(128 + number for number in sent), *usual}
  assert code in allowed, f"{code} after {sent}:\n{said}"
  assert "Traceback" not in said and "Fatal" not in said, said
  spoken = re.findall(r"^(?:error: )?interrupted.*", said, re.MULTILINE)
  assert len(spoken) <= 1, said


@rounds(slow=2, all_of_them=20)
def test_a_run_comes_to_the_same_end(number, uninterrupted, digits_dir, tmp_path, chance, count):
  variables, workdir = {"TFDS_DATA_DIR": str(digits_dir)}, tmp_path / "run"
  output, words = tmp_path / "output", (*LONG, f"--workdir={tmp_path / 'run'}")
  begun, ended = (uninterrupted / name for name in ("environment.json", "result.json"))
  whole = IMPORTS + ended.stat().st_mtime - begun.stat().st_mtime
  for _ in range(STORMS):
    process = killing.started(words, output, variables=variables)
    first = chance.uniform(0, whole)
    spread = chance.choice([0.01, 0.3, 3.0])  # Those within a second count as one.
    moments = [first, *(first + chance.uniform(0, spread) for _ in range(chance.randrange(MOST)))]
    try:
      sent = storm(process, moments, chance)
      check(code_of(process, output), sent, output.read_text())
    finally:
      process.kill()
      process.wait()
    count("signals", len(sent))
  done = processes.run(*words, timeout=900, **variables)
  assert done.returncode == 0, done.stderr
  assert same(workdir, uninterrupted)
