"""What nets are made of: activations, initializers, norms, and a base class that uses them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

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

# Each takes the values before an activation, and whether the net is being trained.
NORMS: dict[str, Callable[[jax.Array, bool], jax.Array]] = {
  "none": lambda x, train: x,
  "batch": lambda x, train: nn.BatchNorm(use_running_average=not train, momentum=0.9)(x),
  "layer": lambda x, train: nn.LayerNorm()(x),
}


class BaseNet(nn.Module):
  """The base of the nets here: scaled pixels first, dense layers in the end.

  Attributes:
    num_classes: number of logits.
    features: widths of the hidden dense layers.
    The others are the fields of `config.model`. Its `init` is init_name here, since Flax's own
    modules have a method `init`.
  """

  num_classes: int
  features: tuple[int, ...]
  activation: str = "relu"
  norm: str = "none"
  init_name: str = "default"
  init_scale: float = 1.0
  init_biases: bool = False
  inputs: str = "unit"
  dtype: str = "float32"

  def scale_pixels(self, images: jax.Array) -> jax.Array:
    """Returns images, uint8 or float in 0..255, as float32 in the scale of `inputs`."""
    x = images.astype(jnp.float32)
    if self.inputs == "unit":
      x = x / 255.0
    elif self.inputs == "standardized":
      mean = self.variable("input_statistics", "mean", jnp.zeros, (), jnp.float32)
      std = self.variable("input_statistics", "std", jnp.ones, (), jnp.float32)
      x = (x - mean.value) / std.value
    return x

  def classify(self, x: jax.Array, train: bool, dropout: jax.Array | float | None) -> jax.Array:
    """Returns the logits, float32 [batch, num_classes], that the dense layers make of x [batch, n].

    Args:
      x: float32.
      train: as for the whole net.
      dropout: rate for hidden units; None drops nothing.
    """
    product = kernels.low_precision_product(self.dtype)
    for width in self.features:
      x = nn.Dense(width, dot_general=product, **self.weights())(x)
      x = self.activate(x, train)
      x = self.drop(x, dropout, train)
    last = self.weights() | {"use_bias": True}
    return nn.Dense(self.num_classes, dot_general=kernels.narrow_product(), **last)(x)

  def weights(self) -> dict[str, Any]:
    """Returns how a hidden layer begins, and whether it has biases, as nn.Dense and nn.Conv say."""
    zeros, normal = nn.initializers.zeros_init(), nn.initializers.normal(self.init_scale)
    return {
      "kernel_init": INITIALIZERS[self.init_name](self.init_scale),
      "bias_init": normal if self.init_biases else zeros,
      "use_bias": self.norm != "batch",  # Batch norm has its own.
    }

  def activate(self, x: jax.Array, train: bool) -> jax.Array:
    """Returns the activations of a layer's sums, after the norm if there is one."""
    return ACTIVATIONS[self.activation](NORMS[self.norm](x, train))

  def drop(self, x: jax.Array, rate: jax.Array | float | None, train: bool) -> jax.Array:
    """Drops elements at random, in training, if there is a rate."""
    if not train or rate is None:
      return x
    return kernels.dropout(self.make_rng("dropout"), x, rate)
