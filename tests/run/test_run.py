"""What must be right before a run starts, and what its folder then holds."""

import dataclasses
import re

import numpy as np
import pytest
import small
import small_run

from mnist_mlp.config import Length
from mnist_mlp.errors import RunError, UsageError
from mnist_mlp.run.loop import Timetable
from mnist_mlp.run.run import check_same_data, check_sizes, fitted, open_run, shortness, spec_of
from mnist_mlp.run.workdir import Workdir


def test_sizes_that_fit_give_the_length_of_the_run():
  assert check_sizes(small.config_of(), small.dataset()) == Length(6, 30)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    (
      {"augment__rotation_of": (1, 10)},
      r"rotation_of is \(1, 10\), but the classes of 'small' are 0 to 9",
    ),
    (
      {"batch_size": 97},
      r"config\.batch_size is 97, larger than the 96 training examples of 'small'",
    ),
    (
      {"optimizer__name": "lbfgs"},
      r"config\.batch_size is 16, but optimizer 'lbfgs' needs the full batch, 96",
    ),
    ({"num_epochs": 0.01}, r"config\.num_epochs is 0\.01, which is less than one step"),
    (
      {"num_epochs": 1e9},
      r"config\.num_epochs is 1000000000\.0, which is 6,000,000,000 steps, .* 2,147,483,647 at",
    ),
    (
      {"augment__shift": 1.0, "augment__clean_steps": 30},
      r"clean_steps leaves the last 30 steps clean, but the run has only 30 steps",
    ),
  ],
)
def test_sizes_that_do_not_fit_are_refused(changes, message):
  with pytest.raises(UsageError, match=message):
    check_sizes(small.config_of(**changes), small.dataset())


@pytest.mark.parametrize(("asked", "devices", "used"), [(96, 1, 96), (97, 1, 96), (500, 5, 95)])
def test_a_batch_larger_than_the_data_shrinks(asked, devices, used):
  c = small.config_of(batch_size=asked, eval_batch_size=20)
  got, line = fitted(c, small.dataset(), devices)
  assert (got.batch_size, c.batch_size) == (used, asked)
  assert check_sizes(got, small.dataset(), devices) == Length(1, 5)
  assert (f"batches of {used} are used" in line) == (asked != used)


@pytest.mark.parametrize(
  ("changes", "steps"),
  [
    ({"num_epochs": 5.0}, 30),  # Of six batches.
    ({"num_epochs": 17.0}, 0),
    ({"num_epochs": 0.0, "num_steps": 30}, 0),  # It was said.
    ({"num_epochs": 20.0, "batch_size": 96, "optimizer__name": "lbfgs"}, 0),
  ],
)
def test_epochs_of_few_steps_are_said(changes, steps):
  c = small.config_of(**changes)
  line = shortness(c, check_sizes(c, small.dataset()))
  assert (f"few steps to learn from: {steps}, of 16 examples each" in line) == bool(steps)
  assert bool(line) == bool(steps)


def test_pixel_statistics_are_computed_only_where_the_net_needs_them():
  train = small.dataset().train.images.astype(float)
  assert spec_of(small.config_of(), small.dataset()) == small.spec()
  spec = spec_of(small.config_of(model__inputs="standardized"), small.dataset())
  np.testing.assert_allclose((spec.pixel_mean, spec.pixel_std), (train.mean(), train.std()))


def test_a_run_on_other_data_is_refused(tmp_path):
  folder, dataset = Workdir(tmp_path), small.dataset()
  check_same_data(folder, dataset)  # A new folder holds no run.
  folder.write_json("dataset.json", dataset.describe())
  check_same_data(folder, dataset)
  other = dataclasses.replace(dataset, fingerprint="1")
  message = (
    f"the run in {tmp_path} was started on other data: on small of the fingerprint 0, not on small "
    "of 1; "
  )
  with pytest.raises(RunError, match=f"^{re.escape(message)}use another --workdir$"):
    check_same_data(folder, other)
  with pytest.raises(RunError, match=f"^{re.escape(message)}or so$"):
    check_same_data(folder, other, "or so")


def test_a_stand_in_is_said_in_a_box(tmp_path):
  run = small_run.run_of(tmp_path)
  run.warn_of_stand_in()
  assert run.console.lines == []
  dataset = dataclasses.replace(run.dataset, stand_in_for="mnist")
  dataclasses.replace(run, dataset=dataset).warn_of_stand_in()
  first, second, third, last = run.console.lines[0].splitlines()
  assert first == last == "!" * len(second)
  assert "mnist could not be had: this run trains on small INSTEAD." in second
  assert "Its results say nothing about mnist." in third


def test_an_opened_run_knows_its_data_and_its_length(digits_dir, tmp_path):
  c = small.config_of(data__name="digits", data__data_dir=str(digits_dir), num_epochs=2.0)
  c.data.validation_examples = 300
  with Workdir(tmp_path / "run").claim(c) as folder:
    run = open_run(c, folder, small_run.Lines())
  assert (run.config, run.folder, run.dataset.name) == (c, folder, "digits")
  assert run.timetable == Timetable(75, 150, 75, 0)
  assert (run.spec.num_train, run.spec.image_shape) == (1200, (28, 28, 1))
  assert run.environment["devices"]
  assert any("digits" in line for line in run.console.lines)
  assert folder.read_json("dataset.json") == run.dataset.describe()
  assert folder.config() == c
  assert run.about() == {
    "config": c.to_dict(),
    "environment": run.environment,
    "fingerprint": run.dataset.fingerprint,
    "rows": [],
  }


def test_a_config_that_does_not_fit_leaves_nothing(digits_dir, tmp_path):
  c = small.config_of(data__name="digits", data__data_dir=str(digits_dir))
  c.data.validation_examples, c.optimizer.name = 0, "lbfgs"
  with (
    pytest.raises(UsageError, match="needs the full batch"),
    Workdir(tmp_path / "run").claim(c) as folder,
  ):
    open_run(c, folder, small_run.Lines())
  assert not (tmp_path / "run").exists()
