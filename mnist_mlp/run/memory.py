"""Memory of the devices: how much is left, what cannot fit, and what is said when it is full."""

import contextlib
import functools
import itertools
import math
from collections.abc import Iterator
from typing import Any

import jax
from ml_collections import ConfigDict

from mnist_mlp import cgroup
from mnist_mlp.core.model import create_model
from mnist_mlp.core.spec import DataSpec
from mnist_mlp.core.state import num_weights
from mnist_mlp.errors import RunError, UsageError, UserError

_FLOAT = 4  # bytes
_UNKNOWN = 4 * 2**30  # bytes; of a system that does not say
_SHOWN = 8  # entries of a tuple in a message


def free_bytes() -> int:
  """Returns how much memory this process's devices have left, in bytes; on a CPU, the system.

  A container may get less than what the system has.
  """
  stats = [device.memory_stats() or {} for device in jax.local_devices()]
  if all("bytes_limit" in one for one in stats):
    return sum(one["bytes_limit"] - one["bytes_in_use"] for one in stats)
  left = cgroup.available()
  return _UNKNOWN if left is None else left


def free_bytes_of_each() -> int:
  """Returns how much memory a device has left, in bytes, if all have the same."""
  return free_bytes() // jax.local_device_count()


def least_bytes(config: ConfigDict, spec: DataSpec) -> dict[str, int]:
  """Returns the least memory that training takes, in bytes, by the fields that decide on it.

  That is the weights and their gradient, the history of 'lbfgs', and the units of a batch, which
  the backward pass needs.
  """
  weights, units = size_of_net(config, spec)
  history = 2 * config.optimizer.memory_size if config.optimizer.name == "lbfgs" else 0
  return {
    "model.features" if config.model.name == "mlp" else "model.name": _FLOAT * 2 * weights,
    "optimizer.memory_size": _FLOAT * history * weights,
    "batch_size": _FLOAT * config.batch_size * units,
  }


def size_of_net(config: ConfigDict, spec: DataSpec) -> tuple[int, int]:
  """Returns how many weights and biases a net has, and how many units inside of it.

  Nothing is computed, and an MLP is not even traced: if it is far too large, that takes too long.
  """
  if config.model.name == "mlp":
    widths = [math.prod(spec.image_shape), *config.model.features, spec.num_classes]
    weights = sum((a + 1) * b for a, b in itertools.pairwise(widths))
    return weights, sum(config.model.features)
  model, image = create_model(config, spec), jax.ShapeDtypeStruct((1, *spec.image_shape), "uint8")
  variables = jax.eval_shape(model.init, jax.random.key(0), image)
  apply = functools.partial(model.apply, capture_intermediates=True, mutable=["intermediates"])
  _, inside = jax.eval_shape(apply, variables, image)
  return num_weights(variables["params"]), num_weights(inside)


def check_fits(config: ConfigDict, spec: DataSpec) -> None:
  """Raises a UsageError that names a field if a run cannot fit into the memory of a device."""
  parts, free = least_bytes(config, spec), free_bytes_of_each()
  if sum(parts.values()) <= free:
    return
  name = max(parts, key=lambda field: parts[field])
  section, _, leaf = name.rpartition(".")
  value = (config[section] if section else config)[leaf]
  weights, _ = size_of_net(config, spec)
  raise UsageError(
    f"config.{name} is {_shown(value)}: with {weights:,} weights and batches of "
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
  # JAX's own is a RuntimeError; a module that is imported late may find no room, either.
  except (RuntimeError, MemoryError, ImportError) as error:
    if not isinstance(error, MemoryError) and not _is_full(error):
      raise
    reason = str(error).strip().partition("\n")[0].rstrip(".")
    raise RunError(f"the memory is full ({reason}); {advice}") from error


def _is_full(error: Exception) -> bool:
  signs = ["out of memory", "can't start new thread", "cannot allocate", "failed to map segment"]
  if not isinstance(error, UserError):  # A disk that is full calls itself exhausted as well.
    signs.append("resource_exhausted")
  return any(sign in str(error).lower() for sign in signs)
