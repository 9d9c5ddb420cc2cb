"""Checkpoints of small trees."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np

from mnist_mlp.run.checkpoint import Checkpoints

TREE = {
  "kernel": np.arange(6, dtype=np.float32).reshape(2, 3) / 7,
  "step": np.array(5, np.int32),
  "seed": np.array(2**32 - 1, np.uint32),
  "half": np.asarray(jnp.arange(4, dtype=jnp.bfloat16)),
  "odd": np.array([np.nan, -0.0, np.inf, 1e-45], np.float32),
  "none": {},
  # Too random to be compressed, too large to lie inside of a checked index: a flipped byte of it
  # is another number, of which only the digest tells.
  "large": np.random.RandomState(0).normal(size=20_000).astype(np.float32),
}


def fill(folder, saves):
  """Saves (step, accuracy) pairs, each of a tree of its own."""
  with Checkpoints(folder) as checkpoints:
    for step, accuracy in saves:
      checkpoints.save(step, tree_of(step), {"rows": [{"loss": 0.1 + step}]}, accuracy)


def best_step(checkpoints):
  best = checkpoints.best()
  return best and best["step"]


def tree_of(step):
  return {**TREE, "step": np.array(step, np.int32)}


def kept(folder):
  return sorted(int(path.name) for path in Path(folder).iterdir() if path.name.isdigit())
