"""What is no digit, and when a net says so."""

import dataclasses

import jax
import numpy as np
import pytest
from handwriting import gray_picture, seven
from PIL import Image

from mnist_mlp import inference
from mnist_mlp.run.workdir import Workdir


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
    np.pad(np.full((600, 1), 100), ((2200, 2200), (1999, 2000))),  # vanishes when it is reduced
    200 - 150 * np.exp(-(((np.indices((200, 200)) - 100) / 40) ** 2).sum(0)),  # a soft shadow
    255 - np.hypot(*(np.indices((300, 300)) - 150)),  # light in the middle
  ],
  ids=[
    "black",
    "white",
    "1x1",
    "1x3000",
    "1x5",
    "7x1",
    "noise",
    "small-noise",
    "light",
    "dot",
    "hair",
    "shadow",
    "lamp",
  ],
)
def test_no_ink(net, values):
  prepared = inference.prepare(Image.fromarray(np.uint8(np.clip(values, 0, 255))))
  assert prepared.pixels is None
  assert inference.classify(net, [prepared]) == [inference.Prediction(None, {}, "no ink")]


@pytest.mark.parametrize("seed", [126, 254])
def test_a_faint_line_that_thins_out_is_no_ink(seed):
  """It is darker than noise, but no pixel of it is dark enough for a stroke."""
  rng = np.random.default_rng(seed)
  thickness, noise = int(rng.integers(1, 4)), rng.uniform(0, 9)
  paper = rng.normal(210, noise, (int(rng.integers(60, 300)), int(rng.integers(100, 500))))
  top, left = int(rng.integers(0, len(paper) - 4)), int(rng.integers(0, 40))
  paper[top : top + thickness, left : left + int(rng.integers(20, 200))] -= rng.uniform(10, 60)
  assert inference.prepare(Image.fromarray(np.uint8(np.clip(paper, 0, 255)))).pixels is None


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


def two_digits(axis):
  blank = np.zeros((180, 140)) if axis else np.zeros((20, 140))
  return gray_picture(np.concatenate([seven(), blank, seven()], axis))


@pytest.mark.parametrize("axis", [0, 1])
def test_several_digits_in_a_picture_are_noticed(axis):
  doubt = inference.prepare(two_digits(axis)).doubt
  assert doubt == "there are 2 side by side or in lines (--several reads each)"


def test_two_digits_that_touch_are_noticed(net):
  two = np.concatenate([seven()[:, 40:-40], seven()[:, 40:-40]], 1)
  (prediction,) = inference.classify(net, [inference.prepare(gray_picture(np.pad(two, 40)))])
  assert prediction.note == "it is wide: it may be two that touch"
  (alone,) = inference.classify(net, [inference.prepare(gray_picture(seven()))])
  assert alone.note == ""


def test_a_frame_drawn_by_hand_that_the_digit_touches_is_doubted():
  y, x = np.mgrid[:220, :200].astype(float)
  wobble = 4 * np.sin(x / 17) + 4 * np.sin(y / 13)
  outside = np.maximum(abs(y - 110) / 90, abs(x - 100) / 80) * 80 + wobble
  frame = (outside > 72) & (outside < 78)
  digit = np.pad(seven()[40:-40, 40:-40], ((60, 60), (30, 110)))  # Its bar reaches the frame.
  prepared = inference.prepare(gray_picture(np.maximum(frame, digit)))
  assert prepared.doubt == "it may be a frame, with or without a digit that touches it"


@pytest.mark.parametrize("edge", [(slice(40, None), slice(None)), (slice(None), slice(50, None))])
def test_strokes_at_the_edge_are_noticed(net, edge):
  for cut, expected in ((edge, True), ((slice(None), slice(None)), False)):
    prepared = inference.prepare(gray_picture(seven()[cut]))
    (prediction,) = inference.classify(net, [prepared])
    assert ("it touches the edge of the picture" in prediction.note) == expected


def light_from_a_side(slant, power, turns):
  y, x = np.indices((260, 300)) / 300
  light = np.rot90((x + slant * y) ** power, turns)
  return inference.prepare(Image.fromarray(np.uint8(255 * light / light.max())))


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("slant", [0.0, 0.3, 0.7])
def test_light_from_a_side_is_no_ink(slant, turns):
  assert light_from_a_side(slant, 1, turns).pixels is None


@pytest.mark.parametrize(("slant", "power"), [(0.0, 0.5), (0.7, 2)])
def test_uneven_light_from_a_side_is_doubted(net, slant, power):
  prepared = light_from_a_side(slant, power, 0)
  (prediction,) = inference.classify(net, [prepared])
  assert "touches the edge" in prediction.note
  assert power < 1 or prepared.doubt == "it fades like light from a side"


def test_cautions(net):
  def said(files="", **facts):
    config = net.config.copy_and_resolve_references()
    config.data.files = files
    changed = {**net.facts, "name": "mnist", "stand_in_for": "", **facts}
    return inference.cautions(dataclasses.replace(net, config=config, facts=changed))

  assert said() == said(name="digits") == said(files="my/digits") == []
  assert said(files="my/pictures", pen_strokes=False) == []  # They go the way of training.
  (unsure,) = said(files="my/mnist", pen_strokes=None)  # An earlier version does not say.
  assert "do not trust what the net says" in unsure
  (other,) = said(name="fashion_mnist", pen_strokes=False)
  assert other.startswith("pictures are resized to 28x28x1 as they are") and "fashion" in other
  (stand_in,) = said(name="digits", stand_in_for="mnist")
  assert "was trained on digits" in stand_in and "stood in for mnist" in stand_in
  (forced,) = inference.cautions(
    dataclasses.replace(net, facts={**net.facts, "pen_strokes": False}), "strokes"
  )
  assert "do not trust what the net says" in forced


def test_the_net_of_an_unfinished_run_is_doubted(net, tmp_path):
  (unfinished,) = inference.cautions(dataclasses.replace(net, folder=Workdir(tmp_path)))
  assert f"{tmp_path} is not finished: its net is that of step {net.step:,}," in unfinished


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
