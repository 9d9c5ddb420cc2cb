"""The nets: uint8 images in, logits out. Pixels are scaled inside.

Flax has two module systems. This is Linen (https://flax-linen.readthedocs.io). Its modules hold no
parameters, so `apply(variables, images)` is a pure function. JAX can scan and vmap a training step
that is made of pure functions, and a resumed run repeats the step to the bit.
"""

from collections.abc import Callable

import jax
from flax import linen as nn
from ml_collections import ConfigDict

from mnist_mlp.core.cnn import CNN
from mnist_mlp.core.layers import BaseNet
from mnist_mlp.core.lookup import call, lookup
from mnist_mlp.core.spec import DataSpec
from mnist_mlp.core.traced import RATES


class MLP(BaseNet):
  """A multilayer perceptron over whole images; without hidden layers, softmax regression."""

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
    x = self.scale_pixels(images).reshape(images.shape[0], -1)
    return self.classify(self.drop(x, input_dropout, train), train, dropout)


# Each gets as its attributes what they name: num_classes and image_shape of the data, the fields of
# config.model, and those of the section of the config that is called like the net.
MODELS: dict[str, Callable[..., nn.Module]] = {"mlp": MLP, "cnn": CNN}


def create_model(config: ConfigDict, spec: DataSpec) -> nn.Module:
  """Returns the module that `config.model` describes.

  Raises:
    UsageError: it is code of one's own that cannot be had; see `lookup`.
  """
  c = config.model
  offered = {name: value for name, value in c.items() if name not in ("name", "init", *RATES)}
  offered |= {"init_name": c.init, "num_classes": spec.num_classes, "image_shape": spec.image_shape}
  if c.name in config:
    offered |= config[c.name].items()
  return call(lookup(MODELS, "model.name", c.name), "model.name", c.name, offered)
