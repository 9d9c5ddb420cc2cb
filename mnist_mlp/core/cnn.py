"""A small convolutional net, beside the MLP; `config.cnn` is a section of its own."""

import jax
from flax import linen as nn

from mnist_mlp.core.layers import BaseNet


class CNN(BaseNet):
  """Convolutions, each followed by pooling, before the dense layers of the MLP.

  The products of the convolutions are float32, whatever `dtype` is.

  LeCun et al., "Gradient-based learning applied to document recognition", 1998.

  Attributes beyond those of `BaseNet`, the fields of `config.cnn`:
    channels: of each convolution.
    kernel_size: height and width of each convolution, pixels.
  """

  channels: tuple[int, ...] = (32, 64)
  kernel_size: int = 3

  @nn.compact
  def __call__(
    self,
    images: jax.Array,
    *,
    train: bool = False,
    dropout: jax.Array | float | None = None,
    input_dropout: jax.Array | float | None = None,
  ) -> jax.Array:
    """Classifies images; arguments and result are those of `MLP`."""
    x = self.drop(self.scale_pixels(images), input_dropout, train)
    for count in self.channels:
      x = nn.Conv(count, (self.kernel_size, self.kernel_size), **self.weights())(x)
      x = self.activate(x, train)
      # 'SAME': an odd last row or column is pooled as well, so that no image is too small.
      x = nn.max_pool(x, (2, 2), strides=(2, 2), padding="SAME")
    return self.classify(x.reshape(x.shape[0], -1), train, dropout)
