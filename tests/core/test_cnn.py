"""The convolutional net, and how its steps are taken."""

import dataclasses

import jax
import numpy as np
import pytest
import scipy.signal
import small
from flax import linen as nn

from mnist_mlp.core import kernels, model, optimizer

CNN = {"model__name": "cnn", "cnn__channels": (3,), "model__features": (6,)}
IMAGES = small.splits().train.images[:4, :7]  # an odd height


def test_forward_pass_equals_scipy():
  c = small.config_of(**CNN, cnn__kernel_size=5)
  spec = dataclasses.replace(small.spec(), image_shape=IMAGES.shape[1:])
  net = model.create_model(c, spec)
  variables = jax.jit(net.init)(jax.random.key(0), IMAGES)
  p = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), variables["params"])
  x = IMAGES[..., 0] / 255
  maps = np.zeros((4, 8, 8, 3))  # A row of what no pooling would choose: ReLU gives no less than 0.
  for image in range(4):
    for channel in range(3):
      kernel = p["Conv_0"]["kernel"][:, :, 0, channel]
      sums = scipy.signal.correlate2d(x[image], kernel, mode="same")
      maps[image, :7, :, channel] = np.maximum(sums + p["Conv_0"]["bias"][channel], 0)
  pooled = maps.reshape(4, 4, 2, 4, 2, 3).max((2, 4)).reshape(4, -1)
  hidden = np.maximum(pooled @ p["Dense_0"]["kernel"] + p["Dense_0"]["bias"], 0)
  expected = hidden @ p["Dense_1"]["kernel"] + p["Dense_1"]["bias"]
  np.testing.assert_allclose(jax.jit(net.apply)(variables, IMAGES), expected, rtol=1e-4, atol=1e-5)


class OwnConvolutions(nn.Module):
  @nn.compact
  def __call__(self, images, train=False):
    return nn.Dense(10)(nn.Conv(2, (3, 3))(images / 255.0).reshape(len(images), -1))


def test_steps_are_scanned_unless_a_cpu_would_compute_convolutions_in_a_loop(monkeypatch):
  nets = [model.create_model(small.config_of(**changes), small.spec()) for changes in ({}, CNN)]
  nets.append(OwnConvolutions())
  assert [kernels.scans_well(net, (8, 8, 1)) for net in nets] == [True, False, False]
  monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
  assert [kernels.scans_well(net, (8, 8, 1)) for net in nets] == [True, True, True]


@pytest.mark.slow
def test_steps_one_by_one_are_those_of_a_scan():
  """Over the end of an epoch, with all that a step may have."""
  c = small.config_of(**CNN, model__dropout=0.2, model__norm="batch", ema__decay=0.9)
  first = small.create(c)
  assert not first.scanned
  each = []
  for scanned in (False, True):
    state, metrics = small.train(first.replace(scanned=scanned), 4, c)
    state, metrics = small.train(state, 4, c, metrics=metrics)
    each.append((state.replace(scanned=True), metrics))
  assert int(each[0][0].step) == 8
  for one, other in zip(*map(jax.tree.leaves, each), strict=True):
    np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


def test_the_norm_of_a_channel_is_over_all_of_its_weights():
  kernel = np.full((3, 3, 2, 4), 0.5, np.float32)  # of norm 0.5 * sqrt(18)
  projected = optimizer.project_max_norm({"kernel": kernel}, 1.0)["kernel"]
  np.testing.assert_allclose(np.linalg.norm(projected.reshape(-1, 4), axis=0), 1.0, rtol=1e-6)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_no_image_is_too_small(size):
  c = small.config_of(**CNN)
  spec = dataclasses.replace(small.spec(), image_shape=(size, size, 3))
  net = model.create_model(c, spec)
  images = jax.ShapeDtypeStruct((2, size, size, 3), np.uint8)
  logits, _ = jax.eval_shape(net.init_with_output, jax.random.key(0), images)
  assert logits.shape == (2, 10)
