"""The loss of each example, and the L2 penalty."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from mnist_mlp.core.lookup import lookup

# From logits and targets, float32 [batch, classes], to losses, float32 [batch], which sum over the
# classes. The cross-entropies are in nats.
LOSSES = {
  "softmax_cross_entropy": optax.softmax_cross_entropy,
  "sigmoid_cross_entropy": lambda logits, targets: optax.sigmoid_binary_cross_entropy(
    logits, targets
  ).sum(-1),
  "squared_error": lambda logits, targets: optax.squared_error(logits, targets).sum(-1),
}


def per_example(
  config: ConfigDict, logits: jax.Array, labels: jax.Array, label_smoothing: jax.Array | float
) -> jax.Array:
  """Returns the loss of each example, float32 [batch].

  Args:
    config: `config.loss`. Its `label_smoothing` is not read.
    logits: float32 [batch, classes].
    labels: int32 [batch], in 0..classes - 1.
    label_smoothing: share of the target that is spread evenly over all classes; may be traced
      (Szegedy et al., "Rethinking the Inception architecture", 2016, section 7).
  """
  num_classes = logits.shape[-1]
  targets = optax.smooth_labels(jax.nn.one_hot(labels, num_classes), label_smoothing)
  if config.smallest_probability:
    loss = _clipped_cross_entropy(logits, targets, config.smallest_probability)
  else:
    loss = lookup(LOSSES, "loss.name", config.name)(logits, targets)
  return loss / num_classes if config.mean_over_classes else loss


def _clipped_cross_entropy(logits: jax.Array, targets: jax.Array, smallest: float) -> jax.Array:
  """Softmax cross-entropy of probabilities that are clipped to [smallest, 1 - smallest].

  A clipped probability has no gradient. So an example whose class is given less than `smallest` no
  longer teaches the net, unless other examples raise that probability again.
  """
  bounds = math.log(smallest), math.log1p(-smallest)
  return -(targets * jnp.clip(jax.nn.log_softmax(logits), *bounds)).sum(-1)


def l2_penalty(params: Any, strength: jax.Array | float) -> jax.Array:
  """Returns strength / 2 * the sum of squares of all kernels, not of biases and norms."""
  kernels = [leaf for leaf in jax.tree.leaves(params) if leaf.ndim >= 2]
  return 0.5 * strength * jnp.asarray(sum(jnp.vdot(kernel, kernel) for kernel in kernels))
