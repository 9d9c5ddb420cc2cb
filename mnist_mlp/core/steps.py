"""The pure core: train state, training step, many steps as one program, exact evaluation.

Nothing here knows of files, clocks or logs. All randomness is `fold_in` of `state.seed`, its
purpose and the step or epoch, so that a state determines everything that follows from it.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from flax.training import train_state
from jax.sharding import PartitionSpec
from ml_collections import ConfigDict, FrozenConfigDict

from mnist_mlp.config import AUGMENTATIONS, duration
from mnist_mlp.core import losses
from mnist_mlp.core.metrics import EvalMetrics, TrainMetrics
from mnist_mlp.core.model import create_model
from mnist_mlp.core.optimizer import (
  HYPERPARAMETERS,
  create_optimizer,
  evaluation_params,
  project_max_norm,
)
from mnist_mlp.data.dataset import Dataset

# What a random draw is for: the second argument of the first fold_in.
_PARAMS, _ORDER, _NOISE, _AUGMENT = range(4)

# The scalars outside of the optimizer that a sweep may vary: they live in the state, traced.
SCALARS = {
  "label_smoothing": "loss.label_smoothing",
  "l2": "loss.l2",
  "dropout": "model.dropout",
  "input_dropout": "model.input_dropout",
  **{name: f"augment.{name}" for name in AUGMENTATIONS},
}


class TrainState(train_state.TrainState):
  """Everything that a run has to remember, as a pytree.

  Attributes beyond flax's (step int32 [], params, opt_state; apply_fn and tx are static):
    distorted_steps: int, static; from this step on, training images are as they are.
    seed: uint32 [], the run's seed.
    scalars: float32 [] each, the names of SCALARS.
    model_state: variables that are not trained: batch_stats, input_statistics.
    ema: moving averages of {'params', 'model_state'}; empty when config.ema.decay is 0.
  """

  seed: jax.Array
  scalars: dict[str, jax.Array]
  model_state: dict[str, Any]
  ema: dict[str, Any]
  distorted_steps: int = struct.field(pytree_node=False)


class Length(NamedTuple):
  """How long a run is: all in optimizer steps."""

  steps_per_epoch: int
  total_steps: int


def run_length(config: ConfigDict, num_examples: int) -> Length:
  """Returns the run's length on `num_examples` training examples."""
  per_epoch = num_examples // config.batch_size
  return Length(per_epoch, config.num_steps or round(config.num_epochs * per_epoch))


def random_key(seed: jax.Array, purpose: int, index: jax.Array | int = 0) -> jax.Array:
  """Returns the key of one draw: a function of the seed, its purpose, and the step or epoch."""
  return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), purpose), index)


class Traced(NamedTuple):
  """The values of a config that the program takes as arguments: what a population may vary."""

  seed: np.uint32
  hyperparameters: dict[str, np.float32]  # the names of optimizer.HYPERPARAMETERS
  scalars: dict[str, np.float32]  # the names of SCALARS


def traced(config: ConfigDict) -> Traced:
  """Returns the traced values of a config."""
  return Traced(
    np.uint32(config.seed),
    {name: np.float32(config.optimizer[name]) for name in HYPERPARAMETERS},
    {name: np.float32(_field(config, path)) for name, path in SCALARS.items()},
  )


def create_train_state(config: ConfigDict, dataset: Dataset) -> TrainState:
  """Returns the state before the first step.

  Args:
    config: a validated config.
    dataset: gives the image shape, the classes, the length of an epoch and the input statistics.
  """
  return jax.jit(initializer(config, dataset))(traced(config))


def initializer(config: ConfigDict, dataset: Dataset) -> Callable[[Traced], TrainState]:
  """Returns the function from traced values to the state before the first step.

  All its states share their static parts, so that one compiled program serves them; of `config`,
  it uses everything but the traced values.
  """
  return functools.partial(
    _init,
    config,
    dataset,
    create_model(config, dataset.num_classes),
    create_optimizer(config, *reversed(run_length(config, dataset.train.num_examples))),
  )


def _init(config, dataset, model, tx, values: Traced) -> TrainState:
  image = jnp.zeros((1, *dataset.image_shape), jnp.uint8)
  variables = dict(model.init(random_key(values.seed, _PARAMS), image))
  params = variables.pop("params")
  if config.model.inputs == "standardized":
    variables["input_statistics"] = jax.tree.map(
      jnp.asarray, input_statistics(dataset.train.images)
    )
  ema = {"params": params, "model_state": variables} if config.ema.decay else {}
  length = run_length(config, dataset.train.num_examples)
  clean_steps = duration(config.augment, "clean", length.steps_per_epoch)
  # Not that of `tx`, which holds the config's own values: some optimizers copy them to their state.
  own_tx = create_optimizer(config, *reversed(length), values.hyperparameters)
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    apply_fn=model.apply,
    params=params,
    tx=tx,
    opt_state=own_tx.init(params),
    seed=values.seed,
    scalars=values.scalars,
    model_state=variables,
    ema=ema,
    distorted_steps=length.total_steps - clean_steps,
  )


def input_statistics(images: np.ndarray) -> dict[str, np.float32]:
  """Returns mean and standard deviation of all pixels of uint8 images, in 0..255, exactly."""
  counts = np.bincount(images.reshape(-1), minlength=256)
  levels = np.arange(256)
  mean = counts @ levels / counts.sum()
  std = np.sqrt(counts @ (levels - mean) ** 2 / counts.sum())
  return {"mean": np.float32(mean), "std": np.float32(max(std, 1e-6))}


def _field(config: Mapping[str, Any], path: str) -> Any:
  return functools.reduce(lambda tree, key: tree[key], path.split("."), config)


class Gradient(NamedTuple):
  """What one batch says about the parameters."""

  value: jax.Array  # float32 [], the objective
  grads: Any  # like params
  metrics: TrainMetrics
  model_state: dict[str, Any]  # updated batch statistics


def _forward(params, state, images, labels, config):
  """Returns losses [batch], and (correct [batch], model_state)."""
  c, s = config.model, state.scalars
  logits, model_state = state.apply_fn(
    {"params": params, **state.model_state},
    images,
    train=True,
    dropout=s["dropout"] if c.dropout else None,
    input_dropout=s["input_dropout"] if c.input_dropout else None,
    rngs={"dropout": random_key(state.seed, _NOISE, state.step)},
    mutable=["batch_stats"],
  )
  correct = jnp.argmax(logits, -1) == labels
  loss = losses.configured(config.loss, logits, labels, s["label_smoothing"])
  return loss, (correct, {**state.model_state, **model_state})


def adversarial_images(
  params: Any, state: TrainState, images: jax.Array, labels: jax.Array, config: FrozenConfigDict
) -> jax.Array:
  """Moves each image along the gradient of its loss, by the Euclidean length adversarial_radius.

  Goodfellow, Shlens & Szegedy, "Explaining and harnessing adversarial examples", 2015; with the
  Euclidean norm, as Miyato et al. compare it in "Distributional smoothing with virtual adversarial
  training", 2016. Nothing is differentiated through it.

  Args:
    params: the weights.
    state: gives all else that the loss depends on.
    images: [B, H, W, C] in 0..255.
    labels: int32 [B].
    config: static.

  Returns:
    float32 [B, H, W, C]; pixels may leave 0..255.
  """
  fixed = jax.lax.stop_gradient(params)
  images = images.astype(jnp.float32)
  slopes = jax.grad(lambda images: _forward(fixed, state, images, labels, config)[0].sum())(images)
  lengths = jnp.sqrt(jnp.square(slopes).sum((1, 2, 3), keepdims=True))
  return images + 255.0 * config.loss.adversarial_radius * slopes / jnp.maximum(lengths, 1e-12)


def _objective(params, state, images, labels, config):
  """Returns the objective, and (losses [batch], correct [batch], model_state)."""
  loss, (correct, model_state) = _forward(params, state, images, labels, config)
  objective = loss.mean()
  if config.loss.adversarial_radius:
    moved = adversarial_images(params, state, images, labels, config)
    objective = (objective + _forward(params, state, moved, labels, config)[0].mean()) / 2
  if config.loss.l2:
    objective += losses.l2_penalty(params, state.scalars["l2"])
  return objective, (loss, correct, model_state)


def _distorted(state, images, labels, config):
  """Returns distorted images, float32; in the clean last steps, the images as they are."""
  from mnist_mlp.core import augment  # Here so that a fork that distorts nothing can delete it.

  key = random_key(state.seed, _AUGMENT, state.step)

  def distort():
    return augment.distort(key, images, labels, config.augment, state.scalars)

  if not (config.augment.clean_epochs or config.augment.clean_steps):
    return distort()
  return jax.lax.cond(
    state.step < state.distorted_steps, distort, lambda: images.astype(jnp.float32)
  )


def gradient(state: TrainState, images, labels, config: FrozenConfigDict) -> Gradient:
  """Returns the gradient of the objective on one batch, uint8 [B, H, W, C] and int32 [B]."""
  images, labels = _split_over_devices((images, labels))
  if any(config.augment[name] for name in AUGMENTATIONS):
    images = _distorted(state, images, labels, config)
  (value, (loss, correct, model_state)), grads = jax.value_and_grad(_objective, has_aux=True)(
    state.params, state, images, labels, config
  )
  metrics = TrainMetrics.single_from_model_output(loss=loss, correct=correct, step=state.step + 1)
  return Gradient(value, grads, metrics, model_state)


def _updates(state, g: Gradient, images, labels, config):
  def value_fn(params):
    return _objective(params, state, images, labels, config)[0]

  return state.tx.update(
    g.grads, state.opt_state, state.params, value=g.value, grad=g.grads, value_fn=value_fn
  )


def train_step(
  state: TrainState, images: jax.Array, labels: jax.Array, config: FrozenConfigDict
) -> tuple[TrainState, TrainMetrics]:
  """Takes one optimizer step on a batch: uint8 [B, H, W, C] images, int32 [B] labels."""
  g = gradient(state, images, labels, config)
  updates, opt_state = _updates(state, g, images, labels, config)
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


def epoch_order(seed: jax.Array, epoch: jax.Array | int, num_examples: int) -> jax.Array:
  """Returns the order of an epoch: int32 [num_examples], a permutation from (seed, epoch).

  Sorted by random bits once, where jax.random.permutation sorts twice for the sake of equal draws:
  those, 0.4 pairs in 60,000 on average, keep their order here.
  """
  return jnp.argsort(jax.random.bits(random_key(seed, _ORDER, epoch), (num_examples,)))


def _batch(images, labels, order, index, size):
  if size == len(labels):  # The full batch needs no order.
    return images, labels
  rows = jax.lax.dynamic_slice_in_dim(order, index * size, size)
  return images[rows], labels[rows]


@functools.partial(
  jax.jit, static_argnames=("config", "epochs", "steps"), donate_argnames=("state",)
)
def train_chunk(
  state: TrainState,
  metrics: TrainMetrics,
  images: jax.Array,
  labels: jax.Array,
  *,
  config: FrozenConfigDict,
  epochs: int,
  steps: int,
) -> tuple[TrainState, TrainMetrics]:
  """Takes `steps` steps in each of `epochs` epochs as one program: `lax.scan` over `train_step`.

  Args:
    state: donated. With epochs > 1 it stands at the start of an epoch, and `steps` is a whole one.
    metrics: what the steps before counted; these steps are merged into it one by one, so that the
      result does not depend on where a chunk ends.
    images: uint8 [N, H, W, C], the whole training split.
    labels: int32 [N].
    config: static, like epochs and steps.
  """
  size = config.batch_size
  per_epoch = len(labels) // size

  def one_epoch(carry, _):
    order = epoch_order(carry[0].seed, carry[0].step // per_epoch, len(labels))

    def one_step(carry, _):
      state, metrics = carry
      batch = _batch(images, labels, order, state.step % per_epoch, size)
      state, update = train_step(state, *batch, config)
      return (state, metrics.merge(update)), None

    return jax.lax.scan(one_step, carry, length=steps)

  return jax.lax.scan(one_epoch, (state, metrics), length=epochs)[0]


@functools.partial(jax.jit, static_argnames=("config",))
def norms(
  state: TrainState, images: jax.Array, labels: jax.Array, *, config: FrozenConfigDict
) -> dict[str, jax.Array]:
  """Returns global norms, float32 []: of the parameters, and of a gradient and its update.

  The gradient is that of the first batch_size examples. A program of its own, run at evaluations,
  so that training steps do not pay for it.
  """
  batch = images[: config.batch_size], labels[: config.batch_size]
  g = gradient(state, *batch, config)
  updates, _ = _updates(state, g, *batch, config)
  return {
    "parameter_norm": optax.tree.norm(state.params),
    "gradient_norm": optax.tree.norm(g.grads),
    "update_norm": optax.tree.norm(updates),
  }


def evaluation_variables(state: TrainState, config: ConfigDict) -> dict[str, Any]:
  """Returns the variables to evaluate: the moving average if asked for, else the weights."""
  if config.ema.decay and config.ema.evaluate:
    return {"params": state.ema["params"], **state.ema["model_state"]}
  params = evaluation_params(config, state.params, state.opt_state)
  return {"params": params, **state.model_state}


@functools.partial(jax.jit, static_argnames=("config",))
def predict_logits(state: TrainState, images: jax.Array, *, config: FrozenConfigDict) -> jax.Array:
  """Returns the logits of every image, float32 [N, classes], for uint8 [N, H, W, C].

  Works in batches of config.eval_batch_size; the last one is padded, its padding cut off.
  """
  variables = evaluation_variables(state, config)
  size = min(config.eval_batch_size, len(images))
  rows = jnp.arange(-(-len(images) // size) * size).reshape(-1, size)

  def one_batch(_, rows):
    batch = _split_over_devices(images[jnp.minimum(rows, len(images) - 1)])
    return None, state.apply_fn(variables, batch)

  logits = jax.lax.scan(one_batch, None, rows)[1]
  return logits.reshape(-1, logits.shape[-1])[: len(images)]


@functools.partial(jax.jit, static_argnames=("config",))
def evaluate_and_predict(
  state: TrainState, images: jax.Array, labels: jax.Array, *, config: FrozenConfigDict
) -> tuple[EvalMetrics, jax.Array]:
  """Returns loss and accuracy over every example of a split, and the logits of `predict_logits`."""
  logits = predict_logits(state, images, config=config)
  loss = losses.configured(config.loss, logits, labels, state.scalars["label_smoothing"])
  correct = jnp.argmax(logits, -1) == labels
  return EvalMetrics.single_from_model_output(loss=loss, correct=correct), logits


@functools.partial(jax.jit, static_argnames=("config",))
def evaluate(
  state: TrainState, images: jax.Array, labels: jax.Array, *, config: FrozenConfigDict
) -> EvalMetrics:
  """Returns loss and accuracy over every example of a split."""
  return evaluate_and_predict(state, images, labels, config=config)[0]


@jax.jit
def snapshot(tree: Any) -> Any:
  """Returns a copy of the arrays, which outlives the donation of the original."""
  return jax.tree.map(jnp.copy, tree)


def create_mesh() -> jax.sharding.Mesh:
  """Returns the mesh of all devices along one axis, 'data'; for `jax.set_mesh`."""
  return jax.make_mesh((jax.device_count(),), ("data",), axis_types=(jax.sharding.AxisType.Auto,))


def replicated() -> jax.sharding.Sharding:
  """Returns the sharding of whatever every device of the current mesh holds in full."""
  return jax.sharding.NamedSharding(jax.sharding.get_mesh(), PartitionSpec())


def _split_over_devices(batch: Any) -> Any:
  """Lays the first axis of each array along the mesh's 'data' axis, where there is a mesh."""
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty or mesh.size == 1:
    return batch
  return jax.lax.with_sharding_constraint(batch, PartitionSpec("data"))
