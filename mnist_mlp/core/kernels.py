"""What XLA would compute slowly if it were written plainly: products, dropout, loops of steps.

Each function says what it gains, where, and when it can go. What helps only a CPU is used only
there. docs/performance_details.md has the measurements.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn


def _on_cpu() -> bool:
  return jax.default_backend() == "cpu"


# The last layer's product.


def narrow_product() -> Callable[..., jax.Array] | None:
  """Returns the `dot_general` of nn.Dense for a layer with few units, such as the ten classes.

  XLA on a CPU takes ten times as long for `x.T @ gradient` with ten columns as for its transpose,
  `gradient.T @ x`. That is a tenth of a training step of the reference net. A barrier keeps XLA
  from merging the transpose back into the product. On other devices None is returned, which means
  nn.Dense's own product.

  It can go when XLA's CPU backend multiplies narrow matrices as fast as wide ones: replace it by
  None, and run `python scripts/benchmark.py --only=epoch`.
  """
  return _narrow_product if _on_cpu() else None


def _narrow_product(x: jax.Array, kernel: jax.Array, *_: Any, **__: Any) -> jax.Array:
  """Returns x [batch, inputs] @ kernel [inputs, outputs]; nn.Dense passes more, the defaults."""
  return _product(x, kernel)


@jax.custom_vjp
def _product(x: jax.Array, kernel: jax.Array) -> jax.Array:
  return x @ kernel


def _product_forward(x, kernel):
  return x @ kernel, (x, kernel)


def _product_backward(inputs, gradient):
  x, kernel = inputs
  transposed = jax.lax.optimization_barrier(gradient.T @ x)
  return gradient @ kernel.T, transposed.T


_product.defvjp(_product_forward, _product_backward)


# Products with factors of low precision.


def low_precision_product(dtype: str) -> Callable[..., jax.Array] | None:
  """Returns the `dot_general` of nn.Dense whose factors are rounded to `dtype`; sums are float32.

  Micikevicius et al., "Mixed precision training", 2018. The factors of the gradients' products are
  rounded too. On a CPU with AVX512-BF16, bfloat16 factors are close to twice as fast as float32.

  nn.Dense's own `dtype` argument rounds the sums as well, and is no faster than float32 on a CPU.
  This function can go when that argument keeps float32 sums and is as fast.

  Args:
    dtype: 'bfloat16', say. For 'float32', None is returned, which is nn.Dense's own product.
  """
  if dtype == "float32":
    return None
  return functools.partial(_rounding_product, dtype=dtype)


def _rounding_product(x: jax.Array, kernel: jax.Array, *_: Any, dtype: str, **__: Any) -> jax.Array:
  """Returns x [batch, inputs] @ kernel [inputs, outputs]; nn.Dense passes more, the defaults."""
  return _low_precision(x, kernel, dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _low_precision(x: jax.Array, kernel: jax.Array, dtype: str) -> jax.Array:
  return _low_precision_forward(x, kernel, dtype)[0]


def _low_precision_forward(x, kernel, dtype):
  x, kernel = x.astype(dtype), kernel.astype(dtype)
  return _float32_sums(x, kernel), (x, kernel)


def _low_precision_backward(dtype, inputs, gradient):
  x, kernel = map(_transposed, inputs)
  gradient = gradient.astype(dtype)
  return _float32_sums(gradient, kernel), _float32_sums(x, gradient)


_low_precision.defvjp(_low_precision_forward, _low_precision_backward)


def _float32_sums(x: jax.Array, y: jax.Array) -> jax.Array:
  return jnp.matmul(x, y, preferred_element_type=jnp.float32)


def _transposed(x: jax.Array) -> jax.Array:
  """Returns x.T. On a CPU the transpose is written to memory: XLA is slow at products of a view.

  Without that, XLA's CPU backend goes back to float32 for one of the products.
  """
  if not _on_cpu():
    return x.T
  return jax.lax.optimization_barrier(x.T.reshape(-1)).reshape(x.T.shape)


# Dropout.


def dropout(key: jax.Array, x: jax.Array, rate: jax.Array | float) -> jax.Array:
  """Drops elements at random and scales the others up, so that the mean stays (inverted dropout).

  nn.Dropout needs a rate that is known when the program is compiled. Here the rate may be traced,
  so that the runs of a sweep share a program. Each element takes 16 random bits, which resolve the
  rate to 1/65536. They are half of a 32-bit word, because `jax.random.bits` draws a whole word for
  16 bits, at twice the cost. Every device uses this function, since it decides a run's random
  numbers. It can go when nn.Dropout takes a traced rate; each seed then gives other results.

  Args:
    key: random key.
    x: float [..., units].
    rate: share of elements to drop, in [0, 1).
  """
  *lead, units = x.shape
  words = jax.random.bits(key, (*lead, -(-units // 2)))
  halves = jax.lax.bitcast_convert_type(words, jnp.uint16).reshape(*lead, -1)[..., :units]
  threshold = jnp.round(rate * 65536.0).astype(jnp.uint16)
  return jnp.where(halves >= threshold, x / jnp.asarray(1.0 - rate, x.dtype), 0)


# Loops.


def scans_well(model: nn.Module, image_shape: tuple[int, int, int]) -> bool:
  """Returns whether many training steps of a net should be one program, a `lax.scan`.

  A scan saves the dispatch of each step. But on a CPU, XLA rewrites convolutions into the form that
  its fast kernels take only outside of loops. In the body of a loop, the gradients of a
  convolution stay as they are, and plain loops of a single thread compute them: a step of
  configs/cnn.py takes nineteen times the processor time (JAX 0.10.2; the reason is seen in the
  `dim_labels` of the compiled program). So the steps of a net with convolutions are dispatched one
  by one there. Everywhere else steps are scanned.

  It can go when XLA rewrites the convolutions of loops too: return True, and time an epoch of
  configs/cnn.py.

  Args:
    model: the net.
    image_shape: (H, W, C).
  """
  if not _on_cpu():
    return True
  image = jax.ShapeDtypeStruct((1, *image_shape), "uint8")
  return "conv_general_dilated" not in str(jax.make_jaxpr(model.init)(jax.random.key(0), image))
