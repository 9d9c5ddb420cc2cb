"""Batches split over two devices, in a process that has two."""

import json

import jax
import numpy as np
import processes
import pytest
import small
from everything import CONFIG, STATIC, initial, values

from mnist_mlp.core import steps

TWO_DEVICES = """
import json, sys
import jax
jax.config.update("jax_num_cpu_devices", 2)
import numpy as np
import everything, small
from mnist_mlp.core import sharding, steps
from mnist_mlp.core.metrics import TrainMetrics
from mnist_mlp.core.steps import ChunkLength

splits = small.splits()
with jax.set_mesh(sharding.create_mesh()):
  place = jax.jit(lambda tree: tree, out_shardings=sharding.replicated())
  state, train, validation = place((everything.initial(), splits.train, splits.validation))
  arguments = dict(config=everything.STATIC, length=ChunkLength(1, 6))
  metrics = place(TrainMetrics.empty())
  program = steps.scan_steps.lower(state, metrics, train, **arguments).compile().as_text()
  state, metrics = steps.train_chunk(state, metrics, train, **arguments)
  evaluation = steps.evaluate(state, validation, config=everything.STATIC)
  split = jax.jit(lambda rows: sharding.split_over_devices(train.images[rows]))(np.arange(16))
  np.savez(sys.argv[1], *(np.asarray(leaf) for leaf in jax.tree.leaves(state)))
  print(json.dumps({
      "devices": jax.device_count(),
      "train": everything.values(metrics),
      "evaluation": everything.values(evaluation),
      "shards": [shard.data.shape[0] for shard in split.addressable_shards],
      "all_reduce": "all-reduce" in program,
      "half_batches": "f32[8,16]" in program,
      "state_is_replicated": all(
          leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(state)),
  }))
"""


@pytest.mark.slow
def test_two_devices_share_the_work_and_agree_with_one(tmp_path):
  """Sums in another order differ in the last bits, which six steps of Adam may magnify."""
  done = processes.python(TWO_DEVICES, tmp_path / "state.npz", JAX_PLATFORMS="cpu")
  assert done.returncode == 0, done.stderr
  two = json.loads(done.stdout.splitlines()[-1])
  assert two["devices"] == 2
  assert two["shards"] == [8, 8]
  assert two["all_reduce"]
  assert two["half_batches"]
  assert two["state_is_replicated"]
  state, metrics = small.train(initial(), 6, CONFIG)
  evaluation = steps.evaluate(state, small.splits().validation, config=STATIC)
  for one, other in ((metrics, two["train"]), (evaluation, two["evaluation"])):
    np.testing.assert_allclose(list(values(one).values()), list(other.values()), rtol=1e-4)
  with np.load(tmp_path / "state.npz") as arrays:
    for one, name in zip(jax.tree.leaves(state), arrays, strict=True):
      np.testing.assert_allclose(one, arrays[name], rtol=1e-3, atol=1e-4)
