"""Pictures of many runs."""

import numpy as np

from mnist_mlp.run.curves import learning_curves
from mnist_mlp.run.figures import to_image
from mnist_mlp.sweeps import figures


def test_learning_curves():
  def row(epoch, loss, accuracy):
    return {
      "step": 10 * epoch,
      "epoch": float(epoch),
      "train/loss": loss,
      "train/accuracy": 1.0,
      "validation/loss": loss,
      "validation/accuracy": accuracy,
    }

  seeds = [[row(1, 1.0, 0.9), row(2, 0.5, 0.98)], [row(1, 3.0, 0.8), row(2, 0.7, 0.96)]]
  no_validation = [[{"epoch": 1.0, "train/loss": 1.0, "validation/loss": None}]]
  figure = learning_curves({"two seeds": seeds, "other": no_validation, "empty": []})
  loss, error = figure.axes
  np.testing.assert_allclose(loss.lines[1].get_xydata(), [[1, 2], [2, 0.6]])
  np.testing.assert_allclose(error.lines[1].get_xydata(), [[1, 15], [2, 3]])
  np.testing.assert_allclose(error.lines[0].get_ydata(), 0.01)
  band = loss.collections[1].get_paths()[0].vertices
  assert {(1, 1), (1, 3), (2, 0.5), (2, 0.7)} <= {tuple(point) for point in band}
  assert error.get_yscale() == loss.get_yscale() == "log"
  labels = [text.get_text() for text in figure.legends[0].get_texts()]
  assert labels == ["two seeds", "other", "empty", "train", "validation"]
  to_image(figure)


def test_learning_curves_of_a_diverged_run():
  rows = [{"epoch": 1.0, "validation/loss": float("nan"), "validation/accuracy": 0.1}]
  figure = learning_curves({"diverged": [rows]})
  assert not figure.axes[0].lines
  to_image(figure)


def test_sweep_over_one_number_is_a_curve():
  rates = [0.1, 0.001, 0.01, 0.01]
  fields = {"optimizer.learning_rate": rates, "seed": [0, 0, 0, 1]}
  axes = figures.sweep(fields, [9, 4, 2, 3]).axes[0]
  curve, points = axes.lines
  assert (axes.get_xscale(), axes.get_yscale()) == ("log", "linear")
  np.testing.assert_allclose(curve.get_xdata(), [0.001, 0.01, 0.1])
  np.testing.assert_allclose(curve.get_ydata(), [4, 2.5, 9])
  np.testing.assert_allclose(points.get_xdata(), rates)


def test_sweep_over_names_is_points_without_a_curve():
  axes = figures.sweep({"model.features": [(32,), (8, 8), (32,)]}, [1, 2, 3]).axes[0]
  assert [label.get_text() for label in axes.get_xticklabels()] == ["(32,)", "(8, 8)"]
  (points,) = axes.lines
  np.testing.assert_allclose(points.get_xdata(), [0, 1, 0])


def test_sweep_over_several_fields_is_parallel_coordinates():
  fields = {
    "optimizer.learning_rate": [0.001, 0.1, 0.01],
    "model.dropout": [0.0, 0.1, 0.5],
    "optimizer.name": ["adam", "sgd", "adam"],
  }
  axes = figures.sweep(fields, [3, 1, 0]).axes[0]
  lines = {tuple(np.round(line.get_ydata(), 3)) for line in axes.lines[:3]}
  assert lines == {(0, 0, 0), (1, 0.2, 1), (0.5, 1, 0)}
  assert tuple(np.round(axes.lines[2].get_ydata(), 3)) == (0.5, 1, 0), "the best is drawn last"
