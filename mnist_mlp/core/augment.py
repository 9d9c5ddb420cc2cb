"""Changed images to train on, as pure functions of a key.

Elastic distortions follow Simard, Steinkraus & Platt, "Best practices for convolutional neural
networks applied to visual document analysis", 2003. The affine ones, with a smaller rotation for
some classes, follow Ciresan et al., "Deep, big, simple neural nets for handwritten digit
recognition", 2010. Both are one bilinear sampling of the image, at the points

    matrix @ (pixel - centre) + centre + offset + displacement

Outside of the image there is background, 0.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.ndimage import map_coordinates
from ml_collections import ConfigDict

from mnist_mlp.core.spec import Examples


class Affine(NamedTuple):
  """Where a distorted image takes its pixels: at matrix @ (pixel - centre) + centre + offset."""

  matrix: jax.Array  # float32 [B, 2, 2], on (row, column)
  offset: jax.Array  # float32 [B, 2], pixels


def distort(
  key: jax.Array, batch: Examples, config: ConfigDict, strengths: Mapping[str, jax.Array | float]
) -> jax.Array:
  """Distorts every image of a batch in a way of its own.

  Args:
    key: decides everything that is random.
    batch: images [B, H, W, C], uint8, or float in 0..255; labels for the classes that have a
      rotation range of their own.
    config: `config.augment`; static. A strength in it that is 0 switches its distortion off.
    strengths: the values of the strengths, by field name; may be traced.

  Returns:
    float32 [B, H, W, C], in 0..255.
  """
  shape = batch.images.shape
  elastic_key, affine_key = jax.random.split(key)
  affine = draw_affine(affine_key, batch.labels, config, strengths)
  rows, columns = affine_coordinates(affine, *shape[1:3])
  if config.elastic_alpha:
    noise = draw_noise(elastic_key, shape, config.elastic_sigma)
    fields = strengths["elastic_alpha"] * smooth(noise, shape, config.elastic_sigma)
    rows, columns = rows + fields[0], columns + fields[1]
  return sample(batch.images, rows, columns)


def move_uphill(
  images: jax.Array, total_loss: Callable[[jax.Array], jax.Array], radius: float
) -> jax.Array:
  """Moves each image along the gradient of its loss: adversarial images to train on.

  Goodfellow, Shlens & Szegedy, "Explaining and harnessing adversarial examples", 2015. The length
  of a move is Euclidean, as Miyato et al. compare it in "Distributional smoothing with virtual
  adversarial training", 2016.

  Args:
    images: [B, H, W, C] in 0..255.
    total_loss: from images, float32, to the sum of their losses.
    radius: length of each move, in units of a pixel's whole range.

  Returns:
    float32 [B, H, W, C]; pixels may leave 0..255.
  """
  images = images.astype(jnp.float32)
  slopes = jax.grad(total_loss)(images)
  lengths = jnp.sqrt(jnp.square(slopes).sum((1, 2, 3), keepdims=True))
  return images + 255.0 * radius * slopes / jnp.maximum(lengths, 1e-12)


def draw_affine(
  key: jax.Array, labels: jax.Array, config: ConfigDict, strengths: Mapping[str, jax.Array | float]
) -> Affine:
  """Draws an affine map for each example, each number uniformly within plus or minus its strength.

  An image is scaled on each axis, then sheared along its rows, then rotated, all about its centre,
  then shifted. The map that is returned is the inverse: from a distorted image to its original.

  Args:
    key: decides everything that is random.
    labels: int32 [B].
    config: as for `distort`.
    strengths: as for `distort`.
  """
  draws = jax.random.uniform(key, (6, len(labels)), minval=-1.0, maxval=1.0)

  def strength(name):
    return strengths[name] if config[name] else 0.0

  special = jnp.isin(labels, np.array(config.rotation_of, np.int32))
  largest = jnp.where(special, strength("rotation_for_those"), strength("rotation"))
  angle = jnp.deg2rad(draws[0] * largest)
  row_scale, column_scale = 1.0 + draws[1:3] * strength("scale")
  shear = draws[3] * strength("shear")
  cos, sin = jnp.cos(angle), jnp.sin(angle)
  # diag(1 / scale) @ [[1, 0], [shear, 1]] @ [[cos, sin], [-sin, cos]], on (row, column).
  matrix = jnp.stack(
    [
      jnp.stack([cos, sin]) / row_scale,
      jnp.stack([shear * cos - sin, shear * sin + cos]) / column_scale,
    ]
  )
  matrix = matrix.transpose(2, 0, 1)
  shift = strength("shift") * draws[4:6].T
  return Affine(matrix, -jnp.einsum("brc,bc->br", matrix, shift))


def affine_coordinates(affine: Affine, height: int, width: int) -> tuple[jax.Array, jax.Array]:
  """Returns (row, column) of the point that each pixel is sampled at, float32 [B, H, W] each."""
  rows = jnp.arange(height, dtype=jnp.float32)[:, None] - (height - 1) / 2
  columns = jnp.arange(width, dtype=jnp.float32) - (width - 1) / 2
  matrix, offset = affine.matrix[:, :, :, None, None], affine.offset[:, :, None, None]
  points = matrix[:, :, 0] * rows + matrix[:, :, 1] * columns + offset
  return points[:, 0] + (height - 1) / 2, points[:, 1] + (width - 1) / 2


def draw_noise(key: jax.Array, shape: tuple[int, ...], sigma: float) -> jax.Array:
  """Draws displacements in (-1, 1) for points of a lattice, over the image and 3 sigma around it.

  For a sigma below 4 the lattice is as fine as the pixels. Above, it has two points to a sigma.
  The Gaussian would smooth finer noise away, and noise takes the most time here. A displacement
  is one of 256 equidistant values. More values would change nothing, since many are added up.

  Args:
    key: decides everything.
    shape: (B, H, W, C) of the images.
    sigma: width of the smoothing, pixels.

  Returns:
    float32 [lattice rows, 2, B, lattice columns]. Rows come first because `smooth` is fastest then.
  """
  batch, height, width, _ = shape
  shape = (len(_lattice(height, sigma)), 2, batch, len(_lattice(width, sigma)))
  size = int(np.prod(shape))
  words = jax.random.bits(key, (-(-size // 4),), jnp.uint32)
  levels = jax.lax.bitcast_convert_type(words, jnp.uint8).reshape(-1)[:size].reshape(shape)
  return (levels.astype(jnp.float32) - 127.5) / 128.0


def smooth(noise: jax.Array, shape: tuple[int, ...], sigma: float) -> jax.Array:
  """Smooths noise by a Gaussian into one displacement of each pixel, (row, column).

  The spread of the result does not depend on the lattice: it is that of noise on every pixel. The
  smoothing is a product with a banded matrix from each side, which takes a fortieth of the time of
  convolutions on two CPU cores.

  Args:
    noise: of `draw_noise` for the same shape and sigma.
    shape: (B, H, W, C) of the images.
    sigma: width of the Gaussian, pixels; it is cut off at 3 sigma.

  Returns:
    float32 [2, B, H, W].
  """
  batch, height, width, _ = shape
  smoothed = _band(height, sigma) @ noise.reshape(len(noise), -1)
  smoothed = smoothed.reshape(-1, noise.shape[-1]) @ _band(width, sigma).T
  return smoothed.reshape(height, 2, batch, width).transpose(1, 2, 0, 3)


def _reach(sigma: float) -> int:
  return int(np.ceil(3 * sigma))


def _spacing(sigma: float) -> int:
  return max(1, int(sigma / 2))


def _lattice(size: int, sigma: float) -> np.ndarray:
  """Returns where a line of `size` pixels has noise, in pixels from its first."""
  return np.arange(-_reach(sigma), size + _reach(sigma), _spacing(sigma))


def _band(size: int, sigma: float) -> np.ndarray:
  """Returns the matrix that smooths a line of noise: float32 [size, lattice points]."""
  reach = _reach(sigma)
  kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
  distance = _lattice(size, sigma) - np.arange(size)[:, None]
  weights = np.exp(-0.5 * (distance / sigma) ** 2) * (np.abs(distance) <= reach)
  return (np.sqrt(_spacing(sigma)) * weights / kernel.sum()).astype(np.float32)


def sample(images: jax.Array, rows: jax.Array, columns: jax.Array) -> jax.Array:
  """Samples images between their pixels by bilinear interpolation; outside of them they are 0.

  Args:
    images: [B, H, W, C], any dtype.
    rows: float32 [B, H', W'], where the pixels' centres are whole numbers.
    columns: the same for the columns.

  Returns:
    float32 [B, H', W', C].
  """

  def one_channel(image, rows, columns):
    return map_coordinates(image, [rows, columns], order=1, mode="constant")

  over_channels = jax.vmap(one_channel, in_axes=(2, None, None), out_axes=2)
  return jax.vmap(over_channels)(images.astype(jnp.float32), rows, columns)
