"""The pure core: one training step, many steps as one program, and exact evaluation.

Everything here is a function of arrays and a config. It knows nothing of files, clocks or logs.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from ml_collections import FrozenConfigDict

from mnist_mlp.config import AUGMENTATIONS
from mnist_mlp.core import augment, losses
from mnist_mlp.core.metrics import TRAIN_METRICS, EvalMetrics, Outputs, TrainMetrics, measure
from mnist_mlp.core.optimizer import project_max_norm
from mnist_mlp.core.probabilities import log_probabilities
from mnist_mlp.core.sharding import on_every_device, split_over_devices
from mnist_mlp.core.spec import Examples
from mnist_mlp.core.state import (
  AUGMENT,
  DROPOUT,
  ORDER,
  TrainState,
  evaluation_variables,
  random_key,
)
from mnist_mlp.core.traced import RATES


class Gradient(NamedTuple):
  """What one batch says about the parameters."""

  value: jax.Array  # float32 [], the objective
  grads: Any  # like params
  metrics: TrainMetrics
  model_state: dict[str, Any]  # updated batch statistics


def train_step(
  state: TrainState, batch: Examples, config: FrozenConfigDict
) -> tuple[TrainState, TrainMetrics]:
  """Takes one optimizer step on a batch."""
  g = gradient(state, batch, config)
  updates, opt_state = _updates(state, g, batch, config)
  params = optax.apply_updates(state.params, updates)
  if config.optimizer.max_norm:
    params = project_max_norm(params, config.optimizer.max_norm)
  ema = state.ema
  if config.ema.decay:
    # A short memory at first, so that the average forgets the initial weights.
    decay = jnp.minimum(config.ema.decay, (1.0 + state.step) / (10.0 + state.step))
    new = {"params": params, "model_state": g.model_state}
    ema = optax.incremental_update(new, ema, 1.0 - decay)
  state = state.replace(
    step=state.step + 1, params=params, opt_state=opt_state, model_state=g.model_state, ema=ema
  )
  return state, g.metrics


def gradient(state: TrainState, batch: Examples, config: FrozenConfigDict) -> Gradient:
  """Returns the gradient of the objective on one batch."""
  batch = split_over_devices(batch)
  if any(config.augment[name] for name in AUGMENTATIONS):
    batch = _distorted(state, batch, config)
  (value, (measured, model_state)), grads = jax.value_and_grad(_objective, has_aux=True)(
    state.params, state, batch, config
  )
  metrics = TrainMetrics.single_from_model_output(**measured, step=state.step + 1)
  return Gradient(value, grads, metrics, model_state)


def _distorted(state, batch, config):
  """Returns the batch with distorted images, float32; from `augment_until` on, as it is."""
  key = random_key(state.seed, AUGMENT, state.step)

  def distort():
    return augment.distort(key, batch, config.augment, state.scalars)

  if not (config.augment.clean_epochs or config.augment.clean_steps):
    return Examples(distort(), batch.labels)
  images = jax.lax.cond(
    state.step < state.augment_until, distort, lambda: batch.images.astype(jnp.float32)
  )
  return Examples(images, batch.labels)


def _objective(params, state, batch, config):
  """Returns the objective, and (the training metrics of each example, model_state)."""
  loss, (measured, model_state) = _forward(params, state, batch, config)
  objective = loss.mean()
  if config.loss.adversarial_radius:
    moved = adversarial_batch(params, state, batch, config)
    objective = (objective + _forward(params, state, moved, config)[0].mean()) / 2
  if config.loss.l2:
    objective += losses.l2_penalty(params, state.scalars["l2"])
  return objective, (measured, model_state)


def _forward(params, state, batch, config):
  """Returns losses [batch], and (the training metrics of each example, model_state)."""
  rates = {name: state.scalars[name] for name in RATES if config.model[name]}
  logits, model_state = state.apply_fn(
    {"params": params, **state.model_state},
    batch.images,
    train=True,
    **rates,
    rngs={"dropout": random_key(state.seed, DROPOUT, state.step)},
    mutable=["batch_stats"],
  )
  outputs = outputs_of(state, logits, batch.labels, config)
  measured = measure(outputs, TRAIN_METRICS)
  return outputs.loss, (measured, {**state.model_state, **model_state})


def outputs_of(state: TrainState, logits: Any, labels: Any, config: FrozenConfigDict) -> Outputs:
  """Returns what metrics are measured from, given logits [N, classes] and labels [N]."""
  loss = losses.per_example(config.loss, logits, labels, state.scalars["label_smoothing"])
  return Outputs(logits, labels, loss, log_probabilities(config.loss.name, logits))


def adversarial_batch(
  params: Any, state: TrainState, batch: Examples, config: FrozenConfigDict
) -> Examples:
  """Moves each image to where its loss rises most, by the length config.loss.adversarial_radius.

  Nothing is differentiated through the move. See `augment.move_uphill`.
  """
  fixed = jax.lax.stop_gradient(params)

  def total_loss(images):
    return _forward(fixed, state, Examples(images, batch.labels), config)[0].sum()

  images = augment.move_uphill(batch.images, total_loss, config.loss.adversarial_radius)
  return Examples(images, batch.labels)


def _updates(state, g: Gradient, batch, config):
  def value_fn(params):
    return _objective(params, state, batch, config)[0]

  return state.tx.update(
    g.grads, state.opt_state, state.params, value=g.value, grad=g.grads, value_fn=value_fn
  )


class ChunkLength(NamedTuple):
  """How many steps one program takes: `steps` in each of `epochs` epochs."""

  epochs: int
  steps: int

  @property
  def num_steps(self) -> int:
    """All of them."""
    return self.epochs * self.steps


def train_chunk(
  state: TrainState,
  metrics: TrainMetrics,
  train: Examples,
  *,
  config: FrozenConfigDict,
  length: ChunkLength,
) -> tuple[TrainState, TrainMetrics]:
  """Takes many steps: as one program, `lax.scan` over `train_step`, or one by one.

  It returns the state after these steps, and the merged metrics.

  Args:
    state: donated. Its `scanned` says which. If `length` has several epochs, it stands at the start
      of an epoch, and `length.steps` is a whole epoch.
    metrics: those of the steps before. Each step's metrics are merged into them one by one, so that
      the sums do not depend on where a chunk ends.
    train: the whole training split.
    config: static.
    length: static.
  """
  if state.scanned:
    return scan_steps(state, metrics, train, config=config, length=length)
  own = {"train": train, "config": config}
  take = functools.partial(take_step, **own)
  return one_by_one(functools.partial(order_of, **own), take, (state, metrics), length)


@functools.partial(jax.jit, static_argnames=("config", "length"), donate_argnames=("state",))
def scan_steps(state, metrics, train, *, config, length: ChunkLength):
  """Takes many steps as one program; see `train_chunk`."""

  def one_epoch(carry, _):
    order = order_of(carry[0], train, config=config)

    def one_step(carry, _):
      return take_step(*carry, order, train, config=config), None

    return jax.lax.scan(one_step, carry, length=length.steps)

  return jax.lax.scan(one_epoch, (state, metrics), length=length.epochs)[0]


def one_by_one(order_of: Callable, take_step: Callable, carry: Any, length: ChunkLength) -> Any:
  """Dispatches many steps one after the other. The `carry` is (state, metrics).

  `order_of` takes a state, `take_step` the carry and an order, like the functions below.
  """
  for _ in range(length.epochs):
    order = order_of(carry[0])
    for _ in range(length.steps):
      carry = take_step(*carry, order)
  return carry


@functools.partial(jax.jit, static_argnames=("config",))
def order_of(state: TrainState, train: Examples, *, config: FrozenConfigDict) -> jax.Array:
  """Returns the order of the epoch in which a state stands, int32 [N]."""
  epoch = state.step // (train.num_examples // config.batch_size)
  return epoch_order(state.seed, epoch, train.num_examples)


@functools.partial(jax.jit, static_argnames=("config",), donate_argnames=("state",))
def take_step(
  state: TrainState,
  metrics: TrainMetrics,
  order: jax.Array,
  train: Examples,
  *,
  config: FrozenConfigDict,
) -> tuple[TrainState, TrainMetrics]:
  """Takes the next step of an epoch, whose order is given."""
  size, batch = config.batch_size, train
  if size < train.num_examples:  # The full batch needs no order.
    index = state.step % (train.num_examples // size)
    rows = jax.lax.dynamic_slice_in_dim(order, index * size, size)
    batch = Examples(train.images[rows], train.labels[rows])
  state, update = train_step(state, batch, config)
  return state, metrics.merge(update)


def epoch_order(seed: jax.Array, epoch: jax.Array | int, num_examples: int) -> jax.Array:
  """Returns the order of an epoch, a permutation that follows from (seed, epoch): int32 [N].

  It sorts the examples by 32 random bits each. Two examples may draw the same bits (0.4 pairs of
  60,000 on average); they then keep the order of the split. `jax.random.permutation` avoids that by
  a second sort, which would double the time.
  """
  return jnp.argsort(jax.random.bits(random_key(seed, ORDER, epoch), (num_examples,)))


@functools.partial(jax.jit, static_argnames=("config",))
def norms(state: TrainState, train: Examples, *, config: FrozenConfigDict) -> dict[str, jax.Array]:
  """Returns global norms, float32 []: of the parameters, of a gradient, and of its update.

  The gradient is that of the first batch_size training examples. This program runs when a state is
  evaluated or saved; training steps do not pay for it.
  """
  batch = Examples(*(array[: config.batch_size] for array in train))
  g = gradient(state, batch, config)
  updates, _ = _updates(state, g, batch, config)
  return {
    "parameter_norm": optax.tree.norm(state.params),
    "gradient_norm": optax.tree.norm(g.grads),
    "update_norm": optax.tree.norm(updates),
  }


@functools.partial(jax.jit, static_argnames=("config",))
def predict_logits(state: TrainState, images: jax.Array, *, config: FrozenConfigDict) -> jax.Array:
  """Returns the logits of every image, float32 [N, classes], for uint8 [N, H, W, C].

  It works in batches of config.eval_batch_size. The last batch repeats the last image to be full,
  and the logits of the repetitions are cut off.
  """
  variables = evaluation_variables(state, config)
  size = min(config.eval_batch_size, len(images))
  rows = jnp.arange(-(-len(images) // size) * size).reshape(-1, size)

  def one_batch(_, rows):
    batch = split_over_devices(images[jnp.minimum(rows, len(images) - 1)])
    return None, state.apply_fn(variables, batch)

  logits = jax.lax.scan(one_batch, None, rows)[1]
  return on_every_device(logits.reshape(-1, logits.shape[-1])[: len(images)])


@functools.partial(jax.jit, static_argnames=("config",))
def evaluate_and_predict(
  state: TrainState, split: Examples, *, config: FrozenConfigDict
) -> tuple[EvalMetrics, jax.Array]:
  """Returns the metrics of every example of a split, and the logits of `predict_logits`."""
  logits = predict_logits(state, split.images, config=config)
  measured = measure(outputs_of(state, logits, split.labels, config))
  return EvalMetrics.single_from_model_output(**measured), logits


@functools.partial(jax.jit, static_argnames=("config",))
def evaluate(state: TrainState, split: Examples, *, config: FrozenConfigDict) -> EvalMetrics:
  """Returns the metrics of every example of a split."""
  return evaluate_and_predict(state, split, config=config)[0]
