"""Losses against their formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from mnist_mlp import config
from mnist_mlp.core import losses

RNG = np.random.RandomState(0)
LOGITS = RNG.normal(0, 3, (7, 5)).astype(np.float32)
LABELS = RNG.randint(0, 5, 7).astype(np.int32)


def options(**changes):
  """Returns config.loss with some fields changed."""
  section = config.default().loss
  section.update(changes)
  return section


FORMULAS = {
  "softmax_cross_entropy": lambda z, t: -(t * scipy.special.log_softmax(z, axis=-1)).sum(-1),
  "sigmoid_cross_entropy": lambda z, t: (
    -(t * np.log(scipy.special.expit(z)) + (1 - t) * np.log(scipy.special.expit(-z))).sum(-1)
  ),
  "squared_error": lambda z, t: ((z - t) ** 2).sum(-1),
}


@pytest.mark.parametrize("mean_over_classes", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("name", losses.LOSSES)
def test_loss_equals_its_formula(name, smoothing, mean_over_classes):
  targets = np.full((7, 5), smoothing / 5)
  targets[np.arange(7), LABELS] += 1 - smoothing
  expected = FORMULAS[name](LOGITS.astype(np.float64), targets) / (5 if mean_over_classes else 1)
  section = options(name=name, mean_over_classes=mean_over_classes)
  loss = losses.per_example(section, LOGITS, LABELS, smoothing)
  assert loss.dtype == jnp.float32
  np.testing.assert_allclose(loss, expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["softmax_cross_entropy", "sigmoid_cross_entropy"])
def test_extreme_logits_stay_finite(name):
  logits = jnp.array([[1e4, -1e4, 0.0]])
  section = options(name=name)

  def loss_of(logits):
    return losses.per_example(section, logits, jnp.array([1]), 0.0).sum()

  loss, grads = jax.jit(jax.value_and_grad(loss_of))(logits)
  np.testing.assert_allclose(loss, 2e4, rtol=0.6)
  assert np.isfinite(grads).all()


def test_label_smoothing_may_be_traced():
  traced = jax.jit(lambda smoothing: losses.per_example(options(), LOGITS, LABELS, smoothing))
  np.testing.assert_allclose(
    traced(0.3), losses.per_example(options(), LOGITS, LABELS, 0.3), rtol=1e-6
  )


def test_l2_penalty_counts_kernels_alone_and_its_gradient_is_strength_times_them():
  params = {
    "Dense_0": {"kernel": RNG.normal(size=(3, 4)), "bias": RNG.normal(size=4)},
    "BatchNorm_0": {"scale": RNG.normal(size=4), "bias": RNG.normal(size=4)},
    "Dense_1": {"kernel": RNG.normal(size=(4, 2)), "bias": RNG.normal(size=2)},
  }
  kernels = [params[name]["kernel"] for name in ("Dense_0", "Dense_1")]
  value, grads = jax.jit(jax.value_and_grad(losses.l2_penalty))(params, 0.03)
  np.testing.assert_allclose(value, 0.03 / 2 * sum((k**2).sum() for k in kernels), rtol=1e-5)
  for name in ("Dense_0", "Dense_1"):
    np.testing.assert_allclose(grads[name]["kernel"], 0.03 * params[name]["kernel"], rtol=1e-5)
    assert not grads[name]["bias"].any()
  assert not grads["BatchNorm_0"]["scale"].any()


def test_clipped_probabilities_have_no_gradient():
  logits = jnp.array([[20.0, 0.0, 0.0], [0.0, 20.0, 0.0], [1.0, 0.0, 0.0]])

  def loss(logits):
    clipped = options(smallest_probability=1e-7)
    return losses.per_example(clipped, logits, jnp.zeros(3, jnp.int32), 0.0)

  exact = losses.per_example(options(), logits, jnp.zeros(3, jnp.int32), 0.0)
  np.testing.assert_allclose(jax.jit(loss)(logits), [1e-7, -np.log(1e-7), exact[2]], rtol=1e-2)
  slopes = jax.jit(jax.grad(lambda logits: loss(logits).sum()))(logits)
  assert np.abs(slopes[:2]).max() == 0 < np.abs(slopes[2]).min()
