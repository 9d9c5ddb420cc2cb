"""Confidence against accuracy, by hand."""

import numpy as np

from mnist_mlp.run import calibration


def test_expected_calibration_error():
  # Eight examples at confidence 0.9 of which six are right, two at 0.6 of which two are right.
  probabilities = np.array([[0.9, 0.1]] * 8 + [[0.4, 0.6]] * 2)
  labels = np.array([0] * 6 + [1] * 2 + [1] * 2)
  expected = 0.8 * (0.9 - 0.75) + 0.2 * (1 - 0.6)
  error = calibration.expected_calibration_error(labels, probabilities)
  assert type(error) is float
  np.testing.assert_allclose(error, expected)
  # In one bin the two cancel in part.
  np.testing.assert_allclose(
    calibration.expected_calibration_error(labels, probabilities, bins=1), abs(0.8 - 0.84)
  )


def test_bins_hold_their_upper_edge_and_empty_ones_are_0():
  probabilities = np.array([[0.5, 0.5], [0.25, 0.75], [1.0, 0.0]])
  counts, confidence, accuracy = calibration.calibration_bins([0, 0, 0], probabilities, 4)
  assert counts.tolist() == [0, 1, 1, 1]
  assert confidence.tolist() == [0, 0.5, 0.75, 1]
  assert accuracy.tolist() == [0, 1, 0, 1]
