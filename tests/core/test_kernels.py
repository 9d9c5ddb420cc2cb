"""Products and dropout of our own against plain ones."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mnist_mlp.core import kernels


def normal(*shapes):
  return [jax.random.normal(jax.random.key(i), shape) for i, shape in enumerate(shapes)]


def value_and_gradients(product, x, kernel, weights):
  """Returns a weighted sum of the product's entries, and its gradients by x and kernel."""

  def weighted(x, kernel):
    return jnp.vdot(weights, product(x, kernel))

  return jax.jit(jax.value_and_grad(weighted, (0, 1)))(x, kernel)


def test_narrow_product_has_the_gradients_of_a_plain_product(monkeypatch):
  monkeypatch.setattr(kernels, "_on_cpu", lambda: True)
  arguments = normal((7, 5), (5, 3), (7, 3))
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=1e-5),
    value_and_gradients(kernels.narrow_product(), *arguments),
    value_and_gradients(jnp.matmul, *arguments),
  )


def test_a_narrow_product_is_of_our_own_on_a_cpu_alone(monkeypatch):
  monkeypatch.setattr(kernels, "_on_cpu", lambda: False)
  assert kernels.narrow_product() is None


def test_products_are_called_as_flax_calls_them():
  x, kernel = normal((7, 5), (5, 3))
  for product in (kernels._narrow_product, kernels.low_precision_product("bfloat16")):
    dimensions = (((1,), (0,)), ((), ()))
    called = product(x, kernel, dimensions, precision=None, preferred_element_type=None)
    np.testing.assert_array_equal(called, product(x, kernel))


@pytest.mark.parametrize("on_cpu", [True, False])
def test_a_low_precision_product_rounds_its_factors_and_those_of_its_gradients(on_cpu, monkeypatch):
  monkeypatch.setattr(kernels, "_on_cpu", lambda: on_cpu)
  x, kernel, slopes = normal((64, 48), (48, 32), (64, 32))
  product = kernels.low_precision_product("bfloat16")
  y, pullback = jax.vjp(jax.jit(product), x, kernel)
  rounded = [np.asarray(a.astype(jnp.bfloat16).astype(jnp.float32)) for a in (x, kernel, slopes)]
  np.testing.assert_allclose(y, rounded[0] @ rounded[1], rtol=1e-4, atol=1e-4)
  for ours, exact in zip(
    pullback(slopes), (rounded[2] @ rounded[1].T, rounded[0].T @ rounded[2]), strict=True
  ):
    assert ours.dtype == jnp.float32
    np.testing.assert_allclose(ours, exact, rtol=1e-4, atol=1e-4)


def test_a_low_precision_product_of_numbers_that_round_to_themselves_is_a_plain_one():
  x, kernel, weights = (jnp.round(array * 4) for array in normal((7, 5), (5, 3), (7, 3)))
  jax.tree.map(
    np.testing.assert_array_equal,
    value_and_gradients(kernels.low_precision_product("bfloat16"), x, kernel, weights),
    value_and_gradients(jnp.matmul, x, kernel, weights),
  )


def test_float32_factors_take_the_product_of_flax():
  assert kernels.low_precision_product("float32") is None


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_dropout_drops_its_share_and_preserves_the_mean(rate):
  x = jnp.full((500, 400), 2.0)
  y = np.asarray(kernels.dropout(jax.random.key(1), x, rate))
  deviation = 5 * (rate * (1 - rate) / x.size) ** 0.5
  assert abs((y == 0).mean() - rate) < deviation
  np.testing.assert_allclose(y[y != 0], 2 / (1 - rate), rtol=1e-6)
  np.testing.assert_allclose(y.mean(), 2.0, rtol=3 * deviation / (1 - rate))
  # Each unit of each example by itself.
  assert np.std((y == 0).mean(0)) < 2 * (rate * (1 - rate) / 500) ** 0.5
  assert np.std((y == 0).mean(1)) < 2 * (rate * (1 - rate) / 400) ** 0.5


def test_traced_dropout_rate_equals_a_constant_one():
  x = jax.random.normal(jax.random.key(0), (64, 64))
  key = jax.random.key(1)
  for rate in (0.0, 0.2, 0.5):
    constant = jax.jit(lambda x, rate=rate: kernels.dropout(key, x, rate))(x)
    traced = jax.jit(lambda x, rate: kernels.dropout(key, x, rate))(x, np.float32(rate))
    np.testing.assert_array_equal(constant == 0, traced == 0)
    np.testing.assert_allclose(constant, traced, rtol=1e-6)
  np.testing.assert_array_equal(kernels.dropout(key, x, 0.0), x)


def test_dropout_keeps_the_dtype():
  ones = jnp.ones(9, jnp.bfloat16)
  assert kernels.dropout(jax.random.key(0), ones, 0.5).dtype == jnp.bfloat16
  traced = jax.jit(kernels.dropout)(jax.random.key(0), ones, jnp.float32(0.5))
  assert traced.dtype == jnp.bfloat16
