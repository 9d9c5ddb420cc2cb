"""What a run has to remember, and how it begins."""

import everything
import jax
import jax.numpy as jnp
import numpy as np
import small

from mnist_mlp.core import state as state_lib
from mnist_mlp.core import steps
from mnist_mlp.core.metrics import TrainMetrics
from mnist_mlp.core.steps import ChunkLength
from mnist_mlp.core.traced import traced


def test_initial_state_follows_from_the_seed():
  other = small.config_of(**{**everything.CHANGES, "seed": 1})
  zero, one = traced(everything.CONFIG), traced(other)
  init = small.compiled(state_lib.initializer(everything.CONFIG, small.spec()), zero)
  assert small.differing(init(zero).params, everything.initial().params) == []
  kernels = [init(values).params["Dense_0"]["kernel"] for values in (zero, one)]
  assert (kernels[0] != kernels[1]).all()
  state = state_lib.create_train_state(everything.CONFIG, small.spec())
  for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(everything.initial()), strict=True):
    assert (a.dtype, a.shape) == (b.dtype, b.shape)
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
  assert state.step.dtype == jnp.int32
  assert state.step == 0
  assert state.ema["params"].keys() == state.params.keys()


def test_standardized_inputs_use_the_pixel_statistics_of_the_spec():
  c = small.config_of(model__inputs="standardized", model__features=())
  state = small.create(c, small.spec(pixel_mean=33.25, pixel_std=7.5))
  statistics = state.model_state["input_statistics"]
  assert {name: float(value) for name, value in statistics.items()} == {"mean": 33.25, "std": 7.5}
  assert {leaf.dtype for leaf in statistics.values()} == {np.dtype("float32")}


def test_keys_of_different_purposes_and_indices_differ():
  keys = {
    tuple(np.asarray(jax.random.key_data(state_lib.random_key(np.uint32(seed), purpose, index))))
    for seed in (0, 1)
    for purpose in (state_lib.PARAMS, state_lib.ORDER, state_lib.DROPOUT, state_lib.AUGMENT)
    for index in (0, 1, 2)
  }
  assert len(keys) == 2 * 4 * 3


def test_moving_average_follows_its_recursion():
  history = everything.single_steps()
  average = jax.tree.map(np.asarray, history[0][0].params)
  for step, (state, _) in enumerate(history[1:]):
    decay = min(0.9, (1 + step) / (10 + step))
    average = jax.tree.map(
      lambda a, p, decay=decay: decay * a + (1 - decay) * np.asarray(p), average, state.params
    )
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
      average,
      state.ema["params"],
    )
  last = history[-1][0]
  assert small.differing(last.ema["params"], last.params)
  evaluated = state_lib.evaluation_variables(last, everything.CONFIG)
  assert evaluated["params"] is last.ema["params"]
  weights = small.config_of(ema__decay=0.9, ema__evaluate=False)
  assert state_lib.evaluation_variables(last, weights)["params"] is last.params


def test_chunk_consumes_its_state_and_a_snapshot_outlives_it():
  state = state_lib.snapshot(everything.initial())
  copy = state_lib.snapshot(state)
  steps.train_chunk(
    state,
    TrainMetrics.empty(),
    small.splits().train,
    config=everything.STATIC,
    length=ChunkLength(1, 2),
  )
  assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state.params))
  assert small.differing(copy, everything.initial()) == []


def test_all_trained_numbers_are_counted():
  state = small.create(small.config_of(model__features=(16, 12)))
  inputs = 8 * 8
  assert state_lib.num_weights(state.params) == (inputs + 1) * 16 + 17 * 12 + 13 * small.CLASSES
