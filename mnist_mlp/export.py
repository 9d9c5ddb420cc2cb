"""Writes a run's net as a program: python -m mnist_mlp.export --workdir=RUN --out=DIR.

The file takes images and gives probabilities, and needs nothing of this package: StableHLO for JAX
on any device, or ONNX. Several --workdir make a committee. net.json says how to call it.
"""

import functools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from absl import flags
from etils import epy

from mnist_mlp.errors import RunError, UsageError
from mnist_mlp.run import cli

with epy.lazy_imports():  # JAX takes seconds, for which --help and errors need not wait.
  from mnist_mlp import inference
  from mnist_mlp.inference import exporting
  from mnist_mlp.run import environment

_FORMATS = ["stablehlo", "onnx"]
_DTYPES = ["float32", "bfloat16"]


def define_flags(values: flags.FlagValues, arguments: Sequence[str]) -> None:
  """Defines this command's flags."""
  cli.define_nets(values, "written")
  flags.DEFINE_string("out", None, "folder for the files, made if missing", values)
  flags.DEFINE_enum("format", "stablehlo", _FORMATS, "of the program", values)
  flags.DEFINE_enum(
    "dtype", "float32", _DTYPES, "of the weights in the file: bfloat16 is half as large", values
  )
  cli.define_places(values)


def main(line: cli.CommandLine) -> None:
  """Writes the program, and says what it takes, gives and weighs."""
  values = line.flags
  if not values.workdir:
    raise UsageError("--workdir is missing: the folder of a run, for example runs/adam")
  if not values.out:
    raise UsageError("--out is missing: a folder for the files, for example exported")
  folder, places = cli.folder_of("out", values.out), cli.places(values)
  if places and values.dtype == "float32":
    raise UsageError(
      f"--{next(iter(places))} is given, but float32 weights are written without any data; leave "
      "it out, or set --dtype=bfloat16, whose cost is measured"
    )
  environment.use_compilation_cache()
  net = inference.load_nets(values.workdir, best=values.best)
  path = exporting.export(net, folder, values.format, values.dtype)
  shape = ", ".join(map(str, net.image_shape))
  print(
    f"{path}: {path.stat().st_size:,} bytes; images, uint8 [batch, {shape}] -> probabilities, "
    f"float32 [batch, {len(net.class_names)}]"
  )
  print(f"{path.parent / 'net.json'}: how to call it, and the names of the classes")
  if values.dtype != "float32":
    print(_cost(net, path, values.dtype, places))


def _cost(
  net: "inference.Net | inference.Committee", path: Path, dtype: str, places: Mapping[str, str]
) -> str:
  """Returns a sentence on how many test images the exported program and the net get right."""
  to_stderr = functools.partial(print, file=sys.stderr)
  try:
    evaluation = inference.evaluate(net, "test", None, to_stderr, places)
  except (RunError, UsageError) as error:
    return f"what {dtype} costs was not measured: {error}"
  labels = evaluation.examples.labels
  found = exporting.run_file(path, evaluation.examples.images).argmax(-1)
  exact = evaluation.probabilities.argmax(-1)
  return (
    f"{dtype} weights: {np.mean(found == labels):.2%} of {len(labels):,} test images right, with "
    f"float32 {np.mean(exact == labels):.2%}; labels that differ: {np.sum(found != exact)}"
  )


if __name__ == "__main__":
  cli.run(main, define_flags)
