"""How far the confidence of a net is from its accuracy, and the temperature that mends it.

Guo et al., "On calibration of modern neural networks", 2017.
"""

from typing import Any

import numpy as np
from etils import epy

with epy.lazy_imports():  # Needed at the end of a run.
  import scipy.special
  from scipy import optimize

LEAST_EXAMPLES = 100  # to fit on: fewer say too little about the net

_TEMPERATURES = (0.01, 100.0)  # the least and the highest that can be fitted


def probabilities(scores: Any, temperature: float = 1.0) -> np.ndarray:
  """Returns the softmax of scores that are divided by a temperature, float64 [N, classes].

  A temperature below 1 makes a net surer. It never changes which class is the likeliest.

  Args:
    scores: float [N, classes], see `core.probabilities.log_probabilities`.
    temperature: above 0.
  """
  return scipy.special.softmax(np.asarray(scores, np.float64) / temperature, axis=-1)


def fit_temperature(scores: Any, labels: Any) -> float | None:
  """Returns the temperature at which the cross-entropy of held-out examples is least.

  None if there are fewer than LEAST_EXAMPLES of them.

  Guo et al., section 4.2. The targets are those of Platt, "Probabilistic outputs for support vector
  machines", 1999, section 2.2: the class of an example gets the probability (N + 1) / (N + 2). So a
  net that makes no mistake among few examples is not taken for one that makes none at all.

  Args:
    scores: float [N, classes], see `core.probabilities.log_probabilities`.
    labels: int [N].
  """
  scores, labels = np.asarray(scores, np.float64), np.asarray(labels)
  examples, classes = scores.shape
  if examples < LEAST_EXAMPLES:
    return None
  given = scores[np.arange(examples), labels]
  rest = 1 / (examples + 2)  # the probability that the other classes share
  in_favour = (1 - rest) * given + rest * (scores.sum(-1) - given) / (classes - 1)
  found = optimize.minimize_scalar(
    _cross_entropy, args=(scores, in_favour), bounds=np.log(_TEMPERATURES), method="bounded"
  )
  return float(np.exp(found.x))


def _cross_entropy(log_temperature: float, scores: np.ndarray, in_favour: np.ndarray) -> float:
  """Returns the mean cross-entropy; `in_favour` is the mean score under the targets, [N]."""
  temperature = np.exp(log_temperature)
  return (scipy.special.logsumexp(scores / temperature, axis=-1) - in_favour / temperature).mean()


def calibration_errors(scores: Any, labels: Any, temperature: float | None) -> dict[str, Any]:
  """Returns the expected calibration error before and, with a temperature, after calibration.

  Args:
    scores: float [N, classes], see `core.probabilities.log_probabilities`.
    labels: int [N].
    temperature: None if there is none; what is calibrated is None then.
  """
  return {
    "expected_calibration_error": expected_calibration_error(labels, probabilities(scores)),
    "calibrated_expected_calibration_error": temperature
    and expected_calibration_error(labels, probabilities(scores, temperature)),
  }


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
