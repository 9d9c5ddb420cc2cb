"""What a net says of every example of a split, and how good that is in numbers."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from sklearn import metrics

from mnist_mlp import data
from mnist_mlp.core import metrics as core_metrics
from mnist_mlp.core.metrics import METRICS, Outputs
from mnist_mlp.core.spec import Examples
from mnist_mlp.errors import UsageError, UserError
from mnist_mlp.inference.nets import Committee, Net, logarithms
from mnist_mlp.run.calibration import expected_calibration_error
from mnist_mlp.run.run import check_same_data

MISTAKES = 25  # how many of the worst mistakes are listed and drawn

Report = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """What a net or a committee says of every example of a split."""

  net: Net | Committee
  dataset: str  # its name
  split: str  # 'test', 'validation' or 'train'
  examples: Examples

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
  net: Net | Committee, split: str = "test", dataset: str | None = None, report: Report = print
) -> Evaluation:
  """Returns what a net says of a split.

  Args:
    net: the net of a run, or a committee.
    split: 'test', 'validation' or 'train'.
    dataset: another dataset than the run's, by its name in TFDS, with images and classes of the
      same shape; by default the run's.
    report: called with lines that say which data is used.

  Raises:
    UsageError: the split is empty; or a member of the committee was trained on parts of it; or the
      other dataset does not exist, or does not fit the net.
    RunError: the data cannot be had, or differ from those of the run.
  """
  if dataset is None or dataset == net.facts["name"]:
    if split == "validation":
      _check_held_out(net)
    loaded = _own_data(net, report)
  else:
    loaded = _other_data(net, dataset, split, report)
  examples = getattr(loaded, split)
  if not examples.num_examples:
    raise UsageError(f"--split is {split!r}, but config.data.validation_examples of the run is 0")
  return Evaluation(net, loaded.name, split, examples)


def _check_held_out(net: Net | Committee) -> None:
  """Raises a UsageError if a member was trained on examples that the first one held out."""
  for member in net.members:
    if member.facts["examples"] != net.facts["examples"]:
      raise UsageError(
        f"--split is 'validation', but {net.folder.path} held out "
        f"{net.facts['examples']['validation']:,} examples, {member.folder.path} "
        f"{member.facts['examples']['validation']:,}; give runs that held out the same, or "
        "--split=test"
      )


def _own_data(net: Net | Committee, report: Report) -> data.Dataset:
  dataset = data.load(net.config.data, report=report, only=net.facts)
  check_same_data(net.folder, dataset)
  return dataset


def _other_data(net: Net | Committee, name: str, split: str, report: Report) -> data.Dataset:
  options = net.config.data.copy_and_resolve_references()
  options.update(name=name, files="", manual_dir="", offline="")
  if split != "validation":  # The other dataset may be smaller than what the run held out.
    options.validation_examples = 0
  try:
    dataset = data.load(options, report=report)
  except UserError as error:
    raise type(error)(f"--dataset={name} cannot be used: {error}") from error
  has = (dataset.image_shape, dataset.num_classes)
  if has != (net.image_shape, len(net.class_names)):
    raise UsageError(
      f"--dataset is {name!r}, with images of {has[0]} and {has[1]} classes, but the net was "
      f"trained on {net.image_shape} and {len(net.class_names)}"
    )
  return dataset


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
  return [
    {
      "index": int(i),
      "label": names[labels[i]],
      "predicted": names[predictions[i]],
      "probability": float(probabilities[i, predictions[i]]),
      "probability_of_label": float(probabilities[i, labels[i]]),
    }
    for i in wrong[np.argsort(likelihood, kind="stable")][:MISTAKES]
  ]
