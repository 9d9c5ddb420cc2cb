"""What logits say of probabilities, whatever loss they were trained with."""

import jax
import jax.numpy as jnp
import optax

# From logits to the logarithms of probabilities, up to a constant: those of one example sum to 1.
# Any other loss takes the logits themselves, as a softmax does.
_LOG_PROBABILITIES = {
  "sigmoid_cross_entropy": jax.nn.log_sigmoid,
  "squared_error": lambda logits: jnp.log(jnp.maximum(logits, 1e-6)),  # Its logits estimate them.
}


def log_probabilities(loss_name: str, logits: jax.typing.ArrayLike) -> jax.Array:
  """Returns logarithms of probabilities, up to a constant for each example, float32 [N, classes].

  Args:
    loss_name: `config.loss.name`, which says how probabilities follow from logits.
    logits: float32 [N, classes].
  """
  return _LOG_PROBABILITIES.get(loss_name, lambda logits: logits)(logits)


@jax.jit
def probabilities(
  log_probabilities: jax.typing.ArrayLike, inverse_temperature: jax.typing.ArrayLike = 1.0
) -> jax.Array:
  """Returns the softmax of scores that are divided by a temperature, float32 [N, classes].

  A temperature below 1 makes a net surer. It never changes which class is the likeliest.

  Args:
    log_probabilities: float32 [N, classes], up to a constant for each example.
    inverse_temperature: float32 [], above 0.
  """
  return jax.nn.softmax(log_probabilities * inverse_temperature)


def cross_entropy(log_probabilities: jax.Array, labels: jax.Array) -> jax.Array:
  """Returns minus the logarithm of the probability of each example's class, float32 [N], in nats.

  Args:
    log_probabilities: float32 [N, classes], up to a constant for each example.
    labels: int32 [N], in 0..classes - 1.
  """
  return optax.softmax_cross_entropy_with_integer_labels(log_probabilities, labels)
