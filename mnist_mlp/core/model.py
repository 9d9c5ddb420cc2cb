"""The multilayer perceptron: uint8 images in, logits out, the scaling of pixels inside."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from ml_collections import ConfigDict

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
  "relu": nn.relu,
  "tanh": nn.tanh,
  "gelu": nn.gelu,
  "silu": nn.silu,
  "sigmoid": nn.sigmoid,
  "elu": nn.elu,
  # LeCun et al., Efficient BackProp, 1998, section 4.4.
  "scaled_tanh": lambda x: 1.7159 * jnp.tanh(x * (2 / 3)),
}


def kernel_initializer(name: str, scale: float) -> Callable:
  """Returns the initializer of kernels.

  Args:
    name: 'default' is LeCun normal, Flax's own; 'he' is He et al. 2015; 'glorot' is Glorot & Bengio
      2010; 'normal' is a plain normal distribution.
    scale: the standard deviation of 'normal', a factor on that of the others.
  """
  initializers = {
    "default": nn.initializers.variance_scaling(scale**2, "fan_in", "truncated_normal"),
    "he": nn.initializers.variance_scaling(2 * scale**2, "fan_in", "truncated_normal"),
    "glorot": nn.initializers.variance_scaling(scale**2, "fan_avg", "uniform"),
    "normal": nn.initializers.normal(scale),
  }
  return initializers[name]


class MLP(nn.Module):
  """A multilayer perceptron over whole images; without hidden layers, softmax regression.

  Attributes:
    features: widths of the hidden layers.
    num_classes: number of logits.
    dtype: of the factors of the hidden layers' matrix products; all else is float32.
    The others are the fields of the same names in `config.model`.
  """

  features: tuple[int, ...]
  num_classes: int
  activation: str = "relu"
  norm: str = "none"
  init_name: str = "default"
  init_scale: float = 1.0
  init_biases: bool = False
  inputs: str = "unit"
  dtype: str = "float32"

  @nn.compact
  def __call__(
    self,
    images: jax.Array,
    *,
    train: bool = False,
    dropout: jax.Array | float | None = None,
    input_dropout: jax.Array | float | None = None,
  ) -> jax.Array:
    """Classifies images.

    Args:
      images: [batch, height, width, channels], uint8, or float in 0..255.
      train: whether dropout is on and batch statistics are those of this batch.
      dropout: rate for hidden units, in [0, 1), may be traced; None is none at all.
      input_dropout: the same for pixels.

    Returns:
      Logits, float32 [batch, num_classes].
    """
    product = None if self.dtype == "float32" else low_precision_product(self.dtype)
    x = self._scale_pixels(images).reshape(images.shape[0], -1)
    if train and input_dropout is not None:
      x = drop(self.make_rng("dropout"), x, input_dropout)
    for width in self.features:
      x = self._dense(width, use_bias=self.norm != "batch", dot_general=product)(x)
      x = ACTIVATIONS[self.activation](self._normalize(x, train))
      if train and dropout is not None:
        x = drop(self.make_rng("dropout"), x, dropout)
    return self._dense(self.num_classes, dot_general=narrow_product)(x)

  def _scale_pixels(self, images: jax.Array) -> jax.Array:
    x = images.astype(jnp.float32)
    if self.inputs == "unit":
      x = x / 255.0
    elif self.inputs == "standardized":
      mean = self.variable("input_statistics", "mean", jnp.zeros, (), jnp.float32)
      std = self.variable("input_statistics", "std", jnp.ones, (), jnp.float32)
      x = (x - mean.value) / std.value
    return x

  def _dense(self, width: int, use_bias: bool = True, **options) -> nn.Dense:
    zeros, normal = nn.initializers.zeros_init(), nn.initializers.normal(self.init_scale)
    return nn.Dense(
      width,
      use_bias=use_bias,
      kernel_init=kernel_initializer(self.init_name, self.init_scale),
      bias_init=normal if self.init_biases else zeros,
      **options,
    )

  def _normalize(self, x: jax.Array, train: bool) -> jax.Array:
    if self.norm == "batch":
      return nn.BatchNorm(use_running_average=not train, momentum=0.9)(x)
    if self.norm == "layer":
      return nn.LayerNorm()(x)
    return x


_float32_sums = functools.partial(jnp.matmul, preferred_element_type=jnp.float32)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _low_precision_product(x: jax.Array, kernel: jax.Array, dtype: str) -> jax.Array:
  return _low_precision_product_forward(x, kernel, dtype)[0]


def _low_precision_product_forward(x, kernel, dtype):
  x, kernel = x.astype(dtype), kernel.astype(dtype)
  return _float32_sums(x, kernel), (x, kernel)


def _low_precision_product_backward(dtype, inputs, gradient):
  x, kernel = map(_transpose_by_rows, inputs)
  gradient = gradient.astype(dtype)
  return _float32_sums(gradient, kernel), _float32_sums(x, gradient)


_low_precision_product.defvjp(_low_precision_product_forward, _low_precision_product_backward)


def _transpose_by_rows(x: jax.Array) -> jax.Array:
  """Returns x.T, on a CPU written to memory as such: products of x.T itself are slow there."""
  if jax.default_backend() != "cpu":
    return x.T
  return jax.lax.optimization_barrier(x.T.reshape(-1)).reshape(x.T.shape)


def low_precision_product(dtype: str) -> Callable[..., jax.Array]:
  """Returns the product of x and a kernel with factors of `dtype`; nn.Dense's dot_general.

  Micikevicius et al., "Mixed precision training", 2018: factors are rounded, in the gradients' own
  products too, sums are float32. On a CPU with AVX512-BF16 close to twice as fast as float32.

  Args:
    dtype: 'bfloat16', say.

  Returns:
    A function of float32 x [batch, inputs] and kernel [inputs, outputs].
  """

  def product(x: jax.Array, kernel: jax.Array, *_: Any, **__: Any) -> jax.Array:
    return _low_precision_product(x, kernel, dtype)

  return product


@jax.custom_vjp
def _narrow_product(x: jax.Array, kernel: jax.Array) -> jax.Array:
  return x @ kernel


def _narrow_product_backward(inputs, gradient):
  x, kernel = inputs
  transposed = jax.lax.optimization_barrier(gradient.T @ x)
  return gradient @ kernel.T, transposed.T


_narrow_product.defvjp(lambda x, kernel: (x @ kernel, (x, kernel)), _narrow_product_backward)


def narrow_product(x: jax.Array, kernel: jax.Array, *_, **__) -> jax.Array:
  """Returns x @ kernel, with a gradient that is fast for few columns; nn.Dense's dot_general.

  XLA on a CPU takes ten times as long for x.T @ gradient as for its transpose when there are only
  ten columns, which is a tenth of a training step; left alone, it merges the two.

  Args:
    x: [batch, inputs].
    kernel: [inputs, outputs].
  """
  return _narrow_product(x, kernel)


def drop(key: jax.Array, x: jax.Array, rate: jax.Array | float) -> jax.Array:
  """Inverted dropout whose rate may be traced, so that runs with other rates share a program.

  Each element takes half of a random word: 16 bits, which resolve the rate to 1/65536.
  `jax.random.bits(..., jnp.uint16)` would draw a whole one, at twice the cost.

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


def create_model(config: ConfigDict, num_classes: int) -> MLP:
  """Returns the module that `config.model` describes."""
  c = config.model
  return MLP(
    features=tuple(c.features),
    num_classes=num_classes,
    activation=c.activation,
    norm=c.norm,
    init_name=c.init,
    init_scale=c.init_scale,
    init_biases=c.init_biases,
    inputs=c.inputs,
    dtype=c.dtype,
  )
