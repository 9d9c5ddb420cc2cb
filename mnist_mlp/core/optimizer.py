"""Optax chains and schedules from the config, with the numbers that a sweep varies injected.

Every scalar of `config.optimizer` becomes an entry of the optimizer state (through
`optax.inject_hyperparams`) rather than a constant of the program: runs that differ only in them
share one compiled program, and a population holds one value for each member. The schedule is a
shape between 0 and 1, so that the peak learning rate stays such a scalar.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from mnist_mlp.config import duration

# The scalars of config.optimizer that are injected.
HYPERPARAMETERS = (
  "learning_rate",
  "weight_decay",
  "momentum",
  "b1",
  "b2",
  "eps",
  "rms_decay",
  "clip_norm",
)

_DECAYED = ("adamw", "nadamw", "lion", "lamb", "muon", "schedule_free")


def create_schedule(config: ConfigDict, total_steps: int, steps_per_epoch: int) -> optax.Schedule:
  """Returns the schedule's shape: step (int) -> learning rate over its peak, in [0, 1].

  constant, step and exponential follow a linear warm-up; cosine is `warmup_cosine_decay_schedule`;
  one_cycle is Smith & Topin 2017 with cosine slopes, rising for the warm-up (30% of the steps if
  none is given) from 1/25 of the peak.
  """
  c = config.schedule
  warmup = min(duration(c, "warmup", steps_per_epoch), total_steps - 1)
  every = max(1, duration(c, "decay_every", steps_per_epoch))  # 0 where no decay is asked for
  if c.name == "cosine":
    return optax.warmup_cosine_decay_schedule(
      0.0 if warmup else 1.0, 1.0, warmup, max(total_steps, 1), c.final_scale
    )
  if c.name == "one_cycle":
    return optax.cosine_onecycle_schedule(
      # Optax rounds the share down to steps: half a step more keeps it from losing one.
      total_steps,
      1.0,
      pct_start=(warmup + 0.5) / total_steps if warmup else 0.3,
    )
  shapes = {
    "constant": optax.constant_schedule(1.0),
    "step": optax.exponential_decay(1.0, every, c.decay_rate, staircase=True),
    "exponential": optax.exponential_decay(1.0, every, c.decay_rate),
  }
  if not warmup:
    return shapes[c.name]
  return optax.join_schedules([optax.linear_schedule(0.0, 1.0, warmup), shapes[c.name]], [warmup])


def create_optimizer(
  config: ConfigDict,
  total_steps: int,
  steps_per_epoch: int,
  hyperparameters: Mapping[str, jax.Array] | None = None,
) -> optax.GradientTransformationExtraArgs:
  """Returns the optimizer that `config.optimizer` and `config.schedule` describe.

  Its state's `hyperparams` maps each name of HYPERPARAMETERS to a float32 scalar: the config's, or
  those given, which may be traced. Its `update` takes value, grad and value_fn besides, which only
  lbfgs uses.
  """
  scalars = hyperparameters or {name: float(config.optimizer[name]) for name in HYPERPARAMETERS}
  return optax.inject_hyperparams(_chain, static_args=("config", "shape"))(
    config=config.optimizer, shape=create_schedule(config, total_steps, steps_per_epoch), **scalars
  )


def _chain(
  config, shape, learning_rate, weight_decay, momentum, b1, b2, eps, rms_decay, clip_norm
) -> optax.GradientTransformation:
  """Returns the chain for scalars that may be traced; `config` and `shape` are static."""
  if config.name == "lbfgs":
    return optax.lbfgs(memory_size=config.memory_size)

  def rate(step):
    return learning_rate * shape(step)

  decay = (
    optax.add_decayed_weights(weight_decay, mask=_kernels)
    if config.name in _DECAYED or config.weight_decay
    else optax.identity()
  )
  step = optax.scale_by_learning_rate(rate)
  adam = optax.scale_by_adam(b1, b2, eps)
  # The second moment alone: schedule_free interpolates where Adam has its first moment.
  rms = optax.scale_by_rms(b2, eps, eps_in_sqrt=False, bias_correction=True)
  chains = {
    "sgd": lambda: (decay, step),
    "momentum": lambda: (optax.trace(momentum), decay, step),
    "nesterov": lambda: (optax.trace(momentum, nesterov=True), decay, step),
    "adam": lambda: (adam, decay, step),
    "adamw": lambda: (adam, decay, step),
    "nadamw": lambda: (optax.scale_by_adam(b1, b2, eps, nesterov=True), decay, step),
    "rmsprop": lambda: (optax.scale_by_rms(rms_decay, eps), decay, step),
    "adagrad": lambda: (optax.scale_by_rss(eps=eps), decay, step),
    "lion": lambda: (optax.scale_by_lion(b1, b2), decay, step),
    "lamb": lambda: (adam, decay, optax.scale_by_trust_ratio(), step),
    "muon": lambda: (
      optax.contrib.muon(
        rate,
        beta=momentum,
        weight_decay=weight_decay,
        weight_decay_mask=_kernels,
        adam_b1=b1,
        adam_b2=b2,
      ),
    ),
    "schedule_free": lambda: (
      optax.contrib.schedule_free(optax.chain(rms, decay, step), rate, b1),
    ),
  }
  clip = (optax.clip_by_global_norm(clip_norm),) if config.clip_norm else ()
  return optax.chain(*clip, *chains[config.name]())


def _kernels(params: Any) -> Any:
  return jax.tree.map(lambda leaf: leaf.ndim >= 2, params)


def evaluation_params(config: ConfigDict, params: Any, opt_state: Any) -> Any:
  """Returns the parameters to evaluate: schedule_free's averaged sequence, else `params`."""
  if config.optimizer.name != "schedule_free":
    return params
  return optax.contrib.schedule_free_eval_params(opt_state.inner_state[-1], params)


def project_max_norm(params: Any, largest: float) -> Any:
  """Scales down the incoming weights of every unit whose norm exceeds `largest`.

  Kernels are float32 [inputs, units]; Srivastava et al. 2014, section 5.1.
  """

  def project(leaf):
    if leaf.ndim < 2:
      return leaf
    norms = jnp.linalg.norm(leaf, axis=0, keepdims=True)
    return leaf * jnp.minimum(1.0, largest / jnp.maximum(norms, 1e-12))

  return jax.tree.map(project, params)
