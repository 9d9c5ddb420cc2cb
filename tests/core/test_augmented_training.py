"""Distorted images in training: by seed and step, with traced strengths, clean at the end."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from ml_collections import FrozenConfigDict

from mnist_mlp.config import run_length
from mnist_mlp.core import steps
from mnist_mlp.core.state import create_train_state


def training_config(**strengths):
  return small.config_of(**{f"augment__{name}": value for name, value in strengths.items()})


DISTORTED = training_config(elastic_alpha=5.0, elastic_sigma=2.0, rotation=10.0, scale=0.1)
PLAIN = training_config()


def loss_of_a_batch(c):
  batch, static = small.splits().train, FrozenConfigDict(c)
  return jax.jit(lambda state: steps.gradient(state, batch, static).value)


@pytest.mark.slow
def test_training_distorts_by_seed_and_step():
  state = create_train_state(DISTORTED, small.spec())
  loss = loss_of_a_batch(DISTORTED)
  assert loss(state) == loss(state)
  values = [
    loss(state),
    loss(state.replace(step=jnp.int32(1))),
    loss(state.replace(seed=jnp.uint32(1))),
    loss_of_a_batch(PLAIN)(state),
  ]
  assert len(set(map(float, values))) == 4


def test_strengths_are_traced():
  state = create_train_state(DISTORTED, small.spec())
  loss = loss_of_a_batch(DISTORTED)
  values = [loss(state)]
  for name in ("elastic_alpha", "rotation", "scale"):
    values.append(loss(state.replace(scalars={**state.scalars, name: jnp.float32(0)})))
  assert len(set(map(float, values))) == 4
  assert loss._cache_size() == 1


@pytest.mark.slow
def test_a_chunk_is_its_single_steps():
  state = create_train_state(DISTORTED, small.spec())
  once, metrics = small.train(state, 2, DISTORTED)
  first = small.train(state, 1, DISTORTED)
  second = small.train(first[0], 1, DISTORTED, metrics=first[1])
  assert not small.differing((once, metrics), second)


@pytest.mark.parametrize("length", [{"clean_steps": 2}, {"clean_epochs": 1 / 3}])
def test_the_last_steps_see_images_as_they_are(length):
  strengths = {"elastic_alpha": 5.0, "rotation": 10.0}
  c = training_config(**strengths, **length)
  loss, distorted, clean = map(loss_of_a_batch, (c, training_config(**strengths), PLAIN))
  state = create_train_state(c, small.spec())
  last = run_length(c, 96).total_steps - 1
  for step, expected in [(0, distorted), (last - 2, distorted), (last - 1, clean), (last, clean)]:
    state = state.replace(step=jnp.int32(step))
    np.testing.assert_allclose(loss(state), expected(state), rtol=1e-6)


def test_evaluation_does_not_distort():
  state = create_train_state(DISTORTED, small.spec())
  distorted, plain = (
    steps.evaluate(state, small.splits().test, config=FrozenConfigDict(c)).compute()
    for c in (DISTORTED, PLAIN)
  )
  assert distorted == plain
