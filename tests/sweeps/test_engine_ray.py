"""The engine 'ray', on real clusters of this machine."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import processes
import pytest
import sweeping

from mnist_mlp.sweeps import leaderboard

SWEEP = """
def sweep():
  return sweeps.grid({"optimizer.learning_rate": [0.001, 0.01], "seed": [0, 1]})
"""


def test_without_ray_it_says_how_to_install_it(tmp_path):
  path = sweeping.sweep_file(tmp_path, SWEEP)
  # As it is where Ray is not installed: the name cannot be found.
  code = (
    "import sys, runpy; sys.modules['ray'] = None; "
    "runpy.run_module('mnist_mlp.sweep', run_name='__main__')"
  )
  done = processes.python(
    code, f"--config={path}", "--engine=ray", f"--workdir={tmp_path / 'w'}", timeout=60
  )
  assert done.returncode == 2, done.stderr
  assert done.stderr == (
    "error: --engine=ray needs Ray, which is not installed: pip install 'mnist_mlp[ray]'\n"
  )


def test_an_address_where_nobody_answers_is_one_sentence(tmp_path, digits_dir):
  pytest.importorskip("ray")
  path = sweeping.sweep_file(tmp_path, SWEEP)
  done = sweeping.run(path, tmp_path / "w", digits_dir, "--engine=ray", "--ray_address=127.0.0.1:1")
  assert done.returncode == 1, done.stderr
  assert done.stderr.startswith("error: cannot reach a Ray cluster at --ray_address=127.0.0.1:1: ")
  assert len(done.stderr.splitlines()) == 1


def marked(mark):
  """Returns the ids of the processes that inherited the environment variable RAY_TEST=mark."""
  found = []
  for path in Path("/proc").glob("[0-9]*"):
    try:
      if f"RAY_TEST={mark}".encode() in (path / "environ").read_bytes().split(b"\0"):
        found.append(int(path.name))
    except OSError:
      continue
  return found


@pytest.fixture
def mark(tmp_path):
  """Marks the processes that a test starts; none of them may be left, whatever happens."""
  yield str(tmp_path)
  deadline = time.monotonic() + 20
  while (left := marked(tmp_path)) and time.monotonic() < deadline:
    time.sleep(0.2)
  for pid in left:
    os.kill(pid, signal.SIGKILL)
  assert not left, "processes were left running"


# A cluster of two nodes, in a process of its own, so that all its children can be told by their
# environment. It prints its address; a line on its standard input kills the second node.
CLUSTER = """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster(
    initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
node = cluster.add_node(num_cpus=1)
cluster.wait_for_nodes()
print("address", cluster.address, flush=True)
sys.stdin.readline()
cluster.remove_node(node, allow_graceful=False)
print("killed", flush=True)
sys.stdin.readline()
cluster.shutdown()
"""


def populations_saved(folder):
  """Returns how many populations have a checkpoint."""
  paths = (folder / "populations").glob("*")
  return sum(bool(list(path.glob("checkpoints/[0-9]*"))) for path in paths)


@pytest.mark.slow
def test_a_sweep_survives_the_loss_of_a_node(tmp_path, digits_dir, mark):
  pytest.importorskip("ray")
  path = sweeping.sweep_file(tmp_path, SWEEP, base="c.num_epochs = 80.0")
  environment = processes.environment(RAY_TEST=mark)
  cluster = subprocess.Popen(
    [sys.executable, "-c", CLUSTER],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    stderr=subprocess.DEVNULL,
    text=True,
    env=environment,
  )
  try:
    address = next(line for line in cluster.stdout if line.startswith("address")).split()[1]
    arguments = (
      "--engine=ray",
      f"--ray_address={address}",
      "--max_members=2",
      "--save_every_seconds=0",
    )
    own = tmp_path / "w"
    with sweeping.running(path, own, digits_dir, *arguments, variables={"RAY_TEST": mark}) as (
      sweep,
      output,
    ):
      processes.wait_for(lambda: populations_saved(own) == 2, sweep, output)
      print("kill", file=cluster.stdin, flush=True)
      assert "killed" in cluster.stdout.readline()
      assert not list(own.glob("members/*/result.json")), "the node was killed too late"
      assert sweep.wait(600) == 0, output.read_text()
  finally:
    cluster.communicate("end\n", timeout=60)
  sweeping.train(sweeping.load(path, digits_dir), tmp_path / "local", max_members=2)
  expected, own = sweeping.rows_of(tmp_path / "local"), sweeping.rows_of(own)
  assert set(own) == set(expected)
  for name, row in own.items():
    assert row["status"] == "finished"
    for measure in leaderboard.MEASURES:
      assert row[measure] == pytest.approx(expected[name][measure], rel=0.05, abs=0.01)


# Runs code on a cluster, as anybody may try who reaches its port.
INTRUDER = """
import sys
import ray
ray.init(address=sys.argv[1], logging_level="ERROR")
print(ray.get(ray.remote(num_cpus=0)(lambda: 6 * 7).remote()))
"""


def listening(pids):
  """Returns the addresses, [(ip in hexadecimal, port), ...], on which some processes listen."""
  sockets = set()
  for pid in pids:
    for path in Path(f"/proc/{pid}/fd").glob("*"):
      with contextlib.suppress(OSError):
        sockets.add(os.readlink(path))
  lines = [line for name in ("tcp", "tcp6") for line in _lines(Path("/proc/net") / name)]
  own = [line for line in lines if line[3] == "0A" and f"socket:[{line[9]}]" in sockets]
  return [(line[1].partition(":")[0], int(line[1].partition(":")[2], 16)) for line in own]


def _lines(path):
  return [line.split() for line in path.read_text().splitlines()[1:]] if path.exists() else []


def intrude(port, token, home):
  """Returns what running code on the cluster gives, None if it is refused."""
  try:
    done = processes.python(
      INTRUDER,
      f"127.0.0.1:{port}",
      timeout=40,
      RAY_AUTH_MODE="token" if token else "disabled",
      RAY_AUTH_TOKEN=token,
      RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",
      HOME=str(home),
    )
  except subprocess.TimeoutExpired:
    return None
  return int(done.stdout) if done.returncode == 0 else None


@pytest.mark.slow
def test_nobody_else_can_use_a_cluster_of_its_own(tmp_path, digits_dir, mark):
  """All ports are on the loopback, and none obeys without the token, which is new each time."""
  pytest.importorskip("ray")
  path = sweeping.sweep_file(tmp_path, SWEEP, base="c.num_epochs = 1e6")
  own, variables = tmp_path / "w", {"RAY_TEST": mark, "RAY_AUTH_MODE": "disabled"}
  arguments = ("--engine=ray", "--save_every_seconds=0")
  with sweeping.running(path, own, digits_dir, *arguments, variables=variables) as (sweep, output):
    processes.wait_for(lambda: populations_saved(own), sweep, output)
    pids = marked(mark)
    addresses = listening(pids)
    assert len(addresses) >= 4
    assert {ip for ip, _ in addresses} <= {"0100007F", "0000000000000000FFFF00000100007F"}
    (gcs,) = [pid for pid in pids if b"gcs_server" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    variables = Path(f"/proc/{gcs}/environ").read_bytes().decode().split("\0")
    (token,) = [each.partition("=")[2] for each in variables if each.startswith("RAY_AUTH_TOKEN=")]
    assert len(token) == 64
    ports = [port for _, port in listening([gcs])]
    assert 42 in [intrude(port, token, tmp_path) for port in ports], "the test itself is wrong"
    for wrong in ("", "0" * 64):
      assert [intrude(port, wrong, tmp_path) for port in ports] == [None] * len(ports)
    assert not (tmp_path / ".ray").exists()
    sweep.send_signal(signal.SIGTERM)
    assert sweep.wait(60) == 143, output.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_ends_the_trials_and_the_cluster(tmp_path, digits_dir, mark, number):
  pytest.importorskip("ray")
  path = sweeping.sweep_file(tmp_path, SWEEP, base="c.num_epochs = 1e6")
  own, variables = tmp_path / "w", {"RAY_TEST": mark}
  arguments = ("--engine=ray", "--save_every_seconds=0")
  with sweeping.running(path, own, digits_dir, *arguments, variables=variables) as (sweep, output):
    processes.wait_for(lambda: populations_saved(own), sweep, output)
    sweep.send_signal(number)
    assert sweep.wait(60) == 128 + number, output.read_text()
  assert f"interrupted by {number.name}; the sweep is saved" in output.read_text()
  assert "Traceback" not in output.read_text()


@pytest.mark.slow
def test_asha_stops_runs_early_on_a_cluster_of_its_own(tmp_path, digits_dir, mark):
  pytest.importorskip("ray")
  path = sweeping.sweep_file(
    tmp_path,
    """
def sweep():
  return sweeps.grid({
      "optimizer.learning_rate": [0.01, 0.003, 1e-4, 1e-5, 1e-6, 1e-7], "seed": [0, 1]})
""",
    base="c.num_epochs = 8.0",
  )
  done = sweeping.run(
    path, tmp_path / "w", digits_dir, "--engine=ray", "--halving=2", timeout=600, RAY_TEST=mark
  )
  assert done.returncode == 0, done.stderr
  rows = sweeping.content(tmp_path / "w")[1]["runs"]
  statuses = [row["status"] for row in rows]
  assert statuses.count("finished") + statuses.count("stopped early") == 12
  assert "stopped early" in statuses
  assert rows[0]["optimizer.learning_rate"] in (0.01, 0.003)
  assert rows[0]["status"] == "finished"
  assert all(row["epoch"] < 8 for row in rows if row["status"] == "stopped early")
  ends = {(row["setting"], row["status"], row["epoch"]) for row in rows}
  assert len(ends) == 6, "the seeds of a setting did not end together"


@pytest.mark.slow
def test_asha_stops_no_run_that_is_at_its_end(tmp_path, digits_dir, mark):
  pytest.importorskip("ray")
  path = sweeping.sweep_file(
    tmp_path,
    """
def sweep():
  return sweeps.grid({"optimizer.learning_rate": [0.01, 1e-4, 1e-6]})
""",
    base="c.num_epochs = 1.0",
  )
  done = sweeping.run(
    path, tmp_path / "w", digits_dir, "--engine=ray", "--halving=2", timeout=600, RAY_TEST=mark
  )
  assert done.returncode == 0, done.stderr
  rows = sweeping.content(tmp_path / "w")[1]["runs"]
  assert [row["status"] for row in rows] == ["finished"] * 3
