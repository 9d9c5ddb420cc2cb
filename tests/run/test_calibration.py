"""Confidence against accuracy, by hand."""

import numpy as np
import pytest
import scipy.special

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


def scores_and_labels(temperature, examples=20_000):
  """Returns scores of a net that is right as often as it says once it has that temperature."""
  rng = np.random.default_rng(0)
  scores = rng.normal(0, 3, (examples, 5))
  likelihood = scipy.special.softmax(scores / temperature, -1).cumsum(-1)
  return scores, (rng.random((examples, 1)) > likelihood).sum(-1)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_the_temperature_of_a_net_is_found(temperature):
  scores, labels = scores_and_labels(temperature)
  found = calibration.fit_temperature(scores.astype(np.float32), labels)
  assert found == pytest.approx(temperature, rel=0.03)
  errors = calibration.calibration_errors(scores, labels, found)
  before, after = errors.values()
  assert after < 0.015
  assert temperature == 1.0 or before > 5 * after


def test_few_examples_without_a_mistake_do_not_make_a_net_certain():
  """With N examples of one kind, all right, it is (N + 1) / (N + 2) sure of each."""
  for examples in (100, 298):
    scores = np.tile([2.0, -1.0, -1.0], (examples, 1))
    found = calibration.fit_temperature(scores, np.zeros(examples, int))
    sure = calibration.probabilities(scores, found)[0, 0]
    assert sure == pytest.approx((examples + 1) / (examples + 2), abs=1e-4)


def test_a_temperature_changes_no_label_and_is_always_finite():
  rng = np.random.default_rng(0)
  scores = rng.normal(0, 5, (300, 10))
  for labels in (scores.argmax(-1), scores.argmin(-1)):
    found = calibration.fit_temperature(scores, labels)
    assert 0.01 <= found <= 100
    after = calibration.probabilities(scores, found)
    assert (after.argmax(-1) == scores.argmax(-1)).all()
    assert after.sum(-1) == pytest.approx(1)


def test_without_a_temperature_nothing_is_calibrated():
  scores, labels = scores_and_labels(2.0, 100)
  errors = calibration.calibration_errors(scores, labels, None)
  assert errors["calibrated_expected_calibration_error"] is None
  assert errors["expected_calibration_error"] == calibration.expected_calibration_error(
    labels, scipy.special.softmax(scores, -1)
  )


def test_too_few_examples_give_no_temperature():
  scores, labels = scores_and_labels(2.0, 100)
  assert calibration.fit_temperature(scores, labels) > 1
  assert calibration.fit_temperature(scores[:99], labels[:99]) is None
  assert calibration.fit_temperature(scores[:0], labels[:0]) is None
