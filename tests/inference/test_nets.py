"""A run's net, back from its folder."""

import dataclasses
import json
import shutil

import numpy as np
import processes
import pytest
import scipy.special
from ml_collections import FrozenConfigDict

from mnist_mlp import config, data, inference
from mnist_mlp.core import steps
from mnist_mlp.errors import RunError, UsageError
from mnist_mlp.run import calibration
from mnist_mlp.train import train_and_evaluate


def contents(folder):
  return {
    str(path): (path.stat().st_mtime_ns, path.is_file() and path.read_bytes())
    for path in sorted(folder.rglob("*"))
  }


def test_a_net_is_read_without_its_data_and_its_run_is_left_untouched(
  trained_run, test_split, tmp_path
):
  workdir = tmp_path / "run"
  shutil.copytree(trained_run, workdir)
  # A run that goes on leaves such a folder when a save has begun.
  (workdir / "checkpoints" / "99999.orbax-checkpoint-tmp").mkdir()
  settings = json.loads((workdir / "config.json").read_text())
  settings["data"]["data_dir"] = str(tmp_path / "gone")  # The data are gone.
  (workdir / "config.json").write_text(json.dumps(settings))
  before = contents(workdir)
  net = inference.load_run(workdir)
  assert contents(workdir) == before
  result = json.loads((workdir / "result.json").read_text())
  assert (net.step, net.image_shape) == (result["steps"], (28, 28, 1))
  assert net.class_names == list("0123456789")
  logits = net.logits(test_split.images)
  assert np.mean(logits.argmax(-1) == test_split.labels) == pytest.approx(
    result["test"]["accuracy"]
  )


def digits_config(digits_dir, **changes):
  c = config.default()
  c.data.name, c.data.data_dir, c.data.validation_examples = "digits", str(digits_dir), 100
  c.num_epochs, c.batch_size, c.model.features = 4.0, 50, (32,)
  c.update_from_flattened_dict({key.replace("__", "."): value for key, value in changes.items()})
  return c


@pytest.mark.slow
@pytest.mark.parametrize(
  "changes",
  [
    {"ema__decay": 0.99, "model__norm": "batch", "model__inputs": "standardized"},
    {"optimizer__name": "schedule_free", "loss__name": "squared_error"},
  ],
)
def test_the_weights_are_those_that_the_run_evaluates(digits_dir, tmp_path, changes):
  train_and_evaluate(digits_config(digits_dir, **changes), tmp_path)
  net = inference.load_run(tmp_path)
  test = data.load(net.config.data, report=lambda line: None).test
  logits = net.logits(test.images)
  result = json.loads((tmp_path / "result.json").read_text())
  assert np.mean(logits.argmax(-1) == test.labels) == pytest.approx(result["test"]["accuracy"])
  last = net.state.apply_fn({"params": net.state.params, **net.state.model_state}, test.images)
  assert np.abs(logits - last).max() > 1e-3  # the last weights would not do
  probabilities = net.probabilities(logits)
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
  net = inference.load_run(workdir, best=True)
  assert net.step == best < inference.load_run(workdir).step
  validation = data.load(net.config.data, report=lambda line: None).validation
  found = steps.evaluate(net.state, validation, config=FrozenConfigDict(net.config)).compute()
  assert found["accuracy"] == pytest.approx(accuracies[best], abs=1e-6)


@pytest.mark.parametrize("best", [False, True])
def test_the_temperature_is_that_of_the_weights(trained_run, best):
  """Those of the last and of the best validation each have their own."""
  net = inference.load_run(trained_run, best=best)
  images, labels = data.load(net.config.data, report=lambda line: None).validation
  expected = calibration.fit_temperature(net.logits(images), labels)
  assert net.temperature == pytest.approx(expected, rel=1e-4)
  assert net.temperature < 0.8  # Its labels were smoothed: it is not sure enough.


@pytest.mark.slow
def test_the_best_weights_have_a_temperature_of_their_own(digits_dir, tmp_path):
  c = digits_config(digits_dir, num_epochs=12.0, optimizer__learning_rate=0.05)
  train_and_evaluate(c, tmp_path)
  last, best = (inference.load_run(tmp_path, best=best) for best in (False, True))
  assert best.step < last.step, "the last weights are the best; take another learning rate"
  images, labels = data.load(c.data, report=lambda line: None).validation
  for net in (last, best):
    expected = calibration.fit_temperature(net.logits(images), labels)
    assert net.temperature == pytest.approx(expected, rel=1e-4)
  assert abs(np.log(last.temperature / best.temperature)) > 1e-3


def test_a_run_of_an_earlier_version_is_not_calibrated(trained_run, tmp_path):
  workdir = tmp_path / "run"
  shutil.copytree(trained_run, workdir)
  result = json.loads((workdir / "result.json").read_text())
  del result["calibration"]
  (workdir / "result.json").write_text(json.dumps(result))
  net = inference.load_run(workdir)
  assert net.temperature is None
  logits = np.random.default_rng(0).normal(size=(5, 10)).astype(np.float32)
  assert net.probabilities(logits) == pytest.approx(scipy.special.softmax(logits, -1))


def damage_checkpoint(workdir):
  for path in (workdir / "checkpoints").rglob("d/*"):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def move_below(workdir):
  shutil.copytree(workdir, workdir / "a", ignore=shutil.ignore_patterns("a"))
  (workdir / "config.json").unlink()


def remove_the_name_of_the_data(workdir):
  facts = json.loads((workdir / "dataset.json").read_text())
  del facts["name"]
  (workdir / "dataset.json").write_text(json.dumps(facts))


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
    (lambda w: (w / "dataset.json").write_text("[]"), "dataset.json is damaged"),
    (remove_the_name_of_the_data, "dataset.json is damaged"),
    (lambda w: (w / "dataset.json").write_text("["), "dataset.json cannot be read"),
    (lambda w: shutil.rmtree(w / "checkpoints"), "its last checkpoint, .* is no longer in"),
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
    "dataset list",
    "dataset name",
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


@pytest.mark.parametrize(
  "loss", ["softmax_cross_entropy", "sigmoid_cross_entropy", "squared_error"]
)
def test_extreme_logits_become_probabilities(trained_run, loss):
  c = inference.load_run(trained_run).config.copy_and_resolve_references()
  c.loss.name = loss
  net = dataclasses.replace(inference.load_run(trained_run), config=c, temperature=0.3)
  logits = np.array([[-1000, -1000, -1000], [1000, -1000, 0], [0.2, 0.3, 0.1]], np.float32)
  probabilities = net.probabilities(logits)
  assert probabilities.dtype == np.float64
  assert probabilities.sum(-1) == pytest.approx(1)
  assert probabilities[0] == pytest.approx(1 / 3)
  assert (probabilities[1:].argmax(-1) == [0, 1]).all()


def test_the_package_imports_nothing_that_takes_time():
  code = "import sys; from mnist_mlp import inference; print(*sys.modules)"
  done = processes.python(code)
  assert done.returncode == 0, done.stderr
  assert not {"jax", "scipy", "PIL", "sklearn", "matplotlib"} & set(done.stdout.split())
  assert set(inference.__all__) <= set(dir(inference))
  assert all(getattr(inference, name) is not None for name in inference.__all__)
