"""A picture's way to a 28x28 image, and a run's way back from its folder."""

import dataclasses
import io
import json
import os
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from handwriting import drawing, gray_picture, photograph, saved, seven
from ml_collections import FrozenConfigDict
from PIL import Image, ImageCms
from scipy import ndimage

from mnist_mlp import config
from mnist_mlp.core import steps
from mnist_mlp.data import dataset as data
from mnist_mlp.errors import RunError, UsageError
from mnist_mlp.inference import pictures as inference
from mnist_mlp.train import train_and_evaluate

HANDWRITING = Path(__file__).resolve().parents[3] / "shared" / "data" / "handwriting"


@pytest.fixture(scope="module")
def run(trained_run):
  return inference.load_run(trained_run)


@pytest.fixture(scope="module")
def test_split(run):
  return data.load(run.config.data, report=lambda line: None).test


@pytest.fixture(scope="module")
def mnist_test(run, test_split):
  if run.facts["name"] != "mnist":
    pytest.skip("MNIST's original files are not there")
  return test_split


def read(content):
  return inference.load_picture(io.BytesIO(content), "picture")


def labels_of(run, pictures):
  return [p.label for p in inference.classify(run, [inference.prepare(p) for p in pictures])]


def right(run, pictures, labels):
  """The share of pictures that the net takes for what they are."""
  return np.mean([a == str(b) for a, b in zip(labels_of(run, pictures), labels, strict=True)])


# --- MNIST's own images ---------------------------------------------------------------------------


def test_mnist_images_in_files_are_left_as_they_are(run, mnist_test):
  images, labels = mnist_test.images[::20], mnist_test.labels[::20]
  kinds = [("L", 0), ("RGB", 0), ("L", 255), ("RGBA", 0)]  # 255: the negative
  pictures = []
  for index, image in enumerate(images):
    mode, negative = kinds[index % len(kinds)]
    file = io.BytesIO()
    Image.fromarray(np.abs(negative - image[:, :, 0].astype(int)).astype(np.uint8)).convert(
      mode
    ).save(file, "PNG")
    pictures.append(read(file.getvalue()))
  prepared = np.stack([inference.prepare(picture).pixels for picture in pictures])
  assert (prepared == images).all()
  as_arrays = np.mean(run.logits(images).argmax(-1) == labels)
  assert abs(right(run, pictures, labels) - as_arrays) <= 0.001


def test_mnist_images_survive_being_enlarged_moved_and_brought_back(run, mnist_test):
  images, labels = mnist_test.images[::50, :, :, 0], mnist_test.labels[::50]
  as_arrays = np.mean(run.logits(images[..., None]).argmax(-1) == labels)
  pictures = [
    Image.fromarray(np.pad(255 - image, ((0, 9), (20, 3)), constant_values=255)).resize(
      (204, 148), Image.Resampling.BICUBIC
    )
    for image in images
  ]
  assert right(run, pictures, labels) >= as_arrays - 0.02


def test_fat_digits_cut_out_tightly_are_found(run, mnist_test):
  images, labels = mnist_test.images[::50, :, :, 0], mnist_test.labels[::50]
  pictures = [
    Image.fromarray(np.pad(255 - image[inference._box(image > 0)], 1, constant_values=255))
    for image in images
  ]
  assert right(run, pictures, labels) >= 0.95


# --- Pictures as people make them -----------------------------------------------------------------


def test_drawings(run, mnist_test):
  rng = np.random.default_rng(1)
  pictures = [drawing(image[:, :, 0], rng) for image in mnist_test.images[:150]]
  assert right(run, pictures, mnist_test.labels[:150]) >= 0.95


@pytest.mark.parametrize("shadow", [False, True])
def test_photographs(run, mnist_test, shadow):
  rng = np.random.default_rng(2)
  images, labels = mnist_test.images[:70, :, :, 0], mnist_test.labels[:70]
  pictures = [read(photograph(image, rng, shadow)) for image in images]
  assert right(run, pictures, labels) >= 0.93


def test_dithered_photographs(run, mnist_test):
  rng = np.random.default_rng(3)
  images, labels = mnist_test.images[:70, :, :, 0], mnist_test.labels[:70]
  pictures = [read(photograph(image, rng)).convert("L").convert("1") for image in images]
  assert right(run, pictures, labels) >= 0.93


def test_shared_handwriting(run):
  if not HANDWRITING.is_dir():
    pytest.skip(f"there is no handwriting in {HANDWRITING}")
  if run.facts["name"] != "mnist":
    pytest.skip("MNIST's original files are not there")
  paths = sorted(HANDWRITING.glob("*.png"))
  assert len(paths) == 7
  assert (
    right(run, [inference.load_picture(path) for path in paths], [path.name[0] for path in paths])
    == 1
  )


# --- What is done to a picture --------------------------------------------------------------------


def test_the_digit_is_fitted_and_its_mass_centred():
  for ink in (seven(), seven(60, 100), seven(180, 60)):
    pixels = inference.prepare(gray_picture(ink)).pixels
    assert pixels.shape == (28, 28, 1) and pixels.dtype == np.uint8
    rows, columns = inference._box(pixels[:, :, 0] > 0)
    sides = rows.stop - rows.start, columns.stop - columns.start
    assert max(sides) == 20
    height, width = (part - 80 for part in ink.shape)
    assert sides[0] / sides[1] == pytest.approx(height / width, rel=0.25, abs=0.05)
    centre = ndimage.center_of_mass(pixels[:, :, 0])
    assert np.abs(np.subtract(centre, 14)).max() <= 0.5
    assert pixels.max() == 255 and len(np.unique(pixels)) > 5  # smooth edges


def test_size_place_and_contrast_change_nothing():
  reference = inference.prepare(gray_picture(seven())).pixels.astype(int)
  ink = np.pad(seven(), ((300, 20), (10, 200)))
  variants = {
    "elsewhere": gray_picture(ink),
    "pale": gray_picture(seven(), 180, 210),
    "light on dark": gray_picture(seven(), 220, 40),
    "a quarter": gray_picture(seven()).resize((35, 45), Image.Resampling.BOX),
    "huge": gray_picture(seven()).resize((1400, 1800), Image.Resampling.BICUBIC),
    "20,000 wide": gray_picture(np.pad(seven(), ((0, 0), (15000, 4860)))),
  }
  for name, picture in variants.items():
    difference = np.abs(inference.prepare(picture).pixels - reference)
    assert difference.mean() < 8, name


def modes():
  """One picture of a 7, in every mode that files have."""
  ink = seven()
  gray = gray_picture(ink)
  alpha = Image.fromarray(np.uint8(255 * ink))
  rgb = gray.convert("RGB")
  lab = ImageCms.profileToProfile(
    rgb, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
  )
  values = 30000.0 - 20000 * ink
  palette = gray.convert("P")
  palette.info["transparency"] = 230  # the index of the paper's gray
  black, white = (Image.new("L", gray.size, level) for level in (0, 255))
  return {
    "1": gray_picture(ink, 0, 255).convert("1"),
    "L": gray,
    "P": gray.convert("P"),
    "RGB": rgb,
    "CMYK": rgb.convert("CMYK"),
    "YCbCr": rgb.convert("YCbCr"),
    "HSV": rgb.convert("HSV"),
    "dithered": gray.convert("1"),
    "dithered palette": gray.convert("1").convert("P"),
    "LAB": lab,
    "I;16": Image.fromarray(values.astype(np.uint16)),
    "I": Image.fromarray(values.astype(np.int32)),
    "F": Image.fromarray(values / 1e6),
    "black on nothing": Image.merge("LA", (black, alpha)),
    "white on nothing": Image.merge("LA", (white, alpha)),
    "hidden colour below": Image.merge("RGBA", (black, black, black, alpha)),
    "transparent palette": palette,
    "opaque sheet on nothing": _sheet_on_nothing(gray),
    "red on green of equal brightness": Image.merge(
      "RGB",
      (Image.fromarray(np.uint8(200 * ink)), Image.fromarray(np.uint8(102 * (1 - ink))), black),
    ),
  }


def _sheet_on_nothing(gray):
  sheet = Image.new("RGBA", (gray.width + 60, gray.height + 90))
  sheet.paste(gray.convert("RGBA"), (30, 45))
  return sheet


@pytest.mark.parametrize("name", modes())
def test_every_mode_shows_the_same(name):
  reference = inference.prepare(gray_picture(seven())).pixels.astype(int)
  prepared = inference.prepare(modes()[name])
  assert prepared.pixels is not None
  assert np.abs(prepared.pixels - reference).mean() < 3


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_exif_orientation_is_obeyed(orientation):
  content = saved(gray_picture(seven()), "PNG", orientation)
  reference = inference.prepare(gray_picture(seven())).pixels
  assert (inference.prepare(read(content)).pixels == reference).all()


def test_thin_strokes_become_as_wide_as_mnists():
  ink = np.zeros((400, 300), np.float32)
  ink[100:300, 150:152] = ink[100:102, 100:152] = 1
  pixels = inference.prepare(gray_picture(ink)).pixels[:, :, 0]
  assert 1.6 <= (pixels[10:20] / 255).sum(1).mean() <= 2.4


def test_thin_slanted_lines_are_not_taken_for_dots():
  ink = np.zeros((90, 80), np.float32)
  ink[range(15, 65), range(62, 12, -1)] = ink[15, 20:63] = 1
  one_bit = gray_picture(ink, 0, 255).convert("1")
  more_colors = one_bit.convert("L")
  more_colors.putpixel((0, 0), 254)
  assert (inference.prepare(one_bit).pixels == inference.prepare(more_colors).pixels).all()


def test_dirt_and_the_papers_edge_are_no_ink():
  reference = inference.prepare(gray_picture(seven())).pixels.astype(int)
  picture = np.array(gray_picture(np.pad(seven(), 30)))
  picture[5:8, 5:8] = 30  # a speck
  picture[:, -12:] = 20  # the table
  assert np.abs(inference.prepare(Image.fromarray(picture)).pixels - reference).mean() < 3


# --- What is no digit -----------------------------------------------------------------------------


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
def test_no_ink(run, values):
  prepared = inference.prepare(Image.fromarray(np.uint8(np.clip(values, 0, 255))))
  assert prepared.pixels is None
  assert inference.classify(run, [prepared]) == [inference.Prediction(None, {}, "no ink")]


@pytest.mark.parametrize(
  ("ink", "doubt"),
  [
    (np.pad(np.ones((30, 30)), 20), "solid"),
    (np.pad(np.ones((6, 60)), 20), "times as wide as high"),
    (np.kron(np.pad(np.indices((3, 3)).sum(0) % 1 + 1, 1), np.pad(np.ones((8, 8)), 8)), "9 pieces"),
  ],
  ids=["square", "dash", "dots"],
)
def test_what_has_not_the_shape_of_a_digit(run, ink, doubt):
  prepared = inference.prepare(gray_picture(ink))
  assert doubt in prepared.doubt
  (prediction,) = inference.classify(run, [prepared])
  assert prediction.label in run.class_names
  assert prediction.note.startswith("probably no digit") and doubt in prediction.note


def test_a_net_that_does_not_know_says_so(run):
  know_nothing = dataclasses.replace(
    run, state=run.state.replace(params=jax.tree.map(np.zeros_like, run.state.params))
  )
  (prediction,) = inference.classify(know_nothing, [inference.prepare(gray_picture(seven()))])
  assert prediction.probabilities[prediction.label] == pytest.approx(0.1)
  assert prediction.note == "probably no digit: no class reaches 50%"


def test_few_mnist_images_are_doubted(run, mnist_test):
  prepared = [inference.prepare(Image.fromarray(i[:, :, 0])) for i in mnist_test.images[::20]]
  assert sum(bool(p.doubt) for p in prepared) <= 1
  notes = [p.note for p in inference.classify(run, prepared)]
  assert sum(map(bool, notes)) <= 0.06 * len(notes)


# --- Files ----------------------------------------------------------------------------------------


def test_an_animation_shows_its_first_frame():
  file = io.BytesIO()
  frames = [gray_picture(seven()), gray_picture(seven().T), Image.new("L", (140, 180))]
  frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
  reference = inference.prepare(frames[0]).pixels.astype(int)
  assert np.abs(inference.prepare(read(file.getvalue())).pixels - reference).mean() < 3


def test_a_file_without_permission(tmp_path):
  path = tmp_path / "secret.png"
  gray_picture(seven()).save(path)
  path.chmod(0)
  is_root = os.geteuid() == 0
  if is_root:
    for folder in (tmp_path, *tmp_path.parents[:3]):
      folder.chmod(0o755)
    os.seteuid(65534)
  try:
    with pytest.raises(RunError, match=r"secret.png (cannot be read: Permission|does not exist)"):
      inference.load_picture(path)
  finally:
    if is_root:
      os.seteuid(0)


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (b"", "picture is empty"),
    (b"#!/bin/sh\n", "picture is not a picture of a known format"),
    ("truncated PNG", "picture is damaged: .*truncated"),
    ("truncated JPEG", "picture is damaged: .*truncated"),
  ],
)
def test_files_that_are_no_pictures(content, message):
  if isinstance(content, str):
    whole = saved(gray_picture(seven()), content.split()[1])
    content = whole[: len(whole) // 2]
  with pytest.raises(RunError, match=message):
    read(content)


# --- Runs -----------------------------------------------------------------------------------------


def contents(folder):
  return {
    str(path): (path.stat().st_mtime_ns, path.is_file() and path.read_bytes())
    for path in sorted(folder.rglob("*"))
  }


def test_a_run_is_restored_without_its_data_and_left_untouched(trained_run, test_split, tmp_path):
  workdir = tmp_path / "run"
  shutil.copytree(trained_run, workdir)
  # As a run that goes on leaves it: a save has begun. And its data are gone.
  (workdir / "checkpoints" / "99999.orbax-checkpoint-tmp").mkdir()
  settings = json.loads((workdir / "config.json").read_text())
  settings["data"]["data_dir"] = str(tmp_path / "gone")
  (workdir / "config.json").write_text(json.dumps(settings))
  before = contents(workdir)
  run = inference.load_run(workdir)
  assert contents(workdir) == before
  result = json.loads((workdir / "result.json").read_text())
  assert (run.step, run.image_shape) == (result["steps"], (28, 28, 1))
  assert run.class_names == list("0123456789")
  logits = run.logits(test_split.images)
  assert np.mean(logits.argmax(-1) == test_split.labels) == pytest.approx(
    result["test"]["accuracy"]
  )


def digits_config(digits_dir, **changes):
  c = config.default()
  c.data.name, c.data.data_dir, c.data.validation_examples = "digits", str(digits_dir), 100
  c.num_epochs, c.batch_size, c.model.features = 4.0, 50, (32,)
  c.update_from_flattened_dict({key.replace("__", "."): value for key, value in changes.items()})
  return c


@pytest.mark.parametrize(
  "changes",
  [
    {"ema__decay": 0.99, "model__norm": "batch", "model__inputs": "standardized"},
    {"optimizer__name": "schedule_free", "loss__name": "squared_error"},
  ],
)
def test_the_weights_are_those_that_the_run_evaluates(digits_dir, tmp_path, changes):
  train_and_evaluate(digits_config(digits_dir, **changes), tmp_path)
  run = inference.load_run(tmp_path)
  test = data.load(run.config.data, report=lambda line: None).test
  logits = run.logits(test.images)
  result = json.loads((tmp_path / "result.json").read_text())
  assert np.mean(logits.argmax(-1) == test.labels) == pytest.approx(result["test"]["accuracy"])
  last = run.state.apply_fn({"params": run.state.params, **run.state.model_state}, test.images)
  assert np.abs(logits - last).max() > 1e-3  # the last weights would not do
  probabilities = run.probabilities(logits)
  assert probabilities.min() > 0
  assert probabilities.sum(-1) == pytest.approx(1)
  assert (probabilities.argmax(-1) == logits.argmax(-1)).all()


def test_the_best_checkpoint_of_an_unfinished_run(trained_run, tmp_path):
  workdir = tmp_path / "run"
  shutil.copytree(trained_run, workdir)
  (workdir / "result.json").unlink()
  files = {
    int(path.parts[-3]): path for path in (workdir / "checkpoints").glob("[0-9]*/metrics/metrics")
  }
  files[max(files)].write_text(json.dumps({"validation_accuracy": 0.5}))
  accuracies = {
    step: json.loads(file.read_text())["validation_accuracy"] for step, file in files.items()
  }
  best = max(accuracies, key=accuracies.get)
  run = inference.load_run(workdir, best=True)
  assert run.step == best < inference.load_run(workdir).step
  validation = data.load(run.config.data, report=lambda line: None).validation
  accuracy = steps.evaluate(run.state, *validation, config=FrozenConfigDict(run.config)).compute()[
    "accuracy"
  ]
  assert accuracy == pytest.approx(accuracies[best], abs=1e-6)


def damage_checkpoint(workdir):
  for path in (workdir / "checkpoints").rglob("d/*"):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def move_below(workdir):
  shutil.copytree(workdir, workdir / "a", ignore=shutil.ignore_patterns("a"))
  (workdir / "config.json").unlink()


def remove_checkpoints(workdir):
  for path in (workdir / "checkpoints").iterdir():
    shutil.rmtree(path)


@pytest.mark.parametrize(
  ("harm", "message"),
  [
    (lambda w: shutil.rmtree(w), "run does not exist"),
    (lambda w: (w / "config.json").unlink(), "holds no run: it has no config.json"),
    (move_below, "holds no run.*run/a"),
    (lambda w: (w / "config.json").write_text("{"), "config.json"),
    (lambda w: (w / "dataset.json").unlink(), "has no checkpoint yet"),
    (lambda w: (w / "dataset.json").write_text("{}"), "dataset.json is damaged"),
    (lambda w: (w / "dataset.json").write_text("["), "dataset.json cannot be read"),
    (lambda w: shutil.rmtree(w / "checkpoints"), "has no checkpoint yet"),
    (remove_checkpoints, "no whole checkpoint"),
    (damage_checkpoint, "checkpoint .* is damaged"),
  ],
  ids=[
    "missing",
    "other folder",
    "folder of runs",
    "config",
    "not begun",
    "dataset facts",
    "dataset JSON",
    "unsaved",
    "empty",
    "flipped bits",
  ],
)
def test_workdirs_that_hold_no_net(trained_run, tmp_path, harm, message):
  workdir = tmp_path / "run"
  shutil.copytree(trained_run, workdir)
  harm(workdir)
  with pytest.raises((RunError, UsageError), match=message) as caught:
    inference.load_run(workdir)
  assert "\n" not in str(caught.value)


def test_a_run_of_other_images_is_refused(run):
  other = dataclasses.replace(
    run, facts={**run.facts, "name": "cifar10", "image_shape": [32, 32, 3]}
  )
  with pytest.raises(UsageError, match="trained on cifar10, images of 32x32x3"):
    inference.check_takes_digits(other)
