"""The content of result.json."""

import json

import small
import small_run

from mnist_mlp.run.result import Ending, result_of

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


def finished(path, **changes):
  """Returns a run with metrics, as it is before its result is written."""
  run = small_run.run_of(path, num_steps=15, **changes)
  for row in ROWS:
    run.folder.history.add(row)
  return run


def test_the_result_says_what_was_trained_and_what_came_of_it(tmp_path):
  run = finished(tmp_path)
  best = {"step": 12, "accuracy": 0.75}
  result = result_of(run, Ending(TEST, best, weights=1234, rate=5678.91, seconds=2.5))
  assert list(result) == [
    "dataset",
    "batch_size",
    "steps",
    "epochs",
    "weights",
    "test",
    "validation",
    "train",
    "best_validation",
    "examples_per_second",
    "environment",
    "seconds",
  ]
  assert result["dataset"] == small.dataset().describe()
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
  result = result_of(finished(tmp_path), Ending(TEST, None, 1234, rate=0.0, seconds=None))
  unknown = [name for name, value in result.items() if value is None]
  assert unknown == ["best_validation", "examples_per_second", "seconds"]


def test_rows_that_were_lost_are_null(tmp_path):
  """An old run may have lost them; what is of another step is not of the end."""
  run = finished(tmp_path)
  run.folder.history.start(ROWS[:2])
  result = result_of(run, Ending(TEST, None, 1234, rate=0.0, seconds=None))
  assert result["validation"] == result["train"] == {"loss": None, "accuracy": None}
