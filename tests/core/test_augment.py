"""Distorted images against SciPy, and against what their names say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from ml_collections import FrozenConfigDict

from mnist_mlp import config
from mnist_mlp.core import augment
from mnist_mlp.core.spec import Examples


def options(**fields):
  c = config.default().augment
  c.update(fields)
  return c


# Each as one program: operation by operation, there would be dozens to compile.
_distort = jax.jit(augment.distort, static_argnames="config")
_draw_affine = jax.jit(augment.draw_affine, static_argnames="config")
draw_noise = jax.jit(augment.draw_noise, static_argnames=("shape", "sigma"))
smooth = jax.jit(augment.smooth, static_argnames=("shape", "sigma"))


def strengths_of(c):
  return {name: c[name] for name in config.AUGMENTATIONS}


def distort(images, labels, c, key=0):
  batch, static = Examples(images, labels), FrozenConfigDict(c)
  return np.asarray(_distort(jax.random.key(key), batch, static, strengths_of(c)))


def draw_affine(key, labels, c):
  return _draw_affine(key, labels, FrozenConfigDict(c), strengths_of(c))


@pytest.fixture(scope="module")
def images():
  """Smooth random pictures, uint8 [6, 28, 20, 2], dark at their borders."""
  random = np.random.default_rng(0).uniform(0, 255, (6, 28, 20, 2))
  random = scipy.ndimage.gaussian_filter(random, (0, 1, 1, 0))
  random[:, [0, -1]] = random[:, :, [0, -1]] = 0
  return random.astype(np.uint8)


@pytest.fixture(scope="module")
def labels():
  return np.array([0, 1, 2, 7, 4, 1], np.int32)


def scipys_fields(noise, shape, sigma, spacing):
  """Smooths noise, on every `spacing`th pixel of an image with a border, as SciPy does."""
  reach = int(np.ceil(3 * sigma))
  _, height, width, _ = shape
  padded = np.zeros((height + 2 * reach, width + 2 * reach), np.float32)
  padded[::spacing, ::spacing] = noise
  smoothed = scipy.ndimage.gaussian_filter(padded, sigma, mode="constant", radius=reach)
  return spacing * smoothed[reach:-reach, reach:-reach]


@pytest.mark.parametrize("sigma, spacing", [(0.5, 1), (3.9, 1), (4.0, 2), (5.3, 2), (7.0, 3)])
def test_smoothing_is_scipys(sigma, spacing):
  shape = (3, 28, 20, 1)
  noise = np.asarray(draw_noise(jax.random.key(1), shape, sigma))
  ours = np.asarray(smooth(noise, shape, sigma))
  for axis in range(2):
    for example in range(3):
      expected = scipys_fields(noise[:, axis, example], shape, sigma, spacing)
      np.testing.assert_allclose(ours[axis, example], expected, atol=1e-6)


@pytest.mark.parametrize("sigma", [4.0, 5.3, 7.0, 10.0])
def test_fields_vary_like_those_of_noise_on_every_pixel(sigma):
  """Compares the covariances of all pairs of pixels, for noise of variance 1."""
  shape = (1, 9, 12, 1)
  rows, _, _, columns = draw_noise(jax.random.key(0), shape, sigma).shape
  impulses = np.zeros((rows, 2, rows * columns, columns), np.float32)
  impulses[:, 0] = np.eye(rows * columns).reshape(rows, columns, -1).transpose(0, 2, 1)
  fields = np.asarray(smooth(impulses, (rows * columns, *shape[1:]), sigma))[0]
  ours = np.einsum("krc,kst->rsct", fields, fields)

  def covariance_on_a_line(size):
    reach = int(np.ceil(3 * sigma))
    line = scipy.ndimage.gaussian_filter1d(
      np.eye(size + 2 * reach), sigma, mode="constant", radius=reach
    )[:, reach:-reach]
    return line.T @ line

  expected = np.einsum("rs,ct->rsct", covariance_on_a_line(9), covariance_on_a_line(12))
  np.testing.assert_allclose(ours, expected, atol=0.004 * expected.max())


def test_noise_is_uniform_and_independent():
  noise = np.asarray(draw_noise(jax.random.key(2), (50, 28, 28, 1), 4.0)).reshape(-1)
  counts, _ = np.histogram(noise, 64, (-1, 1))
  expected = noise.size / 64
  assert np.all(np.abs(counts - expected) < 6 * np.sqrt(expected))
  for lag in (1, 2, 3, 4, 26):  # Four bytes come from one random word.
    correlation = 3 * np.mean(noise[lag:] * noise[:-lag])
    assert abs(correlation) < 6 / np.sqrt(noise.size)


def test_elastic_is_scipys_on_the_same_fields(images, labels):
  c = options(elastic_alpha=34.0, elastic_sigma=4.0)
  elastic_key, _ = jax.random.split(jax.random.key(0))
  noise = np.asarray(draw_noise(elastic_key, images.shape, 4.0))
  ours = distort(images, labels, c)
  rows, columns = np.meshgrid(np.arange(28), np.arange(20), indexing="ij")
  for i, image in enumerate(images):
    fields = [34.0 * scipys_fields(noise[:, axis, i], images.shape, 4.0, 2) for axis in range(2)]
    assert 0.5 < np.std(fields) < 3, "pixels, as strong as Simard's"
    for channel in range(2):
      expected = scipy.ndimage.map_coordinates(
        image[:, :, channel].astype(np.float32), [rows + fields[0], columns + fields[1]], order=1
      )
      np.testing.assert_allclose(ours[i, :, :, channel], expected, atol=0.02)


def test_affine_is_scipys(images, labels):
  c = options(
    rotation=30.0, rotation_of=(1, 7), rotation_for_those=10.0, scale=0.2, shift=2.5, shear=0.3
  )
  _, affine_key = jax.random.split(jax.random.key(0))
  affine = draw_affine(affine_key, labels, c)
  ours = distort(images, labels, c)
  centre = np.array([13.5, 9.5])
  for i, image in enumerate(images):
    matrix, offset = np.asarray(affine.matrix[i]), np.asarray(affine.offset[i])
    for channel in range(2):
      expected = scipy.ndimage.affine_transform(
        image[:, :, channel].astype(np.float32), matrix, centre + offset - matrix @ centre, order=1
      )
      np.testing.assert_allclose(ours[i, :, :, channel], expected, atol=0.02)


@pytest.mark.parametrize(
  "name, value, expected",
  [
    ("rotation", 30.0, lambda p: np.abs(np.rad2deg(np.arctan2(p[:, 0, 1], p[:, 0, 0])))),
    ("scale", 0.2, lambda p: np.abs(p[:, [0, 1], [0, 1]] - 1).max(1)),
    ("shear", 0.3, lambda p: np.abs(p[:, 1, 0])),
  ],
)
def test_each_map_is_what_its_name_says_within_its_range(name, value, expected):
  """Looks at the map from the original to the distorted image."""
  labels = np.zeros(2000, np.int32)
  c = options(**{name: value})
  affine = draw_affine(jax.random.key(3), labels, c)
  size = expected(np.linalg.inv(np.asarray(affine.matrix)))
  assert 0.98 * value < size.max() <= value * 1.0001
  assert np.all(np.asarray(affine.offset) == 0)
  if name == "rotation":
    np.testing.assert_allclose(np.linalg.det(affine.matrix), 1, atol=1e-5)


@pytest.mark.slow
def test_a_shift_moves_the_image():
  c = options(shift=3.0)
  image = np.zeros((500, 15, 15, 1), np.uint8)
  image[:, 7, 7] = 255
  distorted = distort(image, np.zeros(500, np.int32), c)[..., 0]
  grid = np.arange(15) - 7
  rows = (distorted.sum(2) @ grid) / distorted.sum((1, 2))
  columns = (distorted.sum(1) @ grid) / distorted.sum((1, 2))
  for moves in (rows, columns):
    assert moves.min() < -2.8 and moves.max() > 2.8 and np.abs(moves).max() <= 3.0001
  assert abs(np.corrcoef(rows, columns)[0, 1]) < 0.2
  _, key = jax.random.split(jax.random.key(0))
  affine = draw_affine(key, np.zeros(500, np.int32), c)
  np.testing.assert_allclose(-np.asarray(affine.offset), np.stack([rows, columns], 1), atol=1e-4)


def test_chosen_classes_rotate_within_their_own_range():
  labels = np.tile(np.arange(10, dtype=np.int32), 300)
  c = options(rotation=15.0, rotation_of=(1, 7), rotation_for_those=7.5)
  matrix = np.asarray(draw_affine(jax.random.key(4), labels, c).matrix)
  angles = np.abs(np.rad2deg(np.arctan2(matrix[:, 0, 1], matrix[:, 0, 0])))
  chosen = np.isin(labels, (1, 7))
  assert 7.2 < angles[chosen].max() <= 7.501
  assert 14.5 < angles[~chosen].max() <= 15.001


def test_strength_zero_is_the_identity(images, labels):
  np.testing.assert_array_equal(distort(images, labels, options()), images)
  strong = options(elastic_alpha=34.0, rotation=15.0, scale=0.1, shift=1.0, shear=0.1)
  zeros = dict.fromkeys(config.AUGMENTATIONS, jnp.float32(0))
  batch = Examples(images, labels)
  jitted = jax.jit(lambda s: augment.distort(jax.random.key(0), batch, strong, s))
  np.testing.assert_array_equal(jitted(zeros), images)
  assert np.abs(jitted({name: strong[name] for name in zeros}) - images).max() > 50


def test_floats_are_taken_like_bytes(images, labels):
  c = options(elastic_alpha=34.0, rotation=15.0)
  np.testing.assert_array_equal(
    distort(images, labels, c), distort(images.astype(np.float32), labels, c)
  )


@pytest.mark.slow
def test_every_image_and_every_key_has_its_own_distortion(images):
  c = options(elastic_alpha=34.0)
  same = np.repeat(images[:1], 4, 0)
  first, again, other = (distort(same, np.zeros(4, np.int32), c, key) for key in (0, 0, 1))
  np.testing.assert_array_equal(first, again)
  everything = np.concatenate([first, other])
  for i in range(8):
    for j in range(i):
      assert np.abs(everything[i] - everything[j]).max() > 10


def test_the_result_stays_what_it_is():
  """A change here changes the results of every recipe that distorts."""
  image = np.zeros((1, 9, 9, 1), np.uint8)
  image[0, 2:7, 4] = 200
  c = options(elastic_alpha=10.0, elastic_sigma=2.0, rotation=20.0, scale=0.1, shear=0.1)
  ours = distort(image, np.zeros(1, np.int32), c, key=5)[0, ..., 0]
  expected = [
    [0, 0, 0, 0, 0, 0, 0, 0, 0],
    [0, 0, 0, 10, 0, 0, 0, 0, 0],
    [0, 0, 0, 105, 71, 0, 0, 0, 0],
    [0, 0, 0, 155, 47, 0, 0, 0, 0],
    [0, 0, 0, 166, 73, 0, 0, 0, 0],
    [0, 0, 0, 134, 137, 0, 0, 0, 0],
    [0, 0, 0, 58, 148, 42, 0, 0, 0],
    [0, 0, 0, 0, 0, 15, 0, 0, 0],
    [0, 0, 0, 0, 0, 0, 0, 0, 0],
  ]
  np.testing.assert_allclose(ours, expected, atol=0.6)


def test_images_move_uphill_by_the_radius_and_stay_where_it_is_flat():
  images = np.full((2, 3, 3, 1), 100, np.uint8)
  slope = np.zeros((3, 3, 1), np.float32)
  slope[1, 2], slope[0, 0] = 3.0, -4.0
  moved = jax.jit(lambda x: augment.move_uphill(x, lambda y: (y[0] * slope).sum(), 0.5))(images)
  np.testing.assert_allclose(moved[0] - 100, 0.5 * 255 * slope / 5, rtol=1e-5, atol=1e-4)
  np.testing.assert_array_equal(moved[1], 100)
