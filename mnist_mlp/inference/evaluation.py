"""What a net says of every example of a split, and how good that is in numbers."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from sklearn import metrics

from mnist_mlp.core import metrics as core_metrics
from mnist_mlp.core.metrics import METRICS, Outputs
from mnist_mlp.core.spec import Examples
from mnist_mlp.errors import UsageError
from mnist_mlp.inference import datasets
from mnist_mlp.inference.datasets import Report
from mnist_mlp.inference.nets import Committee, Net, logarithms
from mnist_mlp.run.calibration import expected_calibration_error

MISTAKES = 25  # how many of the worst mistakes are listed and drawn


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """What a net or a committee says of every example of a split."""

  net: Net | Committee
  dataset: str  # its name
  split: str  # 'test', 'validation' or 'train'
  examples: Examples
  own_files: Callable[[Sequence[int]], list[str]] | None = None  # see `data.Dataset.files_of`

  @property
  def order(self) -> str:
    """In words, how the images are counted."""
    split = f"the {self.split} split of {self.dataset}"
    return f"from 0 as TFDS stores {split}, not as the original files do"

  @functools.cached_property
  def member_logits(self) -> tuple[np.ndarray, ...]:
    """The logits of each member, float32 [N, classes]. The first access asks the nets."""
    return tuple(member.logits(self.examples.images) for member in self.net.members)

  @functools.cached_property
  def probabilities(self) -> np.ndarray:
    """The calibrated probabilities, float64 [N, classes]: what `predictions.classify` says."""
    return self._mean(calibrated=True)

  @functools.cached_property
  def uncalibrated(self) -> np.ndarray:
    """The probabilities that the logits stand for, float64 [N, classes]."""
    return self._mean(calibrated=False)

  def _mean(self, calibrated: bool) -> np.ndarray:
    pairs = zip(self.net.members, self.member_logits, strict=True)
    return np.mean([net.probabilities(one, calibrated=calibrated) for net, one in pairs], axis=0)

  @functools.cached_property
  def logits(self) -> np.ndarray:
    """The logits, not calibrated, float [N, classes]; of a committee, log-probabilities."""
    alone = len(self.member_logits) == 1
    return self.member_logits[0] if alone else logarithms(self.uncalibrated)

  @property
  def predictions(self) -> np.ndarray:
    """The likeliest class of each example, int [N]."""
    alone = len(self.member_logits) == 1  # Some probabilities may be rounded to the same.
    return (self.logits if alone else self.probabilities).argmax(-1)


def evaluate(
  net: Net | Committee,
  split: str = "test",
  dataset: str | None = None,
  report: Report = print,
  places: Mapping[str, str] | None = None,
) -> Evaluation:
  """Returns what a net says of a split.

  Args:
    net: the net of a run, or a committee.
    split: 'test', 'validation' or 'train'.
    dataset: another dataset than the run's, by its name in TFDS, with images and classes of the
      same shape; by default the run's.
    report: called with lines that say which data is used.
    places: where the data lie now, by the names of the fields `files`, `data_dir` and `manual_dir`
      of `config.data`; by default where the run had them. `files` may also hold other pictures of
      the same classes, which are brought to the net's shape.

  Raises:
    UsageError: the split is empty; or a member of the committee was trained on parts of it; or the
      other data do not exist, or do not fit the net.
    RunError: the data cannot be had, or differ from those of the run.
  """
  loaded = datasets.load(net, split, dataset, places or {}, report)
  if split == "validation" and loaded.fingerprint == net.facts["fingerprint"]:
    datasets.check_held_out(net)
  examples = getattr(loaded, split)
  if not examples.num_examples:
    raise UsageError(f"--split is {split!r}, but config.data.validation_examples of the run is 0")
  own_files = functools.partial(loaded.files_of, split) if loaded.own_files else None
  return Evaluation(net, loaded.name, split, examples, own_files)


def measure(evaluation: Evaluation) -> dict[str, Any]:
  """Returns what was evaluated, and all numbers of the report, ready for JSON."""
  net, labels = evaluation.net, evaluation.examples.labels
  predictions, said = evaluation.predictions, evaluation.probabilities
  return {
    "runs": [
      {"workdir": str(one.folder.path), "step": one.step, "temperature": one.temperature}
      for one in net.members
    ],
    "dataset": evaluation.dataset,
    "split": evaluation.split,
    "examples": len(labels),
    "order": evaluation.order,
    "mistakes": int((predictions != labels).sum()),
    "accuracy": float(metrics.accuracy_score(labels, predictions)),
    "loss": float(net.losses(evaluation.logits, labels).mean(dtype=np.float64)),
    "cross_entropy": _cross_entropy(labels, evaluation.uncalibrated),
    "calibrated_cross_entropy": _cross_entropy(labels, said),
    "expected_calibration_error": expected_calibration_error(labels, evaluation.uncalibrated),
    "calibrated_expected_calibration_error": expected_calibration_error(labels, said),
    **_other_metrics(evaluation),
    "classes": _classes(labels, predictions, net.class_names),
    "confusion_matrix": metrics.confusion_matrix(
      labels, predictions, labels=range(len(net.class_names))
    ).tolist(),
    "worst_mistakes": _worst_mistakes(evaluation, predictions),
  }


def _other_metrics(evaluation: Evaluation) -> dict[str, float]:
  """Returns the means of the metrics that `measure` does not compute by itself."""
  logits, labels = evaluation.logits, evaluation.examples.labels
  log_probabilities = logarithms(evaluation.uncalibrated)
  loss = evaluation.net.losses(logits, labels)
  outputs = Outputs(*map(jnp.asarray, (logits, labels, loss, log_probabilities)))
  names = [name for name in METRICS if name not in ("loss", "cross_entropy", "accuracy")]
  measured = core_metrics.measure(outputs, names)
  means = {name: np.asarray(each).mean(dtype=np.float64) for name, each in measured.items()}
  return {name: float(mean) for name, mean in means.items()}


def _cross_entropy(labels: np.ndarray, probabilities: np.ndarray) -> float:
  """Returns the mean of minus the logarithm of the true class's probability, in nats."""
  return float(-logarithms(probabilities[np.arange(len(labels)), labels]).mean())


def _classes(
  labels: np.ndarray, predictions: np.ndarray, class_names: list[str]
) -> list[dict[str, Any]]:
  """Returns precision, recall, F1 and the number of examples of each class."""
  scores = metrics.precision_recall_fscore_support(
    labels, predictions, labels=range(len(class_names)), zero_division=0
  )
  return [
    {"name": name, "precision": float(p), "recall": float(r), "f1": float(f), "examples": int(n)}
    for name, p, r, f, n in zip(class_names, *scores, strict=True)
  ]


def _worst_mistakes(evaluation: Evaluation, predictions: np.ndarray) -> list[dict[str, Any]]:
  """Returns the mistakes in which the true class got the smallest probability, the worst first."""
  names, labels = evaluation.net.class_names, evaluation.examples.labels
  probabilities = evaluation.probabilities
  wrong = np.flatnonzero(predictions != labels)
  likelihood = probabilities[wrong, labels[wrong]]
  worst = wrong[np.argsort(likelihood, kind="stable")][:MISTAKES].tolist()
  files = evaluation.own_files(worst) if evaluation.own_files else [None] * len(worst)
  return [
    {
      "index": i,
      "file": file,
      "label": names[labels[i]],
      "predicted": names[predictions[i]],
      "probability": float(probabilities[i, predictions[i]]),
      "probability_of_label": float(probabilities[i, labels[i]]),
    }
    for i, file in zip(worst, files, strict=True)
  ]
