"""Training and evaluation on batches that the host gives, block by block.

Every function does what its counterpart in `steps` does with a split that lies on the device: the
same step on the same batches, to the same bits.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import FrozenConfigDict

from mnist_mlp.core import steps
from mnist_mlp.core.metrics import EvalMetrics, TrainMetrics, measure
from mnist_mlp.core.sharding import on_every_device, split_over_devices
from mnist_mlp.core.spec import Examples
from mnist_mlp.core.state import ORDER, TrainState, evaluation_variables, random_key


def train_chunk(
  state: TrainState,
  metrics: TrainMetrics,
  block: tuple[Examples, int],
  *,
  config: FrozenConfigDict,
  num_steps: int,
) -> tuple[TrainState, TrainMetrics]:
  """Takes the steps of some batches of a block; see `steps.train_chunk`.

  Args:
    state: donated. Its `scanned` says whether the steps are one program.
    metrics: those of the steps before.
    block: batches, with leading axes [batches, batch_size], and the first one to take.
    config: static.
    num_steps: static.
  """
  if state.scanned:
    return scan_steps(state, metrics, block, config=config, num_steps=num_steps)
  take = functools.partial(take_step, config=config)
  return one_by_one(take, (state, metrics), block, num_steps)


def one_by_one(take_step: Callable, carry: Any, block: tuple[Examples, int], num_steps: int) -> Any:
  """Dispatches steps one after the other. The `carry` is (state, metrics).

  `take_step` takes the carry, batches and the index of one, like the function below.
  """
  batches, first = block
  for index in range(first, first + num_steps):
    carry = take_step(*carry, batches, index)
  return carry


@functools.partial(jax.jit, static_argnames=("config", "num_steps"), donate_argnames=("state",))
def scan_steps(state, metrics, block, *, config, num_steps: int):
  """Takes many steps as one program; see `train_chunk`."""
  batches, first = block

  def one_step(carry, index):
    return take_step(*carry, batches, index, config=config), None

  return jax.lax.scan(one_step, (state, metrics), first + jnp.arange(num_steps))[0]


@functools.partial(jax.jit, static_argnames=("config",), donate_argnames=("state",))
def take_step(
  state: TrainState,
  metrics: TrainMetrics,
  batches: Examples,
  index: jax.Array | int,
  *,
  config: FrozenConfigDict,
) -> tuple[TrainState, TrainMetrics]:
  """Takes the step of one of the batches."""
  batch = Examples(*(jax.lax.dynamic_index_in_dim(a, index, keepdims=False) for a in batches))
  state, update = steps.train_step(state, batch, config)
  return state, metrics.merge(update)


@functools.partial(jax.jit, static_argnames=("num_examples",))
def order_bits(seed: jax.Array, epoch: jax.Array, num_examples: int) -> jax.Array:
  """Returns the random bits by which `steps.epoch_order` sorts the examples, uint32 [N]."""
  return jax.random.bits(random_key(seed, ORDER, epoch), (num_examples,))


@functools.partial(jax.jit, static_argnames=("config",))
def predict_logits(state: TrainState, batches: jax.Array, *, config: FrozenConfigDict) -> jax.Array:
  """Returns the logits, float32 [B * N, classes], of batches of images, uint8 [B, N, H, W, C]."""
  variables = evaluation_variables(state, config)

  def one_batch(_, images):
    return None, state.apply_fn(variables, split_over_devices(images))

  logits = jax.lax.scan(one_batch, None, batches)[1]
  return logits.reshape(-1, logits.shape[-1])


@functools.partial(jax.jit, static_argnames=("config",))
def measure_logits(
  state: TrainState, parts: Sequence[jax.Array], labels: jax.Array, *, config: FrozenConfigDict
) -> tuple[EvalMetrics, jax.Array]:
  """Returns the metrics of every example of a split, and its logits.

  Args:
    state: that of `predict_logits`.
    parts: what `predict_logits` returned, one after the other. What goes beyond the labels, with
      which the last batch was filled up, is cut off.
    labels: int32 [N], of the whole split.
    config: static.
  """
  logits = on_every_device(jnp.concatenate(parts)[: len(labels)])
  measured = measure(steps.outputs_of(state, logits, labels, config))
  return EvalMetrics.single_from_model_output(**measured), logits
