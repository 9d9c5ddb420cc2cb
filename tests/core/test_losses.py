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

FORMULAS = {
  "softmax_cross_entropy": lambda z, t: -(t * scipy.special.log_softmax(z, axis=-1)).sum(-1),
  "sigmoid_cross_entropy": lambda z, t: (
    -(t * np.log(scipy.special.expit(z)) + (1 - t) * np.log(scipy.special.expit(-z))).sum(-1)
  ),
  "squared_error": lambda z, t: ((z - t) ** 2).sum(-1),
}


@pytest.mark.parametrize("mean_over_classes", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("name", config.LOSSES)
def test_loss_equals_its_formula(name, smoothing, mean_over_classes):
  targets = np.full((7, 5), smoothing / 5)
  targets[np.arange(7), LABELS] += 1 - smoothing
  expected = FORMULAS[name](LOGITS.astype(np.float64), targets) / (5 if mean_over_classes else 1)
  loss = losses.per_example(name, LOGITS, LABELS, smoothing, mean_over_classes)
  assert loss.dtype == jnp.float32
  np.testing.assert_allclose(loss, expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["softmax_cross_entropy", "sigmoid_cross_entropy"])
def test_extreme_logits_stay_finite(name):
  logits = jnp.array([[1e4, -1e4, 0.0]])
  loss, grads = jax.value_and_grad(lambda z: losses.per_example(name, z, jnp.array([1])).sum())(
    logits
  )
  np.testing.assert_allclose(loss, 2e4, rtol=0.6)
  assert np.isfinite(grads).all()


def test_label_smoothing_may_be_traced():
  traced = jax.jit(lambda s: losses.per_example("softmax_cross_entropy", LOGITS, LABELS, s))
  np.testing.assert_allclose(
    traced(0.3), losses.per_example("softmax_cross_entropy", LOGITS, LABELS, 0.3), rtol=1e-6
  )


def test_l2_penalty_counts_kernels_alone_and_its_gradient_is_strength_times_them():
  params = {
    "Dense_0": {"kernel": RNG.normal(size=(3, 4)), "bias": RNG.normal(size=4)},
    "BatchNorm_0": {"scale": RNG.normal(size=4), "bias": RNG.normal(size=4)},
    "Dense_1": {"kernel": RNG.normal(size=(4, 2)), "bias": RNG.normal(size=2)},
  }
  kernels = [params[name]["kernel"] for name in ("Dense_0", "Dense_1")]
  value, grads = jax.value_and_grad(losses.l2_penalty)(jax.tree.map(jnp.asarray, params), 0.03)
  np.testing.assert_allclose(value, 0.03 / 2 * sum((k**2).sum() for k in kernels), rtol=1e-5)
  for name in ("Dense_0", "Dense_1"):
    np.testing.assert_allclose(grads[name]["kernel"], 0.03 * params[name]["kernel"], rtol=1e-5)
    assert not grads[name]["bias"].any()
  assert not grads["BatchNorm_0"]["scale"].any()


def test_clipped_probabilities_have_no_gradient():
  logits = jnp.array([[20.0, 0.0, 0.0], [0.0, 20.0, 0.0], [1.0, 0.0, 0.0]])

  def loss(logits):
    return losses.per_example(
      "softmax_cross_entropy", logits, jnp.zeros(3, jnp.int32), smallest_probability=1e-7
    )

  exact = losses.per_example("softmax_cross_entropy", logits, jnp.zeros(3, jnp.int32))
  np.testing.assert_allclose(loss(logits), [1e-7, -np.log(1e-7), exact[2]], rtol=1e-2)
  slopes = jax.grad(lambda logits: loss(logits).sum())(logits)
  assert np.abs(slopes[:2]).max() == 0 < np.abs(slopes[2]).min()
