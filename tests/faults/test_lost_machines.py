"""Two machines that train one run, of which one is lost: real namespaces, cables and SIGKILLs."""

import os
import shutil
import signal
import time

import pytest
from chances import rounds
from lost_runs import is_one_sentence, same
from together import HERE, Together, cut, two_machines
from training_runs import LONG as A_LONG_RUN
from training_runs import wait_for_rows

WAIT = 20  # seconds for which processes wait for each other
LONG = (*A_LONG_RUN, "--config.num_epochs=20", f"--wait_seconds={WAIT}")
KILLS = 5  # of each round
AT_MOST = 30  # seconds until the other process ends
# What is said of a process that was killed while it started.
NEVER_CAME = ("did not come within", "nobody listens at", "hung up; is process 0")

pytestmark = pytest.mark.usefixtures("optimized")


def can_make_machines():
  return os.geteuid() == 0 and shutil.which("ip") and shutil.which("unshare")


@pytest.fixture(scope="module")
def machines():
  """Two machines; where this user cannot make any, this one twice."""
  if not can_make_machines():
    yield [HERE, HERE]
    return
  with two_machines() as made:
    yield made


@pytest.fixture(scope="module")
def undisturbed(machines, digits_dir, tmp_path_factory):
  """The workdir, not to be written to, of LONG on both, and the seconds that training took."""
  folder, variables = tmp_path_factory.mktemp("by_two"), {"TFDS_DATA_DIR": str(digits_dir)}
  team = Together(LONG, folder / "run", folder / "o", machines=machines, variables=variables)
  assert team.codes() == [0, 0], team.said()
  begun, ended = (folder / "run" / name for name in ("dataset.json", "result.json"))
  return folder / "run", ended.stat().st_mtime - begun.stat().st_mtime


def wait_for(path, team):
  deadline = time.monotonic() + 200
  while not path.exists():
    assert all(one.poll() is None for one in team.processes), team.said()
    assert time.monotonic() < deadline, team.said()
    time.sleep(0.02)


@rounds(slow=1, all_of_them=20)
def test_a_run_comes_to_the_same_end(
  number, machines, undisturbed, digits_dir, tmp_path, chance, count
):
  finished, seconds = undisturbed
  options = {"machines": machines, "variables": {"TFDS_DATA_DIR": str(digits_dir)}}
  kills, workdir = 0, tmp_path / "0"
  while kills < KILLS:
    team = Together(LONG, workdir, tmp_path / f"o{kills}", **options)
    wait_for(workdir / "dataset.json", team)
    lost, started = chance.randrange(2), time.time()
    time.sleep(chance.uniform(0, seconds + 4))  # A process takes seconds to start.
    if any(one.poll() is not None for one in team.processes):
      assert team.codes() == [0, 0], team.said()
      assert same(workdir, finished)
      # The machine may have been busier when the undisturbed run was timed.
      took = (workdir / "result.json").stat().st_mtime - started
      seconds = min(seconds, max(1, took))
      workdir = tmp_path / str(kills)  # It came to its end before; the next one begins anew.
      shutil.rmtree(workdir, ignore_errors=True)
      continue
    team.processes[lost].send_signal(signal.SIGKILL)
    begun, kills = time.monotonic(), kills + 1
    codes = team.codes()
    took, said = time.monotonic() - begun, team.said()[1 - lost]
    never_came = any(text in said for text in NEVER_CAME)
    assert took < AT_MOST + (WAIT if never_came else 0), said
    if codes == [0, 0] or codes[1 - lost] == 0:  # The other one had come to its end.
      continue
    assert (codes[lost], codes[1 - lost]) == (-signal.SIGKILL, 1), said
    assert never_came or (f"error: process {lost} (pid " in said and "is gone" in said), said
    assert is_one_sentence(said), said
  team = Together(LONG, workdir, tmp_path / "last", **options)
  assert team.codes() == [0, 0], team.said()
  assert same(workdir, finished)
  count("SIGKILLs of one of two processes", kills)


@pytest.mark.slow
@pytest.mark.skipif(not can_make_machines(), reason="needs root, ip and unshare")
def test_a_machine_that_leaves_the_network_is_noticed(digits_dir, tmp_path):
  variables = {"TFDS_DATA_DIR": str(digits_dir)}
  words = (*LONG, "--config.num_epochs=100000")
  with two_machines() as machines:
    team = Together(words, tmp_path / "run", tmp_path / "o", machines=machines, variables=variables)
    wait_for_rows(team.processes[0], tmp_path / "run", 1)
    cut(machines[1])
    begun = time.monotonic()
    assert team.codes() == [1, 1], team.said()
  assert time.monotonic() - begun < AT_MOST
  for i, said in enumerate(team.said()):
    assert is_one_sentence(said) and f"process {1 - i} (pid " in said and "is gone" in said, said
    assert f"on node-{'ba'[i]})" in said
