"""Everything that a run has to remember, and how it begins.

All randomness follows from the seed in the state. The key of a draw is `fold_in` of the seed, of
what the draw is for, and of the step or epoch. So a state determines everything that comes after.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from flax.training import train_state
from ml_collections import ConfigDict

from mnist_mlp.config import duration, run_length
from mnist_mlp.core.model import create_model
from mnist_mlp.core.optimizer import create_optimizer, evaluation_params
from mnist_mlp.core.spec import DataSpec
from mnist_mlp.core.traced import Traced, traced

# What a random draw is for: the second argument of `random_key`.
PARAMS, ORDER, DROPOUT, AUGMENT = range(4)


class TrainState(train_state.TrainState):
  """The state of a run between two steps, as a pytree.

  Attributes beyond those of Flax (step int32 [], params, opt_state; apply_fn and tx are static):
    seed: uint32 [], the run's seed.
    scalars: float32 [] each, the names of `traced.SCALARS`.
    model_state: variables that are not trained: batch_stats, input_statistics.
    ema: moving averages of {'params', 'model_state'}; empty when config.ema.decay is 0.
    augment_until: static; training images are distorted before this step, and clean from it on.
  """

  seed: jax.Array
  scalars: dict[str, jax.Array]
  model_state: dict[str, Any]
  ema: dict[str, Any]
  augment_until: int = struct.field(pytree_node=False)


def random_key(seed: jax.Array, purpose: int, index: jax.Array | int = 0) -> jax.Array:
  """Returns the key of one draw: a function of the seed, its purpose, and the step or epoch."""
  return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), purpose), index)


def create_train_state(config: ConfigDict, spec: DataSpec) -> TrainState:
  """Returns the state before the first step of a validated config."""
  return jax.jit(initializer(config, spec))(traced(config))


def initializer(config: ConfigDict, spec: DataSpec) -> Callable[..., TrainState]:
  """Returns the function from traced values to the state before the first step.

  A second argument gives variables to begin with, 'params' and, if there are any, 'batch_stats',
  instead of drawing them. All other values are from `config`. The states that the function returns
  have equal static parts, so one compiled program serves them all.
  """
  model = create_model(config, spec.num_classes)
  tx = create_optimizer(config, run_length(config, spec.num_train))
  return functools.partial(_init, config, spec, (model, tx))


def _init(config, spec, static, values: Traced, variables: Any = None) -> TrainState:
  model, tx = static
  if variables is None:
    image = jnp.zeros((1, *spec.image_shape), jnp.uint8)
    variables = model.init(random_key(values.seed, PARAMS), image)
  variables = dict(variables)
  params = variables.pop("params")
  if config.model.inputs == "standardized":
    variables["input_statistics"] = {
      "mean": jnp.float32(spec.pixel_mean),
      "std": jnp.float32(spec.pixel_std),
    }
  length = run_length(config, spec.num_train)
  # The first state must hold the traced numbers; `tx` holds those of the config.
  own_tx = create_optimizer(config, length, values.hyperparameters)
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    apply_fn=model.apply,
    params=params,
    tx=tx,
    opt_state=own_tx.init(params),
    seed=values.seed,
    scalars=values.scalars,
    model_state=variables,
    ema={"params": params, "model_state": variables} if config.ema.decay else {},
    augment_until=length.total_steps - duration(config.augment, "clean", length.steps_per_epoch),
  )


def evaluation_variables(state: TrainState, config: ConfigDict) -> dict[str, Any]:
  """Returns the variables to evaluate: the moving average if the config says so, or the weights."""
  if config.ema.decay and config.ema.evaluate:
    return {"params": state.ema["params"], **state.ema["model_state"]}
  params = evaluation_params(config, state.params, state.opt_state)
  return {"params": params, **state.model_state}


def num_weights(params: Any) -> int:
  """Returns how many numbers are trained."""
  return sum(leaf.size for leaf in jax.tree.leaves(params))


@jax.jit
def snapshot(tree: Any) -> Any:
  """Returns a copy of the arrays: training reuses the memory of the original (donation)."""
  return jax.tree.map(jnp.copy, tree)
