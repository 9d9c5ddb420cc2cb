import json
import os
import shutil

import numpy as np
import pytest
from loading import listing_of
from own_files import (
  TEST,
  TRAIN,
  examples,
  load,
  remove,
  rewrite,
  rows,
  write_idx,
  write_parquet,
  write_pictures,
)
from PIL import Image
from processes import run

from mnist_mlp import config, data, inference
from mnist_mlp.errors import RunError, UsageError
from mnist_mlp.train import train_and_evaluate


@pytest.mark.parametrize(
  ("damage", "code", "complaint"),
  [
    (remove("*"), 2, "holds neither IDX files"),
    (rewrite("train-images-idx3-ubyte.gz", lambda c: c[:-1]), 1, "is truncated"),
  ],
)
def test_the_command_line_refuses_bad_files_in_one_line(tmp_path, damage, code, complaint):
  write_idx(tmp_path / "mine")
  damage(tmp_path / "mine")
  process = run(
    "--config=configs/quick.py",
    f"--config.data.files={tmp_path / 'mine'}",
    f"--config.data.data_dir={tmp_path / 'data'}",
    f"--workdir={tmp_path / 'run'}",
  )
  assert process.returncode == code and complaint in process.stderr
  assert "Traceback" not in process.stderr
  assert listing_of(tmp_path) == [
    "mine",
    *(f"mine/{name}" for name in listing_of(tmp_path / "mine")),
  ]


def short(files, data_dir):
  c = config.default()
  c.data.files, c.data.data_dir, c.data.validation_examples = str(files), str(data_dir), 20
  c.batch_size, c.num_epochs, c.num_steps, c.model.features = 20, 1.0, 1, ()
  return c


@pytest.mark.slow
def test_own_files_in_a_folder_that_is_called_like_a_dataset_are_not_that_dataset(
  tmp_path, digits_dir
):
  shutil.copytree(digits_dir, tmp_path / "data")
  write_idx(tmp_path / "digits")
  train_and_evaluate(short(tmp_path / "digits", tmp_path / "data"), tmp_path / "run")
  file = tmp_path / "run" / "dataset.json"
  facts = json.loads(file.read_text())
  assert facts["name"] == "digits (own files)"
  for name in (facts["name"], "digits"):  # The second is what version 0.2.0 wrote.
    file.write_text(json.dumps({**facts, "name": name}))
    net = inference.load_run(tmp_path / "run")
    assert inference.way_of(net) == "pictures"  # 'digits' are pen strokes.
    own = inference.evaluate(net, "test", report=lambda line: None)
    assert (own.dataset, own.examples.num_examples) == ("digits (own files)", 40)
    with pytest.raises(UsageError, match=r"'digits', with images of \(28, 28, 1\)"):
      inference.evaluate(net, "test", "digits", report=lambda line: None)


@pytest.mark.slow
def test_a_run_goes_on_where_its_files_have_moved_and_not_on_others(tmp_path):
  write_idx(tmp_path / "old")
  train_and_evaluate(short(tmp_path / "old", tmp_path / "data"), tmp_path / "run")
  net = inference.load_run(tmp_path / "run")
  (tmp_path / "old").rename(tmp_path / "new")
  net.config.data.files = str(tmp_path / "new")
  assert inference.evaluate(net, "test", report=lambda line: None).examples.num_examples == 40
  rewrite("t10k-labels-idx1-ubyte.gz", lambda c: c[:-1] + b"\0")(tmp_path / "new")
  with pytest.raises(RunError, match="was started on other data"):
    inference.evaluate(net, "test", report=lambda line: None)


@pytest.mark.slow
def test_the_commands_find_files_that_have_moved_and_refuse_others(tmp_path):
  old, new, others = (tmp_path / name for name in ("old", "new", "others"))
  write_idx(old)
  write_idx(others)
  rewrite("t10k-labels-idx1-ubyte.gz", lambda c: c[:-1] + b"\0")(others)
  c, workdir = short(old, tmp_path / "data"), tmp_path / "run"
  train_and_evaluate(c, workdir)
  recipe = tmp_path / "recipe.py"
  recipe.write_text(
    "from mnist_mlp import config\n\ndef get_config():\n  c = config.default()\n"
    f"  c.update({c.to_dict()!r})\n  return c\n"
  )
  old.rename(new)

  def main(files):
    return run(f"--config={recipe}", f"--config.data.files={files}", f"--workdir={workdir}")

  def evaluate(*arguments):
    return run(f"--workdir={workdir}", "--json", *arguments, module="mnist_mlp.evaluate")

  # A finished run.
  for files in (old, new):
    done = main(files)
    assert done.returncode == 0 and "is finished" in done.stdout, done.stderr
    assert f"--start_from={workdir} --more_epochs=10" in done.stdout
    assert "this run again" not in done.stdout
  done = main(others)
  assert done.returncode == 1 and "was started on other data: on old (own files)" in done.stderr
  # An evaluation.
  done = evaluate()
  assert done.returncode == 2, done.stdout
  assert "the pictures of the run cannot be had: config.data.files is" in done.stderr
  assert done.stderr.endswith("; --files=FOLDER says where they lie now\n")
  done = evaluate(f"--files={new}", "--split=validation")
  report = json.loads(done.stdout)
  assert report["examples"] == 20 and "not exactly" not in done.stderr
  text = (workdir / "evaluation" / "new-own-files-validation" / "report.txt").read_text()
  for mistake in report["worst_mistakes"]:
    assert mistake["file"].startswith("train-images-idx3-ubyte.gz: image ")
    assert f"image {mistake['index']}, {mistake['file']}: labelled {mistake['label']}, to" in text
  done = evaluate(f"--files={others}")
  assert json.loads(done.stdout)["dataset"] == "others (own files)"
  assert "these are not exactly the pictures of old (own files)" in done.stderr
  done = evaluate(f"--files={old}")
  assert done.stderr == f"error: --files is '{old}', which is not a folder\n"
  done = evaluate(f"--files={new}", "--dataset=digits")
  assert done.returncode == 2 and "--dataset and --files exclude each other" in done.stderr
  assert "--files is empty" in evaluate("--files=").stderr


@pytest.mark.slow
def test_own_pictures_are_brought_to_the_shape_of_a_net_of_other_data(tmp_path, digits_dir):
  c = short("", digits_dir)
  c.data.files, c.data.name = "", "digits"
  train_and_evaluate(c, tmp_path / "run")
  write_idx(tmp_path / "mine")  # Digits of 8x10 pixels.
  net = inference.load_run(tmp_path / "run")
  places = {"files": str(tmp_path / "mine"), "data_dir": str(tmp_path / "data")}
  found = inference.evaluate(net, "test", report=lambda line: None, places=places)
  assert found.examples.images.shape == (40, 28, 28, 1)
  assert found.dataset == "mine (own files)"
  write_pictures(tmp_path / "things")
  for folder in (tmp_path / "things").glob("*/0"):
    folder.rename(folder.with_name("zero"))
  places["files"] = str(tmp_path / "things")
  with pytest.raises(UsageError, match=r"with the classes 1, 2, .* zero, but the net knows 0, 1,"):
    inference.evaluate(net, "test", report=print, places=places)


@pytest.mark.slow
def test_a_run_trains_on_parquet_files(tmp_path):
  write_parquet(tmp_path / "mine")
  c = config.default()
  c.data.files, c.data.data_dir = str(tmp_path / "mine"), str(tmp_path / "data")
  c.data.validation_examples, c.batch_size, c.num_epochs = 20, 20, 30.0
  c.eval_every_epochs = 15.0
  c.model.features = (32,)
  train_and_evaluate(c, tmp_path / "run")
  result = json.loads((tmp_path / "run" / "result.json").read_text())
  assert result["dataset"]["name"] == "mine (own files)" and result["dataset"]["stand_in_for"] == ""
  assert result["dataset"]["examples"] == {"train": 100, "validation": 20, "test": 40}
  assert result["test"]["accuracy"] > 0.6
  rows(labels=[0] * 40)(tmp_path / "mine")
  with pytest.raises(RunError, match=r"started on other data: on mine \(own files\) of the"):
    train_and_evaluate(c, tmp_path / "run")


@pytest.mark.slow
def test_the_commands_work_on_folders_of_pictures(tmp_path, digits_dir):
  write_pictures(tmp_path / "mine")
  shutil.copytree(digits_dir, tmp_path / "data")
  workdir = f"--workdir={tmp_path / 'run'}"
  process = run(
    "--config=configs/quick.py",
    f"--config.data.files={tmp_path / 'mine'}",
    workdir,
    f"--config.data.data_dir={tmp_path / 'data'}",
    "--config.data.validation_examples=20",
    "--config.batch_size=20",
    "--config.model.features=32,",
  )
  assert process.returncode == 0, process.stderr
  result = json.loads((tmp_path / "run" / "result.json").read_text())
  process = run("--json", workdir, module="mnist_mlp.evaluate")
  report = json.loads(process.stdout)
  assert report["dataset"] == "mine (own files)" and report["examples"] == 40
  assert report["accuracy"] == pytest.approx(result["test"]["accuracy"])
  assert (tmp_path / "run" / "evaluation" / "mine-own-files-test" / "report.txt").exists()
  process = run("--dataset=digits", workdir, module="mnist_mlp.evaluate")
  assert process.returncode == 2 and "'digits', with images of (28, 28, 1)" in process.stderr


def check_files(dataset, image_of):
  """Checks that each example is what lies where `files_of` says."""
  for split in ("train", "validation", "test"):
    images, labels = getattr(dataset, split)
    found = dataset.files_of(split, range(len(labels)))
    assert len(set(found)) == len(labels)
    for file, image, label in zip(found, images, labels, strict=True):
      expected, name = image_of(file)
      np.testing.assert_array_equal(image[..., 0], expected)
      assert dataset.class_names[label] == name


@pytest.mark.parametrize("held_out", [0, 20])
@pytest.mark.parametrize("splits", [("train",), ("train", "test"), ("train", "val", "test")])
def test_each_example_is_in_the_file_that_is_named(tmp_path, splits, held_out):
  write_pictures(tmp_path / "mine")
  if "test" not in splits:
    shutil.rmtree(tmp_path / "mine" / "test")
  if "val" in splits:
    for path in sorted((tmp_path / "mine" / "train").glob("*/*.png"))[::4]:
      moved = tmp_path / "mine" / "val" / path.parent.name / path.name
      moved.parent.mkdir(parents=True, exist_ok=True)
      path.rename(moved)
  dataset, _ = load(tmp_path / "mine", tmp_path / "data", validation_examples=held_out)
  assert bool(dataset.validation.num_examples) == bool(held_out)

  def image_of(file):
    path = tmp_path / "mine" / file
    return np.asarray(Image.open(path)), path.parent.name

  check_files(dataset, image_of)


def test_of_files_that_hold_several_examples_the_place_is_named(tmp_path):
  write_idx(tmp_path / "idx")
  dataset, _ = load(tmp_path / "idx", tmp_path / "data", validation_examples=20)
  splits = {"train": examples(TRAIN), "t10k": examples(TEST)}

  def image_of(file):
    name, index = file.split("-images-idx3-ubyte.gz: image ")
    images, labels = splits[name]
    return images[int(index)], str(labels[int(index)])

  check_files(dataset, image_of)


def test_a_dataset_of_tfds_names_no_files(digits_dir):
  options = config.default().data
  options.update(name="digits", data_dir=str(digits_dir))
  assert data.load(options, report=lambda line: None).files_of("test", [0, 1]) == []


def test_file_names_that_are_no_text_are_found(tmp_path):
  write_pictures(tmp_path / "mine")
  odd = tmp_path / "mine" / "test" / "3" / os.fsdecode(b"\xff\x1b.png")
  next((tmp_path / "mine" / "test" / "3").iterdir()).rename(odd)
  dataset, _ = load(tmp_path / "mine", tmp_path / "data")
  with pytest.raises(UsageError, match=r"'tset', which is not one of .*; did you mean 'test'"):
    dataset.files_of("tset", [0])
  for index in (-1, 40):
    with pytest.raises(UsageError, match=f"test has 40 examples, from 0, and so none at {index}"):
      dataset.files_of("test", [index])
  assert str(odd.relative_to(tmp_path / "mine")) in dataset.files_of("test", range(40))
