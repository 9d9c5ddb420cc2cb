"""The process around a run: stop signals, the compilation cache, versions and devices."""

import atexit
import contextlib
import functools
import hashlib
import importlib.metadata
import math
import os
import platform
import resource
import signal
import sys
import threading
import time
import tomllib
from pathlib import Path
from typing import Any

import jax

from mnist_mlp import cgroup
from mnist_mlp.errors import Interrupted, UsageError
from mnist_mlp.paths import expand
from mnist_mlp.run import compilation

_PACKAGES = (
  "mnist_mlp",
  "jax",
  "jaxlib",
  "flax",
  "optax",
  "orbax-checkpoint",
  "clu",
  "ml-collections",
  "tensorflow-datasets",
  "numpy",
)
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
# What JAX must be set to. Else programs would end in errors deep inside, or the same config would
# give other results: all random numbers follow from (config.seed, step).
_NEEDED = {
  "jax_enable_x64": False,
  "jax_disable_jit": False,
  "jax_numpy_dtype_promotion": "standard",
  "jax_default_prng_impl": "threefry2x32",
  "jax_threefry_partitionable": True,
  "jax_random_seed_offset": 0,
}
_TOGETHER = 1.0  # seconds within which signals count as one


class StopSignals:
  """Notes the signals that stop a run, on which the training loop acts between two chunks.

  A user sends SIGINT, a terminal that goes away SIGHUP, schedulers SIGTERM, SIGUSR1 or SIGUSR2.
  SIGHUP stays ignored where it was, as nohup wants it.

  Use as a context manager. A second signal has its usual effect at once, unless it comes within a
  second of the first: a terminal and SLURM signal every process of a job, and a parent passes its
  own signal on. Python allows handlers only in the main thread; elsewhere nothing is noted.
  """

  def __init__(self) -> None:
    """Nothing received yet."""
    self.received: signal.Signals | None = None
    self._handled_at = math.inf  # when this process itself received one
    self._previous: dict[signal.Signals, Any] = {}

  def __enter__(self) -> "StopSignals":
    """Installs the handlers."""
    if threading.current_thread() is threading.main_thread():
      for number in STOPPING:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
          self._previous[number] = signal.signal(number, self._handle)
    return self

  def __exit__(self, *_: Any) -> None:
    """Restores the handlers that were there before."""
    self._restore()

  def note(self, number: int | None) -> None:
    """Notes a signal, perhaps of another process, if `number` is one and none came before."""
    if number and self.received is None:
      self.received = signal.Signals(number)

  def interrupted(self, where: str) -> Interrupted:
    """Returns the error that ends what was interrupted: 'interrupted by SIGTERM<where>'."""
    assert self.received is not None, "nothing was received"
    return Interrupted(f"interrupted by {self.received.name}{where}", self.received)

  def _handle(self, number: int, _: Any) -> None:
    now = time.monotonic()
    if self._handled_at == math.inf:
      self.note(number)
      self._handled_at = now
    elif now - self._handled_at > _TOGETHER:
      self._restore()
      signal.raise_signal(number)

  def _restore(self) -> None:
    for number, handler in self._previous.items():
      signal.signal(number, handler)


def use_compilation_cache(quiet: bool = False) -> None:
  """Keeps what XLA compiles for later processes, unless the user chose a folder for it already.

  If anything is wrong with the cache, JAX compiles anew. Each kind of processor has a
  folder of its own, since machines may share a home folder.

  Args:
    quiet: says no line when a compilation takes long.

  Raises:
    UsageError: the environment asks JAX for what cannot be; see `check_jax`.
  """
  check_jax()
  if not quiet:
    compilation.say_when_long()
  if jax.config.values["jax_compilation_cache_dir"]:
    return
  try:
    home = expand(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
  except UsageError:  # There is no home folder: each process compiles for itself.
    return
  kind = hashlib.sha256(_cpuinfo("flags").encode()).hexdigest()[:12]
  folder = home / "mnist_mlp" / f"xla-{kind}"
  compilation.remove_damaged(folder)
  atexit.register(compilation.note_new, folder)
  jax.config.update("jax_compilation_cache_dir", str(folder))
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def check_jax() -> None:
  """Checks what variables of the environment, or the caller, ask of JAX.

  Raises:
    UsageError: another precision, or no compilation, than the program is made for; or a device that
      is not there.
  """
  for name, needed in _NEEDED.items():
    if getattr(jax.config, name) != needed:
      raise UsageError(f"{name.upper()} must be {needed!r} for this program; unset the variable")
  platforms = jax.config.jax_platforms  # type: ignore[attr-defined]
  if platforms in (None, "", "cpu"):
    return
  try:
    jax.devices()
  except (RuntimeError, AssertionError) as error:  # The second for a GPU without JAX's part for it.
    reason = (str(error).splitlines() or ["JAX finds none"])[0]
    raise UsageError(
      f"JAX_PLATFORMS is {platforms!r}, but there is no such device to compute on ({reason}); "
      "unset the variable, so that JAX chooses"
    ) from error


def open_files() -> int:
  """Raises the number of files that this process may have open as far as it may; returns it."""
  soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
  with contextlib.suppress(OSError, ValueError):  # On macOS the kernel's own limit is lower.
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft = hard
  return soft if soft != resource.RLIM_INFINITY else sys.maxsize


def free_programs() -> None:
  """Lets go of all that JAX has compiled in this process, which no later run can use.

  JAX itself never does. A run leaves some 20 MB and 300 memory maps. Linux allows a process 65,530
  maps: after some 200 runs it would end with a segmentation fault.
  """
  jax.clear_caches()


def describe() -> dict[str, Any]:
  """Returns the versions and devices, on which the last bits of a result depend."""
  device = jax.devices()[0]
  return {
    "python": platform.python_version(),
    "packages": versions(),
    "platform": platform.platform(),
    "devices": f"{jax.device_count()} x {device.device_kind}",
    "processor": _cpuinfo("model name"),
    "cpu_cores": _visible_cores(),
    "xla_flags": os.environ.get("XLA_FLAGS", ""),
    **_precision(),
    **_processes(),
  }


def _precision() -> dict[str, str]:
  """Returns the precision of matrix products if it was chosen; old runs have no such entry."""
  chosen = jax.config.jax_default_matmul_precision  # type: ignore[attr-defined]
  return {"matmul_precision": str(chosen)} if chosen else {}


def _processes() -> dict[str, int]:
  """Returns how many processes train, if there are several; old runs have no such entry."""
  return {"processes": jax.process_count()} if jax.process_count() > 1 else {}


def cpu_cores() -> int:
  """Returns how many cores' time this process may use; a container may get less than it sees."""
  quota = cgroup.cpu_quota()
  return _visible_cores() if quota is None else max(1, min(_visible_cores(), math.ceil(quota)))


def _visible_cores() -> int:
  """Returns how many cores this process may run on. JAX starts so many threads."""
  if hasattr(os, "sched_getaffinity"):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


@functools.cache
def versions() -> dict[str, str]:
  """Returns the versions of the packages on which results depend, by their names."""
  return {name: _version(name) for name in _PACKAGES}


def _version(package: str) -> str:
  """Returns the version of a package; of this one, that of the checkout if it is not installed."""
  try:
    return importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    project = Path(__file__).parents[2] / "pyproject.toml"
    if package != "mnist_mlp" or not project.is_file():
      return "unknown"
    return tomllib.loads(project.read_text("utf-8"))["project"]["version"]


def _cpuinfo(field: str) -> str:
  """Returns a field of Linux's description of the processor, or what Python knows elsewhere."""
  try:
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
      if line.startswith(field):
        return line.partition(":")[2].strip()
  except OSError:
    pass
  return platform.processor() or platform.machine()


def changes(old: dict[str, Any], new: dict[str, Any]) -> str:
  """Returns 'jax: 0.10.1 -> 0.10.2, ...' for what differs between two descriptions, else ''."""
  a, b = ({**d, **d.get("packages", {}), "packages": None} for d in (old, new))
  return ", ".join(
    f"{name}: {a.get(name)} -> {b.get(name)}"
    for name in dict.fromkeys([*a, *b])
    if a.get(name) != b.get(name)
  )
