"""What logits say of probabilities, whatever loss they were trained with."""

import jax
import jax.numpy as jnp
import optax

# From logits to the logarithms of probabilities, up to a constant: those of one example sum to 1.
_LOG_PROBABILITIES = {
  "softmax_cross_entropy": lambda logits: logits,
  "sigmoid_cross_entropy": jax.nn.log_sigmoid,
  "squared_error": lambda logits: jnp.log(jnp.maximum(logits, 1e-6)),  # Its logits estimate them.
}


def log_scores(loss_name: str, logits: jax.typing.ArrayLike) -> jax.Array:
  """Returns the logarithms of probabilities, float32 [N, classes], up to a constant per example.

  The softmax of these scores are the probabilities.

  Args:
    loss_name: `config.loss.name`, which says how probabilities follow from logits.
    logits: float32 [N, classes].
  """
  return _LOG_PROBABILITIES[loss_name](logits)


def cross_entropy(loss_name: str, logits: jax.Array, labels: jax.Array) -> jax.Array:
  """Returns minus the logarithm of the probability of each example's class, float32 [N], in nats.

  Unlike the loss, it has no smoothed labels, no clipped probabilities and no factors. So runs that
  differ in these can be compared.

  Args:
    loss_name: `config.loss.name`, which says how probabilities follow from logits.
    logits: float32 [N, classes].
    labels: int32 [N], in 0..classes - 1.
  """
  log_probabilities = _LOG_PROBABILITIES[loss_name](logits)
  return optax.softmax_cross_entropy_with_integer_labels(log_probabilities, labels)
