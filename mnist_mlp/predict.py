"""Says what a picture shows: python -m mnist_mlp.predict --workdir=RUN PICTURE|FOLDER|- ...

'-' is a picture from standard input. What the net was trained on decides what it sees. For a net of
pen strokes, such as MNIST's, any picture of a digit will do: dark on light or light on dark, drawn,
scanned or photographed; with --several, of rows of digits, or of digits in boxes. Any other net
gets the whole picture, resized as training resizes own files.
A file that cannot be read gets a line on standard error, the others are done all the same, and the
exit code is 1.
"""

import functools
import json
import os
import sys
from collections.abc import Sequence

from absl import flags
from etils import epy

from mnist_mlp import paths
from mnist_mlp.errors import UsageError, printable
from mnist_mlp.run import cli

with epy.lazy_imports():  # JAX takes seconds, for which --help and errors need not wait.
  from mnist_mlp import inference
  from mnist_mlp.inference import display, readings, sources, ways
  from mnist_mlp.run import environment


# Pictures, what the net says of them, and what could not be read.
Said = tuple[list["sources.Picture"], list["inference.Prediction"], list["sources.Failure"]]


def define_flags(values: flags.FlagValues, arguments: Sequence[str]) -> None:
  """Defines this command's flags."""
  cli.define_nets(values, "asked")
  flags.DEFINE_bool(
    "several",
    False,
    "read several digits in each picture, in rows or in boxes, line by line, and print the numbers",
    values,
  )
  flags.DEFINE_string(
    "as",
    None,
    "how pictures are read, instead of as the net's training data: strokes or pictures",
    values,
  )
  flags.DEFINE_bool("json", False, "print JSON instead of a table", values)
  flags.DEFINE_string(
    "show", None, "write a PNG file that shows each picture beside what the net saw of it", values
  )


def main(line: cli.CommandLine) -> None:
  """Reads every picture, asks the net, prints what the net says."""
  _check(line)
  environment.use_compilation_cache()
  net = inference.load_nets(line.flags.workdir, best=line.flags.best)
  way = _way(line, net)
  for caution in inference.cautions(net, way):
    _to_stderr(f"note: {caution}")
  if line.flags.several:
    pictures, predictions, failures = _say_numbers(line, net)
  else:
    pictures, predictions, failures = _say_labels(line, net, way)
  if line.flags.show and pictures:
    display.save_figure(pictures, predictions, paths.expand(line.flags.show))
    if len(pictures) > display.MOST_SHOWN:
      _to_stderr(f"{line.flags.show} shows the first {display.MOST_SHOWN} pictures")
  if failures:
    sys.stdout.flush()  # A closed pipe has an exit code of its own, which goes first.
    sys.exit(1)


def _way(line: cli.CommandLine, net: "inference.Net | inference.Committee") -> str:
  """Returns the way of pictures to the net; raises a UsageError if --several cannot have it."""
  way = inference.way_of(net, line.flags["as"].value)
  if line.flags.several and way == ways.PICTURES:
    raise UsageError(
      f"--several reads digits, but the net of {net.folder.path}, {net.facts['name']}, is shown "
      "whole pictures; leave --several out, or give another --workdir"
    )
  return way


def _say_labels(
  line: cli.CommandLine, net: "inference.Net | inference.Committee", way: str
) -> Said:
  """Prints what the net says of each picture."""
  make = functools.partial(sources.picture_of, prepare=inference.preparer(net, way))
  pictures, failures = sources.read_all(line.positional, _to_stderr, make)
  predictions = inference.classify(net, [picture.prepared for picture in pictures])
  if line.flags.json:
    print(json.dumps(display.to_json(pictures, predictions, failures), indent=2))
  elif pictures:
    print(display.table(pictures, predictions, net.class_names))
  return pictures, predictions, failures


def _say_numbers(line: cli.CommandLine, net: "inference.Net | inference.Committee") -> Said:
  """Takes each picture for several digits and prints the numbers that the net reads."""
  sheets, failures = sources.read_all(line.positional, _to_stderr, readings.sheet_of)
  found = readings.read_sheets(net, sheets)
  if line.flags.json:
    print(json.dumps(readings.to_json(found, failures), indent=2))
  elif found:
    print(readings.table(found))
  return *readings.digits_of(found), failures


def _to_stderr(text: str) -> None:
  print(printable(text), file=sys.stderr)


def _check(line: cli.CommandLine) -> None:
  """Raises a UsageError if a flag is missing, or if --show could replace a picture."""
  if not line.flags.workdir:
    raise UsageError("--workdir is missing: the folder of a run, for example runs/adam")
  if not line.positional:
    raise UsageError("no pictures; give files, folders, or '-' for standard input")
  if line.flags.show is None:
    return
  target, show = paths.expand(line.flags.show), f"--show is {line.flags.show!r}"
  if target.suffix.lower() != ".png":
    raise UsageError(f"{show}, but must be the name of a .png file")
  if not os.path.isdir(target.parent):
    raise UsageError(f"{show}, but the folder {target.parent} does not exist")
  given = {os.path.realpath(argument) for argument in line.positional}
  if os.path.isdir(target) or os.path.realpath(target) in given:
    raise UsageError(f"{show}, which is a folder or one of the pictures")
  if os.path.realpath(target.parent) in given:
    raise UsageError(
      f"{show}, in a folder of the pictures, where it could replace one and would be read as one; "
      "give a place outside"
    )


if __name__ == "__main__":
  cli.run(main, define_flags, positional=True)
