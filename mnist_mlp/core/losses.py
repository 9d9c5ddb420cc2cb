"""Losses per example, and the L2 penalty."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

LOSSES = {
  "softmax_cross_entropy": optax.softmax_cross_entropy,
  "sigmoid_cross_entropy": lambda logits, targets: optax.sigmoid_binary_cross_entropy(
    logits, targets
  ).sum(-1),
  "squared_error": lambda logits, targets: optax.squared_error(logits, targets).sum(-1),
}


def per_example(
  name: str,
  logits: jax.Array,
  labels: jax.Array,
  label_smoothing: jax.Array | float = 0.0,
  mean_over_classes: bool = False,
  smallest_probability: float = 0.0,
) -> jax.Array:
  """Returns the loss of each example, float32 [batch].

  Args:
    name: a key of LOSSES; the cross-entropies are in nats, and all sum over the classes.
    logits: float32 [batch, classes].
    labels: int32 [batch], in 0..classes - 1.
    label_smoothing: share of the one-hot target that is spread evenly over all classes
      (Szegedy et al. 2016, section 7).
    mean_over_classes: divides by the number of classes.
    smallest_probability: of softmax_cross_entropy; clips probabilities to it, and to 1 minus it.
      What is clipped has no gradient: the worst mistakes are given up, unless others take them
      along. 0 is off.
  """
  num_classes = logits.shape[-1]
  targets = optax.smooth_labels(jax.nn.one_hot(labels, num_classes), label_smoothing)
  if smallest_probability:
    bounds = math.log(smallest_probability), math.log1p(-smallest_probability)
    loss = -(targets * jnp.clip(jax.nn.log_softmax(logits), *bounds)).sum(-1)
  else:
    loss = LOSSES[name](logits, targets)
  return loss / num_classes if mean_over_classes else loss


def configured(
  config: ConfigDict, logits: jax.Array, labels: jax.Array, label_smoothing: jax.Array | float
) -> jax.Array:
  """Returns `per_example` as `config.loss` has it, but for the smoothing, which may be traced."""
  return per_example(
    config.name,
    logits,
    labels,
    label_smoothing,
    config.mean_over_classes,
    config.smallest_probability,
  )


def l2_penalty(params: Any, strength: jax.Array | float) -> jax.Array:
  """Returns strength / 2 * the sum of squares of all kernels (biases and norms are free)."""
  kernels = [leaf for leaf in jax.tree.leaves(params) if leaf.ndim >= 2]
  return 0.5 * strength * sum(jnp.vdot(kernel, kernel) for kernel in kernels)
