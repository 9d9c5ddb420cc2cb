"""Says how good a run's net is: python -m mnist_mlp.evaluate --workdir=RUN [--split=test].

Accuracy, loss, precision and recall of each class, confusions, calibration and the worst mistakes,
as text or JSON; the same and the figures are written to RUN/evaluation/DATASET-SPLIT/. Several
--workdir make a committee, which averages what their nets say.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import flags

from mnist_mlp.errors import RunError, UsageError, UserError, did_you_mean, listing
from mnist_mlp.run import cli as commandline

_WORKDIR = flags.DEFINE_multi_string(
  "workdir", None, "folder of the run whose net is evaluated; several make a committee"
)
_SPLIT = flags.DEFINE_string("split", "test", "what to evaluate on: test, validation or train")
_DATASET = flags.DEFINE_string(
  "dataset", None, "another dataset than the run's, with images and classes of the same shape"
)
_BEST = flags.DEFINE_bool(
  "best", False, "use the checkpoint of the best validation accuracy instead of the last one"
)
_JSON = flags.DEFINE_bool("json", False, "print JSON instead of text")

_SPLITS = ("test", "validation", "train")
_MISTAKES = 25  # how many of the worst are listed and drawn
_MOST_COLUMNS = 12  # classes whose confusions are printed as a table


def main() -> None:
  """Evaluates, prints the report, writes it beside the figures."""
  if not _WORKDIR.value:
    raise UsageError("--workdir is missing: the folder of a run, for example runs/adam")
  if _SPLIT.value not in _SPLITS:
    raise UsageError(
      f"--split is {_SPLIT.value!r}, which is not one of {listing(_SPLITS)}"
      + did_you_mean(_SPLIT.value, _SPLITS)
    )
  # Here because JAX and all that hangs on it take seconds, which --help and errors need not wait.
  from mnist_mlp.inference import pictures as inference
  from mnist_mlp.run import environment

  environment.use_compilation_cache()
  run = inference.load_nets(_WORKDIR.value, best=_BEST.value)
  if _SPLIT.value == "validation" and _DATASET.value in (None, run.facts["name"]):
    _check_held_out(run)
  dataset = _load_data(run, _DATASET.value)
  split = getattr(dataset, _SPLIT.value)
  if not split.num_examples:
    raise UsageError(
      f"--split is {_SPLIT.value!r}, but config.data.validation_examples of the run is 0"
    )
  logits = run.logits(split.images)
  probabilities = run.probabilities(logits)
  members = [{"workdir": str(run.folder.path), "step": run.step} for run in run.members]
  about = {"runs": members, "dataset": dataset.name, "split": _SPLIT.value}
  report = {**about, **measure(run, split.labels, logits, probabilities)}
  text = _text(report)
  print(json.dumps(report, indent=2) if _JSON.value else text)
  name = f"{dataset.name}-{_SPLIT.value}".replace("/", "-") + ("-best" if _BEST.value else "")
  name += f"-committee-of-{len(_WORKDIR.value)}" if len(_WORKDIR.value) > 1 else ""
  folder = run.folder.path / "evaluation" / name
  _write(folder, text, report, _draw(run, split, probabilities))
  print(f"figures and this report: {folder}", file=sys.stderr)


def _check_held_out(run: Any) -> None:
  """Raises a UsageError if what the first member held out, another one was trained on."""
  for member in run.members:
    if member.facts["examples"] != run.facts["examples"]:
      raise UsageError(
        f"--split is 'validation', but {run.folder.path} held out "
        f"{run.facts['examples']['validation']:,} examples, {member.folder.path} "
        f"{member.facts['examples']['validation']:,}; give runs that held out the same, or "
        "--split=test"
      )


def _load_data(run: Any, name: str | None) -> Any:
  """Returns the run's dataset, or another one that its net can take."""
  from mnist_mlp import train
  from mnist_mlp.data import dataset as data

  def report(line):
    print(line, file=sys.stderr)

  if name in (None, run.facts["name"]):
    dataset = data.load(run.config.data, report=report, only=run.facts["name"])
    train.check_same_data(run.folder, dataset)
    return dataset
  options = run.config.data.copy_and_resolve_references()
  options.update(name=name, files="", manual_dir="", offline="")
  if _SPLIT.value != "validation":
    options.validation_examples = 0
  try:
    dataset = data.load(options, report=report)
  except UserError as error:
    raise type(error)(f"--dataset={name} cannot be used: {error}") from error
  has = (dataset.image_shape, dataset.num_classes)
  if has != (run.image_shape, len(run.class_names)):
    raise UsageError(
      f"--dataset is {name!r}, with images of {has[0]} and {has[1]} classes, but the net was "
      f"trained on {run.image_shape} and {len(run.class_names)}"
    )
  return dataset


def measure(run: Any, labels: Any, logits: Any, probabilities: Any) -> dict[str, Any]:
  """Returns the numbers of a report, ready for JSON.

  Args:
    run: an `inference.Run` or `inference.Committee`.
    labels: int32 [N].
    logits: float32 [N, classes].
    probabilities: float64 [N, classes].
  """
  import numpy as np
  from sklearn import metrics

  from mnist_mlp.run import figures

  names, predictions = run.class_names, logits.argmax(-1)
  scores = metrics.precision_recall_fscore_support(
    labels, predictions, labels=range(len(names)), zero_division=0
  )
  wrong = np.flatnonzero(predictions != labels)
  likelihood = probabilities[wrong, labels[wrong]]
  worst = wrong[np.argsort(likelihood, kind="stable")][:_MISTAKES]
  return {
    "examples": len(labels),
    "mistakes": len(wrong),
    "accuracy": float(metrics.accuracy_score(labels, predictions)),
    "loss": float(run.losses(logits, labels).mean(dtype=np.float64)),
    "expected_calibration_error": figures.expected_calibration_error(labels, probabilities),
    "classes": [
      {"name": name, "precision": float(p), "recall": float(r), "f1": float(f), "examples": int(n)}
      for name, p, r, f, n in zip(names, *scores, strict=True)
    ],
    "confusion_matrix": metrics.confusion_matrix(
      labels, predictions, labels=range(len(names))
    ).tolist(),
    "worst_mistakes": [
      {
        "index": int(i),
        "label": names[labels[i]],
        "predicted": names[predictions[i]],
        "probability": float(probabilities[i, predictions[i]]),
        "probability_of_label": float(probabilities[i, labels[i]]),
      }
      for i in worst
    ],
  }


def _text(report: Mapping[str, Any]) -> str:
  classes, mistakes = report["classes"], report["worst_mistakes"]
  nets = listing(f"{run['workdir']} at step {run['step']}" for run in report["runs"])
  by = "the net of" if len(report["runs"]) == 1 else "the committee of"
  width = max(len("class"), *(len(row["name"]) for row in classes))
  lines = [
    f"{report['dataset']} {report['split']}, by {by} {nets}",
    f"accuracy {report['accuracy']:.2%}: {report['mistakes']} of {report['examples']:,} images "
    f"wrong; loss {report['loss']:.4f}; calibration error "
    f"{report['expected_calibration_error']:.2%}",
    "",
    f"{'class':<{width}}  precision  recall      f1  examples",
    *(
      f"{row['name']:<{width}}  {row['precision']:>9.2%} {row['recall']:>7.2%} {row['f1']:>7.2%}"
      f"  {row['examples']:>8}"
      for row in classes
    ),
  ]
  if len(classes) <= _MOST_COLUMNS:
    lines += [
      "",
      "confusions; a row for each true class, a column for each predicted one",
      *_confusions(report, width),
    ]
  if mistakes:
    lines += [
      "",
      "worst mistakes",
      *(
        f"image {m['index']}: a {m['label']}, to which it gave "
        f"{m['probability_of_label']:.1%}; it said {m['predicted']}, "
        f"{m['probability']:.1%} sure"
        for m in mistakes
      ),
    ]
  return "\n".join(lines)


def _confusions(report: Mapping[str, Any], width: int) -> list[str]:
  names = [row["name"] for row in report["classes"]]
  cells = max(len(str(report["examples"])), *map(len, names)) + 1
  return [
    " " * width + "".join(f"{name:>{cells}}" for name in names),
    *(
      f"{name:<{width}}" + "".join(f"{count or '.':>{cells}}" for count in row)
      for name, row in zip(names, report["confusion_matrix"], strict=True)
    ),
  ]


def _draw(run: Any, split: Any, probabilities: Any) -> dict[str, Any]:
  """Returns matplotlib figures by file name."""
  import numpy as np

  from mnist_mlp.run import figures

  log_probabilities = np.log(np.maximum(probabilities, 1e-300))
  return {
    "confusion_matrix": figures.confusion_matrix(
      split.labels, probabilities.argmax(-1), run.class_names
    ),
    "worst_mistakes": figures.worst_mistakes(
      split.images, split.labels, log_probabilities, run.class_names, _MISTAKES
    ),
    "reliability_diagram": figures.reliability_diagram(split.labels, probabilities),
  }


def _write(folder: Path, text: str, report: Mapping[str, Any], drawn: Mapping[str, Any]) -> None:
  try:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.txt").write_text(text + "\n")
    (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    for name, figure in drawn.items():
      figure.savefig(folder / f"{name}.png", dpi=100)
  except OSError as error:
    raise RunError(f"cannot write the report to {folder}: {error.strerror}") from error


if __name__ == "__main__":
  commandline.run(main)
