"""The report of an evaluation: as text, as JSON and as figures, in files beside the run."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mnist_mlp.core.metrics import METRICS
from mnist_mlp.errors import RunError, listing, printable
from mnist_mlp.inference.evaluation import MISTAKES, Evaluation
from mnist_mlp.inference.nets import logarithms
from mnist_mlp.run import figures
from mnist_mlp.run.calibration import LEAST_EXAMPLES

_MOST_COLUMNS = 12  # With more classes, the confusions are not printed as a table.


def to_text(numbers: Mapping[str, Any]) -> str:
  """Returns the numbers of `evaluation.measure` as text for people."""
  nets = listing(f"{run['workdir']} at step {run['step']}" for run in numbers["runs"])
  by = "the net of" if len(numbers["runs"]) == 1 else "the committee of"
  width = max(len("class"), *(len(row["name"]) for row in numbers["classes"]))
  lines = [
    f"{numbers['dataset']} {numbers['split']}, by {by} {nets}",
    f"accuracy {numbers['accuracy']:.2%}: {numbers['mistakes']} of {numbers['examples']:,} images "
    f"wrong; loss {numbers['loss']:.4f}; cross-entropy {numbers['cross_entropy']:.4f}; "
    f"calibration error {numbers['expected_calibration_error']:.2%}{_other_metrics(numbers)}",
    _calibration(numbers),
    *_classes(numbers, width),
    *_confusions(numbers, width),
    *_worst_mistakes(numbers),
  ]
  return "\n".join(lines)


def _other_metrics(numbers: Mapping[str, Any]) -> str:
  own = ("loss", "cross_entropy", "accuracy")
  texts = {name: metric.text or "{:.4f}" for name, metric in METRICS.items() if name not in own}
  return "".join(f"; {name} {text.format(numbers[name])}" for name, text in texts.items())


def _calibration(numbers: Mapping[str, Any]) -> str:
  temperatures = [run["temperature"] for run in numbers["runs"]]
  if not any(temperatures):
    return (
      "not calibrated: a temperature is fitted when a run comes to its end, on its validation "
      f"split, if that has {LEAST_EXAMPLES} examples"
    )
  shown = listing("none" if one is None else f"{one:.3f}" for one in temperatures)
  worse = numbers["calibrated_cross_entropy"] > numbers["cross_entropy"]
  return (
    f"calibrated at temperature {shown}: cross-entropy {numbers['calibrated_cross_entropy']:.4f}; "
    f"calibration error {numbers['calibrated_expected_calibration_error']:.2%}"
    f"{'; here the calibration does harm' if worse else ''}"
  )


def _classes(numbers: Mapping[str, Any], width: int) -> list[str]:
  return [
    "",
    f"{'class':<{width}}  precision  recall      f1  examples",
    *(
      f"{row['name']:<{width}}  {row['precision']:>9.2%} {row['recall']:>7.2%} {row['f1']:>7.2%}"
      f"  {row['examples']:>8}"
      for row in numbers["classes"]
    ),
  ]


def _confusions(numbers: Mapping[str, Any], width: int) -> list[str]:
  names = [row["name"] for row in numbers["classes"]]
  if len(names) > _MOST_COLUMNS:
    return []
  cells = max(len(str(numbers["examples"])), *map(len, names)) + 1
  return [
    "",
    "confusions; a row for each true class, a column for each predicted one",
    " " * width + "".join(f"{name:>{cells}}" for name in names),
    *(
      f"{name:<{width}}" + "".join(f"{count or '.':>{cells}}" for count in row)
      for name, row in zip(names, numbers["confusion_matrix"], strict=True)
    ),
  ]


def _worst_mistakes(numbers: Mapping[str, Any]) -> list[str]:
  if not numbers["worst_mistakes"]:
    return []
  return [
    "",
    f"worst mistakes; images are counted {numbers['order']}",
    *(
      f"{_name(m)}: labelled {m['label']}, to which it gave {m['probability_of_label']:.1%}; "
      f"it said {m['predicted']}, {m['probability']:.1%} sure"
      for m in numbers["worst_mistakes"]
    ),
  ]


def _name(mistake: Mapping[str, Any]) -> str:
  file = mistake["file"]
  return f"image {mistake['index']}{f', {printable(file)}' if file else ''}"


def folder_of(evaluation: Evaluation, *, best: bool) -> Path:
  """Returns evaluation/DATASET-SPLIT in the workdir of the run, or of a committee's first run.

  Args:
    evaluation: what is reported on.
    best: whether the checkpoint of the best validation accuracy was asked. It gets another folder.
  """
  members = len(evaluation.net.members)
  # 'emnist/digits' and 'mine (own files)' as names of folders.
  name = re.sub(r"[^\w.]+", "-", f"{evaluation.dataset}-{evaluation.split}")
  name += "-best" if best else ""
  name += f"-committee-of-{members}" if members > 1 else ""
  return evaluation.net.folder.path / "evaluation" / name


def write(evaluation: Evaluation, numbers: Mapping[str, Any], folder: Path) -> None:
  """Writes report.txt, report.json and the figures.

  Args:
    evaluation: what is reported on.
    numbers: what `evaluation.measure` returns of it.
    folder: where; made if it is missing.

  Raises:
    RunError: the files cannot be written.
  """
  drawn = draw(evaluation)
  try:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.txt").write_text(to_text(numbers) + "\n", "utf-8")
    (folder / "report.json").write_text(json.dumps(numbers, indent=2) + "\n", "utf-8")
    for figure_name, figure in drawn.items():
      figure.savefig(folder / f"{figure_name}.png", dpi=100)
  except OSError as error:
    raise RunError(
      f"cannot write the report to {folder}: {error.strerror}; give another place by --out"
    ) from error


def draw(evaluation: Evaluation) -> dict[str, figures.Figure]:
  """Returns the figures by their names."""
  examples, probabilities = evaluation.examples, evaluation.probabilities
  class_names = evaluation.net.class_names
  return {
    "confusion_matrix": figures.confusion_matrix(
      examples.labels, evaluation.predictions, class_names
    ),
    "worst_mistakes": figures.worst_mistakes(
      examples, logarithms(probabilities), class_names, MISTAKES, evaluation.order
    ),
    "reliability_diagram": figures.reliability_diagram(examples.labels, probabilities),
  }
