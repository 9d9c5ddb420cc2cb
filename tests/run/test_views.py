"""The evaluations of runs as a frame of pandas, and as learning curves."""

import importlib.util
import math

import pytest

from mnist_mlp import config
from mnist_mlp.errors import RunError, UsageError
from mnist_mlp.run.views import metrics_frame, plot_metrics
from mnist_mlp.run.workdir import Workdir


def run_of(path, *rows):
  path.mkdir()
  folder = Workdir(path)
  folder.keep_config(config.default())
  folder.history.start(rows)
  return str(path)


@pytest.fixture
def runs(tmp_path):
  """Two runs, of which one had a loss that was not finite."""
  first = {"step": 5, "epoch": 0.5, "validation/loss": 2.0, "validation/accuracy": 0.5}
  second = {"step": 10, "epoch": 1.0, "validation/loss": math.nan, "validation/accuracy": 0.25}
  return run_of(tmp_path / "a", first, second), run_of(tmp_path / "b", {**first, "train/loss": 3.0})


def test_a_frame_has_a_row_for_each_evaluation(runs):
  pytest.importorskip("pandas")
  frame = metrics_frame(*runs)
  assert list(frame["run"]) == [runs[0], runs[0], runs[1]]
  assert list(frame["step"]) == [5, 10, 5] and frame["step"].dtype.kind == "i"
  assert list(frame["validation/loss"].isna()) == [False, True, False]
  assert list(frame["train/loss"].isna()) == [True, True, False]
  assert all(frame[name].dtype.kind in "if" for name in frame if name != "run")
  assert frame.groupby("run")["validation/accuracy"].max()[runs[0]] == 0.5


def test_curves_have_a_colour_for_each_run(runs):
  figure = plot_metrics(*runs)
  labels = [text.get_text() for text in figure.legends[0].get_texts()]
  assert labels == [*runs, "train", "validation"]
  assert figure._repr_png_().startswith(b"\x89PNG"), "a notebook shows it by this"


def test_what_is_no_run_is_refused(tmp_path):
  for view in (metrics_frame, plot_metrics):
    with pytest.raises(UsageError, match="holds no run: it has no config"):
      view(tmp_path)


def test_without_pandas_it_says_what_to_install(monkeypatch, runs):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  with pytest.raises(RunError, match="pip install pandas"):
    metrics_frame(*runs)
