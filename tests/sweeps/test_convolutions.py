"""Populations of nets whose steps are dispatched one by one."""

import jax
import numpy as np
import pytest
import small
from stacking import configs_of, difference, of_member, train

from mnist_mlp.core.steps import ChunkLength
from mnist_mlp.sweeps import stacked
from mnist_mlp.sweeps.group import Group

CNN = {"model__name": "cnn", "cnn__channels": (3,), "model__features": (6,), "model__dropout": 0.1}


@pytest.mark.slow
@pytest.mark.parametrize(
  "points",
  [
    [{"seed": 3}],
    [{"optimizer__learning_rate": 0.01}, {"optimizer__learning_rate": 0.02}],
    [{"seed": 0}, {"seed": 1, "model__dropout": 0.3}],
  ],
  ids=["one", "a shared seed", "seeds of their own"],
)
def test_a_population_of_cnns_trains_each_like_a_lone_run(points):
  configs = configs_of(*points, **CNN)
  group = Group(configs[0], small.dataset())
  assert not group.member.scanned and group.bytes_per_member > 0
  state, metrics = train(group, group.create(configs), num_steps=5)
  for row, c in enumerate(configs):
    lone, own = small.train(small.create(c), 5, c)
    found = of_member(state, row, len(configs)).params
    assert difference(found, jax.device_get(lone.params)) < 1e-3
    loss = stacked.take(metrics, row).compute()["loss"]
    np.testing.assert_allclose(loss, own.compute()["loss"], rtol=1e-3)


@pytest.mark.slow
def test_chunks_of_several_epochs_take_a_new_order_for_each():
  (c,) = configs_of({}, **CNN)
  group = Group(c, small.dataset())
  ends = []
  for lengths in ([ChunkLength(2, 6)], [ChunkLength(1, 6), ChunkLength(1, 4), ChunkLength(1, 2)]):
    state, metrics = group.create([c]), stacked.no_metrics(1)
    for length in lengths:
      state, metrics = stacked.train_chunk(
        state, metrics, group.train, config=group.static, length=length
      )
    ends.append((state.params, metrics))
  for one, other in zip(*map(jax.tree.leaves, ends), strict=True):
    np.testing.assert_array_equal(one, other)
