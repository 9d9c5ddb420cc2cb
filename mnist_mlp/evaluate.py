"""Says how good a run's net is: python -m mnist_mlp.evaluate --workdir=RUN [--split=test].

Accuracy, loss, precision and recall of each class, confusions, calibration and the worst mistakes,
as text or JSON; the same and the figures are written to RUN/evaluation/DATASET-SPLIT/, or to --out.
Several --workdir make a committee, which averages what their nets say. --files names own pictures:
where those of the run lie now, or others.
"""

import functools
import json
import sys
from collections.abc import Sequence

from absl import flags
from etils import epy

from mnist_mlp.errors import UsageError, did_you_mean, listing
from mnist_mlp.run import cli

with epy.lazy_imports():  # JAX takes seconds, for which --help and errors need not wait.
  from mnist_mlp import inference
  from mnist_mlp.inference import report
  from mnist_mlp.run import environment

_SPLITS = ("test", "validation", "train")


def define_flags(values: flags.FlagValues, arguments: Sequence[str]) -> None:
  """Defines this command's flags."""
  cli.define_nets(values, "evaluated")
  flags.DEFINE_string("split", "test", "what to evaluate on: test, validation or train", values)
  flags.DEFINE_string(
    "dataset",
    None,
    "another dataset of TFDS than the run's, with images and classes of the same shape",
    values,
  )
  cli.define_places(values)
  flags.DEFINE_bool("json", False, "print JSON instead of text", values)
  flags.DEFINE_string(
    "out", None, "folder for the report and the figures, by default in that of the run", values
  )


def main(line: cli.CommandLine) -> None:
  """Evaluates, prints the report, writes it beside the figures."""
  workdirs, split, best = line.flags.workdir, line.flags.split, line.flags.best
  if not workdirs:
    raise UsageError("--workdir is missing: the folder of a run, for example runs/adam")
  if split not in _SPLITS:
    choices = listing(_SPLITS) + did_you_mean(split, _SPLITS)
    raise UsageError(f"--split is {split!r}, which is not one of {choices}")
  out = None if line.flags.out is None else cli.folder_of("out", line.flags.out)
  places = cli.places(line.flags)
  environment.use_compilation_cache()
  net = inference.load_nets(workdirs, best=best)
  to_stderr = functools.partial(print, file=sys.stderr)
  evaluation = inference.evaluate(net, split, line.flags.dataset, to_stderr, places)
  numbers = inference.measure(evaluation)
  print(json.dumps(numbers, indent=2) if line.flags.json else report.to_text(numbers))
  folder = out or report.folder_of(evaluation, best=best)
  report.write(evaluation, numbers, folder)
  print(f"figures and this report: {folder}", file=sys.stderr)


if __name__ == "__main__":
  cli.run(main, define_flags)
