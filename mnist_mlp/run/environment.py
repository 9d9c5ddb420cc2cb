"""The process around a run: signals, the record of versions and devices."""

import functools
import hashlib
import importlib.metadata
import os
import platform
import signal
import threading
import time
from pathlib import Path
from typing import Any

import jax

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
_TOGETHER = 1.0  # seconds within which signals count as one


class StopSignals:
  """Notes SIGINT and SIGTERM for the training loop to act on between two chunks.

  Use as a context manager. A second signal has its usual effect at once, unless it comes with the
  first: a terminal and SLURM signal every process of a job, and a parent passes its own on.
  Outside of the main thread, where Python allows no handlers, nothing is noted.
  """

  def __init__(self):
    """Nothing received yet."""
    self.received: signal.Signals | None = None
    self._received_at = 0.0
    self._previous: dict[signal.Signals, Any] = {}

  def __enter__(self) -> "StopSignals":
    """Installs the handlers."""
    if threading.current_thread() is threading.main_thread():
      for number in (signal.SIGINT, signal.SIGTERM):
        self._previous[number] = signal.signal(number, self._handle)
    return self

  def __exit__(self, *_) -> None:
    """Restores the handlers that were there before."""
    self._restore()

  def _handle(self, number: int, _) -> None:
    if self.received is None:
      self.received, self._received_at = signal.Signals(number), time.monotonic()
    elif time.monotonic() - self._received_at > _TOGETHER:
      self._restore()
      signal.raise_signal(number)

  def _restore(self) -> None:
    for number, handler in self._previous.items():
      signal.signal(number, handler)


def use_compilation_cache() -> None:
  """Keeps what XLA compiles for later processes, unless the user chose a folder for that already.

  Whatever goes wrong with such a cache, JAX compiles anew and says so. The folder is one for each
  kind of processor, since home folders are shared between machines.
  """
  if jax.config.jax_compilation_cache_dir:
    return
  home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
  kind = hashlib.sha256(_cpuinfo("flags").encode()).hexdigest()[:12]
  jax.config.update("jax_compilation_cache_dir", str(home / "mnist_mlp" / f"xla-{kind}"))
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def describe() -> dict[str, Any]:
  """Returns what the bits of a result depend on besides config and data: versions and devices."""
  device = jax.devices()[0]
  return {
    "python": platform.python_version(),
    "packages": _versions(),
    "platform": platform.platform(),
    "devices": f"{jax.device_count()} x {device.device_kind}",
    "processor": _cpuinfo("model name"),
    "cpu_cores": len(os.sched_getaffinity(0))
    if hasattr(os, "sched_getaffinity")
    else os.cpu_count(),
    "xla_flags": os.environ.get("XLA_FLAGS", ""),
  }


@functools.cache
def _versions() -> dict[str, str]:
  return {name: importlib.metadata.version(name) for name in _PACKAGES}


def _cpuinfo(field: str) -> str:
  """Returns a field of Linux's description of the processor; elsewhere what Python knows."""
  try:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
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
