"""Memory of the devices: how much is left, what cannot fit, and what is said when it is full."""

import contextlib
import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from mnist_mlp.core.spec import DataSpec
from mnist_mlp.errors import RunError, UsageError
from mnist_mlp.run import cgroup

_FLOAT = 4  # bytes
_UNKNOWN = 4 * 2**30  # bytes; of a system that does not say
_SHOWN = 8  # entries of a tuple in a message


def free_bytes() -> int:
  """Returns how much memory all devices have left, in bytes; on a CPU, what the system can give.

  A container may get less than what the system has.
  """
  stats = [device.memory_stats() or {} for device in jax.devices()]
  if all("bytes_limit" in one for one in stats):
    return sum(one["bytes_limit"] - one["bytes_in_use"] for one in stats)
  bounds = [_available(), cgroup.memory_left()]
  return min((bound for bound in bounds if bound is not None), default=_UNKNOWN)


def _available() -> int | None:
  with contextlib.suppress(OSError, StopIteration):
    lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1])
  return None


def least_bytes(config: ConfigDict, spec: DataSpec) -> dict[str, int]:
  """Returns the least memory that training takes, in bytes, by the fields that decide on it.

  That is the weights and their gradient, the history of 'lbfgs', and the units of a batch, which
  the backward pass needs. Nothing is traced: a net that is far too large would take too long.
  """
  weights = num_weights(config, spec)
  history = 2 * config.optimizer.memory_size if config.optimizer.name == "lbfgs" else 0
  return {
    "model.features": _FLOAT * 2 * weights,
    "optimizer.memory_size": _FLOAT * history * weights,
    "batch_size": _FLOAT * config.batch_size * sum(config.model.features),
  }


def num_weights(config: ConfigDict, spec: DataSpec) -> int:
  """Returns how many weights and biases the dense layers have."""
  widths = [math.prod(spec.image_shape), *config.model.features, spec.num_classes]
  return sum((a + 1) * b for a, b in itertools.pairwise(widths))


def check_fits(config: ConfigDict, spec: DataSpec) -> None:
  """Raises a UsageError that names a field if a run cannot fit into the memory of a device."""
  parts, free = least_bytes(config, spec), free_bytes() // jax.device_count()
  if sum(parts.values()) <= free:
    return
  name = max(parts, key=lambda field: parts[field])
  section, _, leaf = name.rpartition(".")
  value = (config[section] if section else config)[leaf]
  raise UsageError(
    f"config.{name} is {_shown(value)}: with {num_weights(config, spec):,} weights and batches of "
    f"{config.batch_size:,}, training needs {_gigabytes(sum(parts.values()))} of memory at least, "
    f"but {_gigabytes(free)} are free; lower config.{name}"
    + (" or config.data.image_size" if config.data.files else "")
  )


def _shown(value: Any) -> str:
  if isinstance(value, tuple) and len(value) > _SHOWN:
    return f"{len(value)} layers, the widest of {max(value):,} units"
  return repr(value)


def _gigabytes(number: int) -> str:
  return f"{number / 1e9:.3g} GB" if number < 1e12 else f"{number // 10**9:,} GB"


def fetch(tree: Any) -> Any:
  """Returns the arrays of a tree on the host, once they are computed.

  If a computation failed, for lack of memory say, the error arrives here. `jax.device_get` alone
  may wait for ever then, and hears no signal.
  """
  return jax.device_get(jax.block_until_ready(tree))


@contextlib.contextmanager
def exhaustion(advice: str) -> Iterator[None]:
  """Turns the error of a full memory into a RunError that says what to do.

  Args:
    advice: names what to lower.
  """
  try:
    yield
  except (RuntimeError, MemoryError) as error:  # JAX's own is a RuntimeError.
    if isinstance(error, RuntimeError) and not _is_full(str(error)):
      raise
    reason = str(error).strip().partition("\n")[0].rstrip(".")
    raise RunError(f"the memory is full ({reason}); {advice}") from error


def _is_full(message: str) -> bool:
  signs = ("resource_exhausted", "out of memory", "can't start new thread")
  return any(sign in message.lower() for sign in signs)
