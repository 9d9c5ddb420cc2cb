"""Which way pictures go to a net, and what it then sees of them."""

import dataclasses
import json

import jax
import numpy as np
import processes
import pytest
from handwriting import gray_picture, seven
from PIL import Image

from mnist_mlp import config, inference
from mnist_mlp.errors import RunError, UsageError
from mnist_mlp.inference.ways import PICTURES, STROKES
from mnist_mlp.train import train_and_evaluate

PREDICT = "mnist_mlp.predict"
COLOURS = {"blue": (30, 40, 200), "green": (30, 180, 40), "red": (210, 30, 30)}
SHAPE = (12, 16, 3)


def like(net, *, files="", **facts):
  """Returns the net as one of other data, of a run that does not say whether they are strokes."""
  c = net.config.copy_and_resolve_references()
  c.data.files = files
  changed = {**net.facts, "name": "mnist", "stand_in_for": "", **facts}
  if "pen_strokes" not in facts:
    changed.pop("pen_strokes", None)
  return dataclasses.replace(net, config=c, facts=changed)


@pytest.mark.parametrize(
  ("way", "changes"),
  [
    (STROKES, {"name": "mnist"}),
    (STROKES, {"name": "digits"}),
    (STROKES, {"name": "emnist/letters"}),
    (STROKES, {"name": "kmnist", "pen_strokes": True}),
    (STROKES, {"name": "mine (own files)", "files": "mine", "pen_strokes": True}),
    (STROKES, {"name": "mine (own files)", "files": "mine"}),  # as in earlier versions
    (PICTURES, {"name": "fashion_mnist"}),
    (PICTURES, {"name": "fashion_mnist", "pen_strokes": False}),
    (PICTURES, {"name": "mnist (own files)", "files": "my/mnist", "pen_strokes": False}),
    (PICTURES, {"name": "cifar10", "image_shape": [32, 32, 3], "pen_strokes": False}),
    (PICTURES, {"name": "mine (own files)", "files": "mine", "image_shape": [40, 30, 1]}),
  ],
)
def test_what_a_net_was_trained_on_decides(net, way, changes):
  assert inference.way_of(like(net, **changes)) == way


def test_a_run_says_whether_its_images_are_strokes(net):
  assert net.facts["pen_strokes"] is True


def test_a_committee_of_old_and_new_runs_has_one_way(net):
  old, new = like(net, name="other"), like(net, name="other", pen_strokes=True)
  assert inference.way_of(inference.Committee((old, old))) == PICTURES
  assert inference.way_of(inference.Committee((old, new))) == STROKES


def test_the_user_may_choose(net):
  assert inference.way_of(net, PICTURES) == PICTURES
  assert inference.way_of(like(net, name="fashion_mnist"), STROKES) == STROKES
  other = like(net, name="cifar10", image_shape=[32, 32, 3])
  with pytest.raises(UsageError, match="trained on cifar10, images of 32x32x3"):
    inference.way_of(other, STROKES)
  with pytest.raises(UsageError, match=r"--as is 'stroke'.*did you mean 'strokes'\?"):
    inference.way_of(net, "stroke")


def test_strokes_are_made_as_nist_made_them(net):
  picture = gray_picture(seven())
  prepared = inference.preparer(net, STROKES)(picture, "a.png")
  assert (prepared.pixels == inference.prepare(picture).pixels).all()


def test_tfds_swaps_rows_and_columns_of_emnist(net):
  """Own files of that name are as they are; and so are whole pictures."""
  upright = inference.prepare(gray_picture(seven()))
  lying = upright._replace(pixels=upright.pixels.swapaxes(0, 1))
  (as_mnist,), (swapped,) = (inference.classify(net, [one]) for one in (upright, lying))
  assert as_mnist.probabilities != swapped.probabilities
  emnist, own = like(net, name="emnist/letters"), like(net, name="emnist/letters", files="emnist")
  assert inference.classify(emnist, [upright]) == [swapped]
  assert inference.classify(own, [upright]) == [as_mnist]
  assert inference.classify(emnist, [upright._replace(is_digit=False)]) == [as_mnist]
  blank = upright._replace(pixels=None)
  assert inference.classify(emnist, [blank])[0].note == "no ink"


def test_pictures_are_brought_to_the_shape_of_the_net_as_training_brings_files(net):
  other = like(net, name="cifar10", image_shape=list(SHAPE))
  picture = Image.new("RGBA", (160, 120), (*COLOURS["red"], 255))
  prepared = inference.preparer(other, inference.way_of(other))(picture, "a.png")
  assert prepared.pixels.shape == SHAPE and prepared.pixels.dtype == np.uint8
  assert (prepared.pixels == COLOURS["red"]).all()
  with pytest.raises(RunError, match=r"a.tif has pixels of the mode F"):
    inference.preparer(other, PICTURES)(Image.new("F", (9, 9)), "a.tif")
  with pytest.raises(UsageError, match="was trained on images of 4 channels"):
    inference.preparer(like(net, image_shape=[12, 16, 4]), PICTURES)


def test_a_net_of_pictures_that_does_not_know_speaks_of_no_digit(net):
  know_nothing = dataclasses.replace(
    net, state=net.state.replace(params=jax.tree.map(np.zeros_like, net.state.params))
  )
  picture = inference.preparer(net, PICTURES)(Image.effect_noise((90, 90), 80), "a.png")
  (prediction,) = inference.classify(know_nothing, [picture])
  assert prediction.note == "no class reaches 50%"


def write_colours(folder, split, count, size=SHAPE[1::-1], seed=0):
  """Writes noisy pictures of each colour, FOLDER/SPLIT/COLOUR/0.png and so on."""
  rng = np.random.default_rng(seed)
  for name, colour in COLOURS.items():
    (folder / split / name).mkdir(parents=True)
    for index in range(count):
      noise = rng.integers(-25, 26, (*size[::-1], 3))
      image = np.uint8(np.clip(np.array(colour) + noise, 0, 255))
      Image.fromarray(image).save(folder / split / name / f"{index}.png")


@pytest.mark.slow
def test_a_net_of_own_colour_pictures_is_asked_about_others(tmp_path):
  own = tmp_path / "own"
  write_colours(own, "train", 30)
  write_colours(own, "test", 5, seed=1)
  c = config.default()
  c.data.files, c.data.data_dir, c.data.validation_examples = str(own), str(tmp_path / "data"), 15
  c.num_epochs, c.batch_size, c.model.features = 30.0, 15, (8,)
  train_and_evaluate(c, tmp_path / "run")
  assert json.loads((tmp_path / "run" / "dataset.json").read_text())["pen_strokes"] is False
  write_colours(tmp_path, "new", 1, size=(200, 130), seed=2)
  files = [tmp_path / "new" / name / "0.png" for name in COLOURS]
  command = [f"--workdir={tmp_path / 'run'}", *files]
  done = processes.run(*command, "--json", f"--show={tmp_path / 'seen.png'}", module=PREDICT)
  assert done.returncode == 0, done.stderr
  assert done.stderr == ""
  rows = json.loads(done.stdout)
  assert [row["label"] for row in rows] == list(COLOURS)
  assert all(list(row["probabilities"]) == list(COLOURS) for row in rows)
  with Image.open(tmp_path / "seen.png") as shown:
    colours = {pixel for _, pixel in shown.convert("RGB").getcolors(2**24)}
  assert any(red > 180 and blue < 60 for red, _, blue in colours), "the picture is shown in gray"
  for flag, message in (("--several", "--several reads digits"), ("--as=strokes", "12x16x3")):
    done = processes.run(*command, flag, module=PREDICT)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert message in done.stderr
