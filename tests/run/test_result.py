"""The content of result.json."""

import dataclasses
import json

import numpy as np
import pytest
import small
import small_run

from mnist_mlp.errors import RunError
from mnist_mlp.run import calibration
from mnist_mlp.run.result import Ending, Logits, result_of, temperature_of
from mnist_mlp.run.workdir import Workdir

ROWS = [
  {
    "step": step,
    "epoch": step / 6,
    "train/loss": 1 / step,
    "train/accuracy": 0.5,
    "validation/loss": 2 / step,
    "validation/cross_entropy": 3 / step,
    "validation/accuracy": accuracy,
    "train/learning_rate": 0.01,
  }
  for step, accuracy in ((6, 0.25), (12, 0.75), (15, 0.5))
]
TEST = {"loss": 0.1, "cross_entropy": 0.2, "accuracy": 0.9, "error_percent": 10.0, "examples": 41}


SIZES = {"validation": 120}  # enough to fit a temperature on


def logits_of(split, sure):
  """Returns logits of a net that is right about nine in ten, and so sure."""
  rng = np.random.default_rng(0)
  right = np.eye(small.CLASSES, dtype=np.float32)[split.labels]
  return sure * np.where(rng.random((len(right), 1)) < 0.9, right, np.roll(right, 1, -1))


LOGITS = Logits(
  logits_of(small.splits(**SIZES).test, 2.0),
  logits_of(small.splits(**SIZES).validation, 2.0),
  logits_of(small.splits(**SIZES).validation, 4.0),
)


def ending(**changes):
  """Returns the ending of a resumed run that trained nothing more."""
  resumed = Ending(TEST, None, weights=1234, rate=0.0, seconds=None, logits=LOGITS)
  return resumed._replace(**changes)


def finished(path, **changes):
  """Returns a run with metrics, as it is before its result is written."""
  run = small_run.run_of(path, num_steps=15, **changes)
  run = dataclasses.replace(run, dataset=small.dataset(**SIZES))
  for row in ROWS:
    run.folder.history.add(row)
  return run


def test_the_result_says_what_was_trained_and_what_came_of_it(tmp_path):
  run = finished(tmp_path)
  best = {"step": 12, "accuracy": 0.75}
  result = result_of(run, ending(best=best, rate=5678.91, seconds=2.5))
  assert list(result) == [
    "dataset",
    "origin",
    "batch_size",
    "steps",
    "epochs",
    "weights",
    "test",
    "validation",
    "train",
    "best_validation",
    "calibration",
    "examples_per_second",
    "environment",
    "seconds",
  ]
  assert result["dataset"] == small.dataset(**SIZES).describe()
  assert (result["steps"], result["epochs"], result["weights"]) == (15, 2.5, 1234)
  assert result["test"] == TEST
  # The last evaluation, not the best one.
  assert result["validation"] == {"loss": 2 / 15, "cross_entropy": 3 / 15, "accuracy": 0.5}
  assert result["train"] == {"loss": 1 / 15, "accuracy": 0.5}
  assert result["best_validation"] == best
  assert result["examples_per_second"] == 5678.9
  assert (result["environment"], result["seconds"]) == (run.environment, 2.5)
  json.dumps(result)


def test_what_is_not_known_is_null(tmp_path):
  """A resumed run that trained nothing more knows neither its rate nor its time."""
  result = result_of(finished(tmp_path), ending())
  unknown = [name for name, value in result.items() if value is None]
  assert unknown == ["origin", "best_validation", "examples_per_second", "seconds"]


def test_rows_that_were_lost_are_null(tmp_path):
  """An old run may have lost them; what is of another step is not of the end."""
  run = finished(tmp_path)
  run.folder.history.start(ROWS[:2])
  result = result_of(run, ending())
  assert result["validation"] == result["train"] == {"loss": None, "accuracy": None}


def test_the_temperatures_are_those_of_validation(tmp_path):
  result = result_of(finished(tmp_path), ending())
  found, labels = result["calibration"], small.splits(**SIZES).validation.labels
  assert found["temperature"] == calibration.fit_temperature(LOGITS.validation, labels)
  # Twice as large logits have twice the temperature, and then the same probabilities.
  assert found["best_temperature"] == pytest.approx(2 * found["temperature"], rel=1e-3)
  for split in ("validation", "test"):
    errors = found[split]
    assert errors["calibrated_expected_calibration_error"] < errors["expected_calibration_error"]
  probabilities = calibration.probabilities(LOGITS.test, found["temperature"])
  expected = calibration.expected_calibration_error(
    small.splits(**SIZES).test.labels, probabilities
  )
  assert found["test"]["calibrated_expected_calibration_error"] == expected


@pytest.mark.parametrize("loss", ["sigmoid_cross_entropy", "squared_error"])
def test_logits_are_understood_as_the_loss_does(tmp_path, loss):
  usual = result_of(finished(tmp_path / "usual"), ending())["calibration"]["temperature"]
  other = result_of(finished(tmp_path / "other", loss__name=loss), ending())["calibration"]
  assert other["temperature"] != pytest.approx(usual, rel=0.1)


def test_few_validation_examples_give_no_temperature_and_a_line(tmp_path):
  run = finished(tmp_path)
  examples = run.dataset.validation
  few = dataclasses.replace(
    run,
    dataset=dataclasses.replace(
      run.dataset, validation=type(examples)(*(x[:99] for x in examples))
    ),
  )
  logits = Logits(LOGITS.test, LOGITS.validation[:99], LOGITS.best_validation[:99])
  found = result_of(few, ending(logits=logits))["calibration"]
  assert found["temperature"] is found["best_temperature"] is None
  assert found["validation"]["expected_calibration_error"] > 0
  assert found["validation"]["calibrated_expected_calibration_error"] is None
  assert run.console.lines == [
    "how sure the net is was not calibrated: that takes 100 validation examples, and there are 99"
  ]


def test_without_validation_there_is_no_temperature(tmp_path):
  logits = LOGITS._replace(validation=None, best_validation=None)
  found = result_of(finished(tmp_path), ending(logits=logits))["calibration"]
  assert found["temperature"] is found["best_temperature"] is found["validation"] is None
  assert found["test"]["expected_calibration_error"] > 0
  assert found["test"]["calibrated_expected_calibration_error"] is None


@pytest.mark.parametrize(
  ("result", "best", "temperature"),
  [
    (None, False, None),  # It is still training.
    ({}, False, None),  # An earlier version wrote it.
    ({"calibration": {"temperature": 0.5, "best_temperature": None}}, False, 0.5),
    ({"calibration": {"temperature": 0.5, "best_temperature": 0.4}}, True, 0.4),
    ({"calibration": {"temperature": None, "best_temperature": None}}, True, None),
  ],
)
def test_the_temperature_of_a_run(tmp_path, result, best, temperature):
  assert temperature_of(Workdir(tmp_path), result, best=best) == temperature


@pytest.mark.parametrize("found", [[], "0.5", {"temperature": "0.5"}, {"temperature": -1.0}])
def test_a_damaged_temperature_is_an_error(tmp_path, found):
  with pytest.raises(RunError, match=r"result.json is damaged: .* no temperature"):
    temperature_of(Workdir(tmp_path), {"calibration": found})
