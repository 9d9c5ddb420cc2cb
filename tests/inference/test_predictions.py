"""What is no digit, and when a net says so."""

import dataclasses

import jax
import numpy as np
import pytest
from handwriting import gray_picture, seven
from PIL import Image

from mnist_mlp import inference
from mnist_mlp.errors import UsageError


@pytest.mark.parametrize(
  "values",
  [
    np.zeros((50, 60)),
    np.full((50, 60), 255),
    np.zeros((1, 1)),
    np.zeros((1, 3000)),
    np.full((1, 5), 200),
    np.arange(7)[:, None],  # fewer pixels than ink needs
    np.random.default_rng(0).normal(128, 20, (300, 200)),
    np.random.default_rng(0).uniform(0, 255, (28, 28)),
    np.tile(np.linspace(120, 220, 300), (300, 1)),  # light from a side
    np.pad(np.full((3, 3), 255), 40),  # a dot
  ],
  ids=["black", "white", "1x1", "1x3000", "1x5", "7x1", "noise", "small noise", "light", "dot"],
)
def test_no_ink(net, values):
  prepared = inference.prepare(Image.fromarray(np.uint8(np.clip(values, 0, 255))))
  assert prepared.pixels is None
  assert inference.classify(net, [prepared]) == [inference.Prediction(None, {}, "no ink")]


@pytest.mark.parametrize(
  ("ink", "doubt"),
  [
    (np.pad(np.ones((30, 30)), 20), "solid"),
    (np.pad(np.ones((6, 60)), 20), "times as wide as high"),
    (
      np.kron(np.pad(np.indices((3, 3)).sum(0) % 1 + 1, 1), np.pad(np.ones((8, 8)), 8)),
      "there are 9 side by side or in lines",
    ),
  ],
  ids=["square", "dash", "dots"],
)
def test_what_has_not_the_shape_of_a_digit(net, ink, doubt):
  prepared = inference.prepare(gray_picture(ink))
  assert doubt in prepared.doubt
  (prediction,) = inference.classify(net, [prepared])
  assert prediction.label in net.class_names
  assert prediction.note.startswith("probably no digit") and doubt in prediction.note


def test_a_net_that_does_not_know_says_so(net):
  know_nothing = dataclasses.replace(
    net, state=net.state.replace(params=jax.tree.map(np.zeros_like, net.state.params))
  )
  (prediction,) = inference.classify(know_nothing, [inference.prepare(gray_picture(seven()))])
  assert prediction.probabilities[prediction.label] == pytest.approx(0.1)
  assert prediction.note == "probably no digit: no class reaches 50%"


def test_few_mnist_images_are_doubted(net, mnist_test):
  prepared = [inference.prepare(Image.fromarray(i[:, :, 0])) for i in mnist_test.images[::20]]
  assert sum(bool(p.doubt) for p in prepared) <= 1
  notes = [p.note for p in inference.classify(net, prepared)]
  assert sum(map(bool, notes)) <= 0.06 * len(notes)


def test_a_net_of_other_images_is_refused(net):
  other = dataclasses.replace(
    net, facts={**net.facts, "name": "cifar10", "image_shape": [32, 32, 3]}
  )
  with pytest.raises(UsageError, match="trained on cifar10, images of 32x32x3"):
    inference.check_takes_digits(other)
