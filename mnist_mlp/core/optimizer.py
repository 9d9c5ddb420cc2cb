"""Optimizers, made of Optax's parts.

`optax.inject_hyperparams` makes the numbers in `traced.Hyperparameters` entries of the optimizer's
state, not constants of the program. The schedule is a shape between 0 and 1, so that the peak
learning rate remains such a number.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict
from optax import GradientTransformation, GradientTransformationExtraArgs

from mnist_mlp.choices import is_reference
from mnist_mlp.config import Length
from mnist_mlp.core.lookup import call, lookup
from mnist_mlp.core.schedule import create_schedule
from mnist_mlp.core.traced import HYPERPARAMETERS, Hyperparameters


class Parts(NamedTuple):
  """What optimizers are made of. The numbers may be traced."""

  h: Hyperparameters
  rate: Callable[[Any], Any]  # step -> learning rate
  adam: GradientTransformation  # Kingma & Ba, "Adam", 2015
  decay: GradientTransformation  # decoupled weight decay of the kernels
  descend: GradientTransformation  # multiplies by minus the learning rate
  memory_size: int  # never traced


# Each optimizer is a chain of these parts, in this order, or a transformation of its own.
OPTIMIZERS: dict[str, Callable[[Parts], tuple[GradientTransformation, ...]]] = {
  "sgd": lambda p: (p.decay, p.descend),
  "momentum": lambda p: (optax.trace(p.h.momentum), p.decay, p.descend),
  "nesterov": lambda p: (optax.trace(p.h.momentum, nesterov=True), p.decay, p.descend),
  "adam": lambda p: (p.adam, p.decay, p.descend),
  "adamw": lambda p: (p.adam, p.decay, p.descend),
  "nadamw": lambda p: (_nesterov_adam(p.h), p.decay, p.descend),
  "rmsprop": lambda p: (optax.scale_by_rms(p.h.rms_decay, p.h.eps), p.decay, p.descend),
  "adagrad": lambda p: (optax.scale_by_rss(eps=p.h.eps), p.decay, p.descend),
  "lion": lambda p: (optax.scale_by_lion(p.h.b1, p.h.b2), p.decay, p.descend),
  "lamb": lambda p: (p.adam, p.decay, optax.scale_by_trust_ratio(), p.descend),
  "muon": lambda p: (_muon(p),),
  "lbfgs": lambda p: optax.lbfgs(memory_size=p.memory_size),
  "schedule_free": lambda p: (_schedule_free(p),),
}

# These have weight decay in their chain even if it is 0, as their authors describe them. The others
# have it only if the config asks for it.
_DECAYED = ("adamw", "nadamw", "lion", "lamb", "muon", "schedule_free")


def create_optimizer(
  config: ConfigDict, length: Length, hyperparameters: Mapping[str, Any] | None = None
) -> GradientTransformationExtraArgs:
  """Returns the optimizer that `config.optimizer` and `config.schedule` describe.

  Its `update` also takes value, grad and value_fn, which only lbfgs uses.

  Args:
    config: the whole config.
    length: of the run, for the schedule.
    hyperparameters: the numbers that the state starts with, float32 [] by the names of
      HYPERPARAMETERS, may be traced. By default they are the config's.
  """
  numbers = hyperparameters or {name: float(config.optimizer[name]) for name in HYPERPARAMETERS}
  create = optax.inject_hyperparams(_transformation, static_args=("config", "shape"))
  return create(config=config.optimizer, shape=create_schedule(config, length), **numbers)


def _transformation(
  config, shape, learning_rate, weight_decay, momentum, b1, b2, eps, rms_decay, clip_norm
) -> GradientTransformation:
  """Returns the optimizer for numbers that may be traced. Optax passes them by their names."""
  h = Hyperparameters(learning_rate, weight_decay, momentum, b1, b2, eps, rms_decay, clip_norm)
  decays = config.name in _DECAYED or config.weight_decay
  rate = functools.partial(_rate, h.learning_rate, shape)
  parts = Parts(
    h=h,
    rate=rate,
    adam=optax.scale_by_adam(h.b1, h.b2, h.eps),
    decay=optax.add_decayed_weights(h.weight_decay, _kernels) if decays else optax.identity(),
    descend=optax.scale_by_learning_rate(rate),
    memory_size=config.memory_size,
  )
  make = lookup(OPTIMIZERS, "optimizer.name", config.name)
  if is_reference(config.name):  # Like Optax's own, it takes numbers by their names.
    made = call(make, "optimizer.name", config.name, {**h._asdict(), "learning_rate": rate})
  else:
    made = make(parts)
  clip = (optax.clip_by_global_norm(h.clip_norm),) if config.clip_norm else ()
  whole = isinstance(made, GradientTransformation)
  if whole and not clip:
    return made
  return optax.chain(*clip, *((made,) if whole else made))


def _rate(peak: Any, shape: optax.Schedule, step: Any) -> Any:
  return peak * shape(step)


def _nesterov_adam(h: Hyperparameters) -> GradientTransformation:
  """Dozat, "Incorporating Nesterov momentum into Adam", 2016."""
  return optax.scale_by_adam(h.b1, h.b2, h.eps, nesterov=True)


def _muon(p: Parts) -> GradientTransformation:
  """Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024."""
  return optax.contrib.muon(
    p.rate,
    beta=p.h.momentum,
    weight_decay=p.h.weight_decay,
    weight_decay_mask=_kernels,
    adam_b1=p.h.b1,
    adam_b2=p.h.b2,
  )


def _schedule_free(p: Parts) -> GradientTransformation:
  """Defazio et al., "The road less scheduled", 2024, around Adam without its first moment."""
  rms = optax.scale_by_rms(p.h.b2, p.h.eps, eps_in_sqrt=False, bias_correction=True)
  return optax.contrib.schedule_free(optax.chain(rms, p.decay, p.descend), p.rate, p.h.b1)


def _kernels(params: Any) -> Any:
  return jax.tree.map(lambda leaf: leaf.ndim >= 2, params)


def evaluation_params(config: ConfigDict, params: Any, opt_state: Any) -> Any:
  """Returns the parameters to evaluate: schedule_free's averaged sequence, else `params`."""
  if config.optimizer.name != "schedule_free":
    return params
  return optax.contrib.schedule_free_eval_params(opt_state.inner_state[-1], params)


def project_max_norm(params: Any, largest: float) -> Any:
  """Scales down the incoming weights of every unit whose norm exceeds `largest`.

  Srivastava et al., "Dropout", 2014, section 5.1. Kernels are float32 [..., units].
  """
  return jax.tree.map(functools.partial(_project_kernel, largest), params)


def _project_kernel(largest: float, leaf: jax.Array) -> jax.Array:
  if leaf.ndim < 2:
    return leaf
  norms = jnp.linalg.norm(leaf.reshape(-1, leaf.shape[-1]), axis=0)
  return leaf * jnp.minimum(1.0, largest / jnp.maximum(norms, 1e-12))
