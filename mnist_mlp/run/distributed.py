"""One run trained by several processes, perhaps on several machines: how they come together.

Each process runs the same program on the same config. JAX's distributed runtime makes one mesh of
all their devices, and adds up gradients over it. What JAX does not do is in `team`: the processes
agree on what to do next, and learn who is gone.
"""

import atexit
import contextlib
import os
import platform
import re
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import multihost_utils
from ml_collections import ConfigDict

from mnist_mlp.core.sharding import create_mesh, on_every_device, split_over_devices
from mnist_mlp.data.quiet import discarded
from mnist_mlp.errors import Interrupted, RunError, UsageError, UserError
from mnist_mlp.run import environment
from mnist_mlp.run.config_json import from_tree
from mnist_mlp.run.link import LOOPBACK
from mnist_mlp.run.relay import relay
from mnist_mlp.run.team import ALONE, GRACE, LinkedTeam, Team, member_of
from mnist_mlp.run.workdir import Workdir, changes_of_run
from mnist_mlp.waiting import said_if_slow

# Seconds in which a shared file system shows a new file to other machines.
_VISIBLE = 20.0
_TOKEN = "meeting.txt"  # a file in the workdir, for a moment


class Place(NamedTuple):
  """Which process this one is, and where the processes meet."""

  coordinator: str  # 'HOST:PORT' of process 0
  num_processes: int
  process_id: int
  wait_seconds: float  # for all processes to come
  by_scheduler: bool = False  # whether a scheduler started it, which also says which GPU is its own

  def checked(self) -> "Place":
    """Returns itself; raises a UsageError if it cannot be."""
    parse_address(self.coordinator)
    if self.num_processes < 1:
      raise UsageError(f"--num_processes is {self.num_processes}, but must be 1 or more")
    if not 0 <= self.process_id < self.num_processes:
      raise UsageError(
        f"--process_id is {self.process_id}, but must be 0 to {self.num_processes - 1}, since "
        f"--num_processes is {self.num_processes}"
      )
    return self


def parse_address(address: str) -> tuple[str, int]:
  """Returns host and port of 'HOST:PORT'; raises a UsageError if it is none."""
  match = re.fullmatch(r"(\[[^\]]+\]|[^:\s]+):(\d{1,5})", address)
  if not match or not 0 < int(match[2]) < 2**16:
    raise UsageError(f"--coordinator is {address!r}, but must be HOST:PORT, such as node-a:7777")
  return match[1].strip("[]"), int(match[2])


@contextlib.contextmanager
def join(place: Place | None, config: ConfigDict) -> Iterator[Team]:
  """Makes this process one of those that train a config; to be entered before JAX computes.

  Within the context, `train_and_evaluate` trains together with the other processes.

  Args:
    place: which process it is; None: it is alone.
    config: a validated config, the same for all.

  Raises:
    UsageError: this process is refused, or another one has another config or other versions.
    RunError: some did not come, or one has left.
  """
  if place is None or place.num_processes == 1:
    yield ALONE
    return
  address, size = parse_address(place.coordinator), place.num_processes
  waiting = f"waiting for all {size} processes to meet at {place.coordinator}"
  with said_if_slow(print, f"{waiting}, at most {place.wait_seconds:g} s"):
    team = LinkedTeam(address, size, place.process_id, place.wait_seconds)
  try:
    _check_same(team, config)
    _start_jax(team, place)
    with member_of(team):
      yield team
    _finish(team)
  except Interrupted:  # All are, and have saved.
    _finish(team)
    raise
  except BaseException as error:
    if isinstance(error, Exception) and not isinstance(error, UserError):
      time.sleep(GRACE + 1)  # It may come of another's end: then the thread that notices says so.
    team.leave(team.ended_by(error))
    atexit.register(_end, getattr(error, "exit_code", 1))
    raise


def _finish(team: LinkedTeam) -> None:
  """Ends JAX's runtime, then the team, once all processes have called it."""
  team.gather("finish")
  jax.distributed.shutdown()  # All wait for all, so a loss is still noticed.
  team.part()


def _end(code: int) -> None:
  """Ends the process with an exit code. JAX itself would abort it: it waits for the others."""
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(code)


def _check_same(team: LinkedTeam, config: ConfigDict) -> None:
  """Raises a UsageError unless all processes have one config and the same versions."""
  versions = {"python": platform.python_version(), **environment.versions()}
  facts = team.gather({"config": config.to_dict(), "versions": versions})
  first = from_tree(facts[0]["config"])
  for member, fact in zip(team.members, facts, strict=True):
    changes = changes_of_run(first, from_tree(fact["config"]))
    if changes:
      raise UsageError(f"{member} trains another config than process 0 ({changes}); give all one")
    changes = environment.changes(facts[0]["versions"], fact["versions"])
    if changes:
      raise UsageError(f"{member} has other versions than process 0 ({changes}); install the same")


def _start_jax(team: LinkedTeam, place: Place) -> None:
  """Connects JAX's own runtime, on a free port of process 0; the others go there by a relay."""
  host, _ = parse_address(place.coordinator)
  with socket.create_server(("", 0)) as free:
    own = free.getsockname()[1]
  port = team.gather(own)[0]
  if not team.leads:
    host, port = "127.0.0.1", relay((host, port))
  address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
  jax.config.update("jax_enable_preemption_service", False)  # It would take SIGTERM from us.
  jax.distributed.initialize(
    address,
    num_processes=team.size,
    process_id=team.process_id,
    initialization_timeout=max(10, round(place.wait_seconds)),
    cluster_detection_method=None if place.by_scheduler else "deactivate",
    coordinator_bind_address=address if host in LOOPBACK else None,
  )
  with discarded(1):  # Gloo says there that it has connected.
    _connect_devices()


def _connect_devices() -> None:
  """Makes the devices exchange a number, in the groups in which Orbax and the step do."""
  multihost_utils.sync_global_devices("mnist_mlp")
  with jax.set_mesh(create_mesh()):
    ones = jax.jit(lambda: split_over_devices(jnp.ones(jax.device_count())))()
    jax.block_until_ready(jax.jit(lambda values: on_every_device(values.sum()))(ones))


def detected(wait_seconds: float) -> Place:
  """Returns the place that SLURM, Open MPI or Kubernetes gave this process, as JAX finds it.

  Raises:
    UsageError: none of them has started this process.
  """
  # JAX itself asks these, within jax.distributed.initialize, and tells nobody the answers.
  from jax._src.clusters import ClusterEnv

  try:
    address, count, process_id, _ = ClusterEnv.auto_detect_unset_distributed_params(
      None, None, None, None, None, round(wait_seconds)
    )
  except Exception as error:  # Whatever a cluster's variables, or its library, trip over.
    raise UsageError(f"--distributed cannot make out this cluster: {error}") from error
  if address is None or count is None or process_id is None:
    raise UsageError(
      "--distributed finds no job step of SLURM, Open MPI or Kubernetes; start the processes by "
      "srun or mpirun, or give --coordinator, --num_processes and --process_id"
    )
  return Place(address, count, process_id, wait_seconds, by_scheduler=True)


def check_shared(team: Team, folder: Workdir) -> None:
  """Raises a RunError unless all processes see the same folder as their workdir.

  Args:
    team: the processes.
    folder: claimed.
  """
  if team.size == 1:
    return
  token = team.gather(os.urandom(16).hex())[0]
  folder.write_text(_TOKEN, token)
  seen = team.gather(team.leads or _appears(folder.path / _TOKEN, token))
  if team.leads:
    (folder.path / _TOKEN).unlink()
  if not all(seen):
    other = team.members[seen.index(False)]  # type: ignore[attr-defined]
    raise RunError(
      f"the workdir {folder.path} of {other} is not that of process 0; give all processes one "
      "folder that their machines share"
    )


def _appears(path: Path, content: str) -> bool:
  deadline = time.monotonic() + _VISIBLE
  while time.monotonic() < deadline:
    with contextlib.suppress(OSError):
      if path.read_text("utf-8") == content:
        return True
    time.sleep(0.1)
  return False
