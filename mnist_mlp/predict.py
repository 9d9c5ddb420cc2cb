"""Says which digit a picture shows: python -m mnist_mlp.predict --workdir=RUN PICTURE|FOLDER|- ...

Any picture will do: dark on light or light on dark, drawn, scanned or photographed; '-' is a
picture from standard input. A file that cannot be read gets a line on standard error, the others
are done all the same, and the exit code is 1.
"""

import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from absl import flags

from mnist_mlp.errors import RunError, UsageError
from mnist_mlp.run import cli as commandline

_WORKDIR = flags.DEFINE_multi_string(
  "workdir", None, "folder of the run whose net is asked; several make a committee"
)
_BEST = flags.DEFINE_bool(
  "best", False, "use the checkpoint of the best validation accuracy instead of the last one"
)
_JSON = flags.DEFINE_bool("json", False, "print JSON instead of a table")
_SHOW = flags.DEFINE_string(
  "show", None, "write a PNG file that shows each picture beside what the net saw of it"
)

_MOST_COLUMNS = 10  # classes; with more of them, the table shows the likeliest
_LIKELIEST = 3
_MOST_SHOWN = 100  # pictures that --show draws
# What is taken from a folder; any format that Pillow reads will do for a file that is named.
_SUFFIXES = frozenset(
  (
    ".avif",
    ".bmp",
    ".gif",
    ".jp2",
    ".jpe",
    ".jpeg",
    ".jpg",
    ".pbm",
    ".pgm",
    ".png",
    ".pnm",
    ".ppm",
    ".tga",
    ".tif",
    ".tiff",
    ".webp",
  )
)


class _Picture(NamedTuple):
  """A picture that could be read."""

  name: str
  image: Any  # PIL.Image.Image, RGB or RGBA, small
  prepared: Any  # inference.Prepared


def main(arguments: Sequence[str]) -> None:
  """Reads every picture, asks the net, prints what it says."""
  _check_flags(arguments)
  # Here because JAX and all that hangs on it take seconds, which --help and errors need not wait.
  from mnist_mlp.inference import pictures as inference
  from mnist_mlp.run import environment

  environment.use_compilation_cache()
  run = inference.load_nets(_WORKDIR.value, best=_BEST.value)
  inference.check_takes_digits(run)
  if run.facts["name"] not in inference.LIKE_MNIST:
    print(
      f"note: pictures are made into images like MNIST's, upright digits of light ink on black;"
      f" if those of {run.facts['name']} are not like that, do not trust what the net says",
      file=sys.stderr,
    )
  pictures, errors = [], []
  for name, source in _sources(arguments):
    try:
      if isinstance(source, RunError):
        raise source
      image = inference.load_picture(source, name)
      prepared = inference.prepare(image)
    except RunError as error:
      errors.append({"picture": name, "error": str(error)})
      print(f"error: {error}", file=sys.stderr)
      continue
    pictures.append(_Picture(name, inference.to_rgb(image), prepared))
  predictions = inference.classify(run, [picture.prepared for picture in pictures])
  if _JSON.value:
    print(json.dumps([*map(_as_json, pictures, predictions), *errors], indent=2))
  elif pictures:
    print(_table(pictures, predictions, run.class_names))
  if _SHOW.value and pictures:
    _draw(pictures[:_MOST_SHOWN], predictions, Path(_SHOW.value))
    if len(pictures) > _MOST_SHOWN:
      print(f"{_SHOW.value} shows the first {_MOST_SHOWN} pictures", file=sys.stderr)
  sys.stdout.flush()  # Before the exit, for `user_errors` to see that a pipe is closed.
  sys.exit(1 if errors else 0)


def _check_flags(arguments: Sequence[str]) -> None:
  if not _WORKDIR.value:
    raise UsageError("--workdir is missing: the folder of a run, for example runs/adam")
  if not arguments:
    raise UsageError("no pictures; give files, folders, or '-' for standard input")
  if _SHOW.value is None:
    return
  target = Path(_SHOW.value)
  if target.suffix.lower() != ".png":
    raise UsageError(f"--show is {_SHOW.value!r}, but must be the name of a .png file")
  if not os.path.isdir(target.parent):
    raise UsageError(f"--show is {_SHOW.value!r}, but the folder {target.parent} does not exist")
  given = {os.path.realpath(argument) for argument in arguments}
  if os.path.isdir(target) or os.path.realpath(target) in given:
    raise UsageError(f"--show is {_SHOW.value!r}, which is a folder or one of the pictures")
  if os.path.realpath(target.parent) in given:
    raise UsageError(
      f"--show is {_SHOW.value!r}, in a folder of the pictures, where it could "
      "replace one and would be read as one; give a place outside"
    )


def _sources(arguments: Sequence[str]) -> Iterator[tuple[str, Path | BinaryIO | RunError]]:
  """Yields a name and a source of each picture, or the error that stands for a folder."""
  for argument in arguments:
    if argument == "-":
      yield "standard input", io.BytesIO(sys.stdin.buffer.read())
    elif os.path.isdir(argument):
      yield from _in_folder(Path(argument))
    else:
      yield argument, Path(argument)


def _in_folder(folder: Path) -> Iterator[tuple[str, Path | RunError]]:
  try:
    paths = sorted(
      path
      for path in folder.iterdir()
      if path.suffix.lower() in _SUFFIXES and not path.name.startswith(".") and os.path.isfile(path)
    )
  except OSError as error:
    yield str(folder), RunError(f"the folder {folder} cannot be read: {error.strerror}")
    return
  if not paths:
    yield str(folder), RunError(f"the folder {folder} holds no pictures")
  yield from ((str(path), path) for path in paths)


def _as_json(picture: _Picture, prediction: Any) -> dict[str, Any]:
  return {
    "picture": picture.name,
    "label": prediction.label,
    "probability": prediction.probabilities.get(prediction.label),
    "probabilities": prediction.probabilities,
    "note": prediction.note,
  }


def _table(
  pictures: Sequence[_Picture], predictions: Sequence[Any], class_names: Sequence[str]
) -> str:
  """Returns a line for each picture: label, probability, those of all or the next classes, note."""
  wide = len(class_names) > _MOST_COLUMNS or max(map(len, class_names)) > 6
  header = ["picture", "label", "sure", *(["then"] if wide else class_names), ""]
  rows = [header]
  for picture, prediction in zip(pictures, predictions, strict=True):
    by_name = prediction.probabilities
    if not by_name:
      rest = [""] * (len(header) - 4)
    elif wide:
      order = sorted(by_name, key=by_name.get, reverse=True)[1 : 1 + _LIKELIEST]
      rest = ["  ".join(f"{name} {by_name[name]:.1%}" for name in order)]
    else:
      rest = [f"{by_name[name]:.1%}" for name in class_names]
    sure = f"{by_name[prediction.label]:.1%}" if by_name else ""
    rows.append([picture.name, prediction.label or "-", sure, *rest, prediction.note])
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  widths[-1] = 0
  left = {0, 1, len(header) - 1} | ({3} if wide else set())
  return "\n".join(
    "  ".join(
      f"{cell:<{width}}" if column in left else f"{cell:>{width}}"
      for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ).rstrip()
    for row in rows
  )


def _draw(pictures: Sequence[_Picture], predictions: Sequence[Any], target: Path) -> None:
  """Writes the pictures, each above what the net saw of it."""
  import numpy as np
  from matplotlib.figure import Figure

  from mnist_mlp.run.figures import literal

  columns = min(len(pictures), 5)
  rows = -(-len(pictures) // columns)
  figure = Figure((1.6 * max(columns, 3), 3.7 * rows), layout="constrained")
  axes = figure.subplots(2 * rows, columns, squeeze=False)
  for ax in axes.flat:
    ax.set_axis_off()
  for index, (picture, prediction) in enumerate(zip(pictures, predictions, strict=False)):
    row, column = divmod(index, columns)
    top, bottom = axes[2 * row, column], axes[2 * row + 1, column]
    top.imshow(picture.image, interpolation="nearest")
    top.set_title(literal(_shortened(Path(picture.name).name)), fontsize=8)
    if prediction.label is None:
      bottom.set_title(prediction.note, fontsize=8)
      continue
    bottom.imshow(np.squeeze(picture.prepared.pixels, -1), "gray", vmin=0, vmax=255)
    title = f"{literal(prediction.label)}  {prediction.probabilities[prediction.label]:.1%}"
    bottom.set_title(title + ("  no digit?" if prediction.note else ""), fontsize=8)
  temporary = target.with_name(f".{target.name}.tmp")
  try:
    figure.savefig(temporary, format="png", dpi=100)
    temporary.replace(target)
  except OSError as error:
    raise RunError(f"cannot write {target}: {error.strerror}") from error


def _shortened(name: str) -> str:
  return name if len(name) <= 22 else f"{name[:10]}…{name[-10:]}"


if __name__ == "__main__":
  commandline.run(main, positional=True)
