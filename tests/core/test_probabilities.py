"""What logits say of probabilities."""

import jax
import numpy as np
import pytest
import scipy.special
from test_losses import LABELS, LOGITS

from mnist_mlp.core import losses
from mnist_mlp.core.probabilities import cross_entropy, log_probabilities

PROBABILITIES = {
  "softmax_cross_entropy": lambda z: scipy.special.softmax(z, axis=-1),
  "sigmoid_cross_entropy": scipy.special.expit,
  "squared_error": lambda z: np.maximum(z, 1e-6),
}


def of_loss(name, logits, labels):
  """Returns the cross-entropy of logits that were trained with a loss."""
  return cross_entropy(log_probabilities(name, logits), labels)


@pytest.mark.parametrize("name", losses.LOSSES)
def test_cross_entropy_is_that_of_probabilities_that_sum_to_one(name):
  scores = PROBABILITIES[name](LOGITS.astype(np.float64))
  expected = -np.log((scores / scores.sum(-1, keepdims=True))[np.arange(len(LABELS)), LABELS])
  found = jax.jit(of_loss, static_argnums=0)(name, LOGITS, LABELS)
  assert found.dtype == np.float32
  np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("name", losses.LOSSES)
def test_cross_entropy_of_extreme_logits_is_finite(name):
  logits = np.float32([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4]])
  assert np.isfinite(of_loss(name, logits, np.int32([1, 1]))).all()
