"""Members that train side by side on `small.dataset()`, and how they are compared."""

import jax
import numpy as np
import small

from mnist_mlp.core.steps import ChunkLength
from mnist_mlp.sweeps import stacked

EPOCH = 6  # steps


def configs_of(*points, **common):
  """Returns a config for each point; a point goes before what they have in common."""
  return [small.config_of(**{**common, **point}) for point in points]


def train(group, state, num_steps=EPOCH):
  """Takes steps; returns the stacked state and the stacked metrics."""
  return stacked.train_chunk(
    state,
    stacked.no_metrics(stacked.num_members(state.params)),
    group.train,
    config=group.static,
    length=ChunkLength(1, num_steps),
  )


def of_member(state, member, members):
  """Returns the state of one member, on the host, as a lone run has it."""
  return stacked.take(jax.device_get(stacked.unshared(state, members)), member)


def same_bits(a, b):
  """Returns whether all leaves of two trees have the same bytes."""
  return [np.asarray(x).tobytes() for x in jax.tree.leaves(a)] == [
    np.asarray(y).tobytes() for y in jax.tree.leaves(b)
  ]


def difference(a, b):
  """Returns the largest difference, relative to the largest value."""
  pairs = list(zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))
  return max(np.abs(x - y).max() for x, y in pairs) / max(np.abs(y).max() for _, y in pairs)
