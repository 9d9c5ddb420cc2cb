"""The net: uint8 images in, logits out. Pixels are scaled inside.

Flax has two module systems. This is Linen (https://flax-linen.readthedocs.io). Its modules hold no
parameters, so `apply(variables, images)` is a pure function. JAX can scan and vmap a training step
that is made of pure functions, and a resumed run repeats the step to the bit.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from ml_collections import ConfigDict

from mnist_mlp.core import kernels

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
  "relu": nn.relu,
  "tanh": nn.tanh,
  "gelu": nn.gelu,
  "silu": nn.silu,
  "sigmoid": nn.sigmoid,
  "elu": nn.elu,
  # LeCun et al., "Efficient BackProp", 1998, section 4.4.
  "scaled_tanh": lambda x: 1.7159 * jnp.tanh(x * (2 / 3)),
}

# Each takes config.model.init_scale: the standard deviation of 'normal', a factor on the others'.
INITIALIZERS: dict[str, Callable[[float], nn.initializers.Initializer]] = {
  # LeCun normal, which is Flax's own default.
  "default": lambda s: nn.initializers.variance_scaling(s**2, "fan_in", "truncated_normal"),
  # He et al., "Delving deep into rectifiers", 2015.
  "he": lambda s: nn.initializers.variance_scaling(2 * s**2, "fan_in", "truncated_normal"),
  # Glorot & Bengio, "Understanding the difficulty of training deep feedforward networks", 2010.
  "glorot": lambda s: nn.initializers.variance_scaling(s**2, "fan_avg", "uniform"),
  "normal": nn.initializers.normal,
}


class MLP(nn.Module):
  """A multilayer perceptron over whole images; without hidden layers, softmax regression.

  Attributes:
    features: widths of the hidden layers.
    num_classes: number of logits.
    The others are the fields of `config.model`. Its `init` is init_name here, since Flax's own
    modules have a method `init`.
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
      train: whether units are dropped, and whether batch norm uses the statistics of this batch.
      dropout: rate for hidden units, in [0, 1), may be traced; None drops nothing.
      input_dropout: the same for pixels.

    Returns:
      Logits, float32 [batch, num_classes].
    """
    product = kernels.low_precision_product(self.dtype)
    x = self._scale_pixels(images).reshape(images.shape[0], -1)
    x = self._drop(x, input_dropout, train)
    for width in self.features:
      x = self._dense(width, use_bias=self.norm != "batch", dot_general=product)(x)
      x = ACTIVATIONS[self.activation](self._normalize(x, train))
      x = self._drop(x, dropout, train)
    return self._dense(self.num_classes, dot_general=kernels.narrow_product())(x)

  def _scale_pixels(self, images: jax.Array) -> jax.Array:
    x = images.astype(jnp.float32)
    if self.inputs == "unit":
      x = x / 255.0
    elif self.inputs == "standardized":
      mean = self.variable("input_statistics", "mean", jnp.zeros, (), jnp.float32)
      std = self.variable("input_statistics", "std", jnp.ones, (), jnp.float32)
      x = (x - mean.value) / std.value
    return x

  def _dense(self, width: int, use_bias: bool = True, **options: Any) -> nn.Dense:
    zeros, normal = nn.initializers.zeros_init(), nn.initializers.normal(self.init_scale)
    return nn.Dense(
      width,
      use_bias=use_bias,
      kernel_init=INITIALIZERS[self.init_name](self.init_scale),
      bias_init=normal if self.init_biases else zeros,
      **options,
    )

  def _normalize(self, x: jax.Array, train: bool) -> jax.Array:
    if self.norm == "batch":
      return nn.BatchNorm(use_running_average=not train, momentum=0.9)(x)
    if self.norm == "layer":
      return nn.LayerNorm()(x)
    return x

  def _drop(self, x: jax.Array, rate: jax.Array | float | None, train: bool) -> jax.Array:
    if not train or rate is None:
      return x
    return kernels.dropout(self.make_rng("dropout"), x, rate)


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
