"""How arrays lie on several devices: batches are split along one axis, all else is replicated."""

from typing import Any

import jax
from jax.sharding import PartitionSpec


def create_mesh() -> jax.sharding.Mesh:
  """Returns the mesh of all devices along one axis, 'data', for `jax.set_mesh`."""
  return jax.make_mesh((jax.device_count(),), ("data",), axis_types=(jax.sharding.AxisType.Auto,))


def replicated() -> jax.sharding.NamedSharding:
  """Returns the sharding of an array that every device of the current mesh holds in full."""
  return jax.sharding.NamedSharding(jax.sharding.get_mesh(), PartitionSpec())


def on_every_device(array: jax.Array) -> jax.Array:
  """Makes every device of the mesh, where there is one, hold an array in full."""
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty or mesh.size == 1:
    return array
  return jax.lax.with_sharding_constraint(array, PartitionSpec())


def split_over_devices(batch: Any) -> Any:
  """Splits the first axis of each array along the mesh's 'data' axis, where there is a mesh."""
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty or mesh.size == 1:
    return batch
  return jax.lax.with_sharding_constraint(batch, PartitionSpec("data"))
