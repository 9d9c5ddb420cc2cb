"""How far the confidence of a net is from its accuracy."""

from typing import Any

import numpy as np


def expected_calibration_error(labels: Any, probabilities: Any, bins: int = 15) -> float:
  """Returns the mean distance of confidence and accuracy over bins of equal width, in 0..1.

  Guo et al., "On calibration of modern neural networks", 2017, section 2.

  Args:
    labels: int [N].
    probabilities: float [N, classes].
    bins: how many bins the confidences in 0..1 are sorted into.
  """
  counts, confidence, accuracy = calibration_bins(labels, probabilities, bins)
  return float(np.sum(counts * np.abs(confidence - accuracy)) / counts.sum())


def calibration_bins(
  labels: Any, probabilities: Any, bins: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Returns for each bin of confidence its examples, mean confidence and accuracy.

  Args:
    labels: int [N].
    probabilities: float [N, classes].
    bins: how many bins of equal width the confidences in 0..1 are sorted into.

  Returns:
    int [bins], float64 [bins], float64 [bins]; the last two are 0 for an empty bin.
  """
  probabilities = np.asarray(probabilities, np.float64)
  confidence = probabilities.max(-1)
  correct = probabilities.argmax(-1) == np.asarray(labels)
  index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
  counts = np.bincount(index, minlength=bins)
  sums = [np.bincount(index, weights, bins) for weights in (confidence, correct)]
  confidences, accuracies = (total / np.maximum(counts, 1) for total in sums)
  return counts, confidences, accuracies
