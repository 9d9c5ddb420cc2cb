"""What a net says of pictures, for people and for programs: a table, JSON, a figure."""

import secrets
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from etils import epy

from mnist_mlp.errors import RunError, printable
from mnist_mlp.inference.predictions import Prediction
from mnist_mlp.inference.sources import Failure, Picture

with epy.lazy_imports():  # Only the figure needs matplotlib, which takes half a second.
  from mnist_mlp.run import figures

MOST_SHOWN = 100  # pictures in a figure

_MOST_COLUMNS = 10  # With more classes, the table shows the likeliest alone.
_LONGEST_COLUMN = 6  # characters of a class name; with longer names, the same
_LIKELIEST = 3  # how many the table then shows after the first
_COLUMNS = 5  # pictures beside each other in a figure
_LONGEST_NAME = 22  # characters of a file name in a figure


def to_json(
  pictures: Sequence[Picture], predictions: Sequence[Prediction], failures: Sequence[Failure]
) -> list[dict[str, Any]]:
  """Returns an object for each picture and for each failure, ready for JSON."""
  return [
    *map(_object, pictures, predictions),
    *({"picture": failure.name, "error": failure.reason} for failure in failures),
  ]


def _object(picture: Picture, prediction: Prediction) -> dict[str, Any]:
  label, probabilities = prediction.label, prediction.probabilities
  return {
    "picture": picture.name,
    "label": label,
    "probability": None if label is None else probabilities[label],
    "probabilities": probabilities,
    "note": prediction.note,
  }


def table(
  pictures: Sequence[Picture], predictions: Sequence[Prediction], class_names: Sequence[str]
) -> str:
  """Returns a header, and a line for each picture: its name, label, probabilities and note.

  The probabilities are those of all classes, or of the likeliest if there are many classes.
  """
  wide = len(class_names) > _MOST_COLUMNS or max(map(len, class_names)) > _LONGEST_COLUMN
  header = ["picture", "label", "sure", *(["then"] if wide else class_names), ""]
  rows = [header]
  for picture, prediction in zip(pictures, predictions, strict=True):
    by_name = prediction.probabilities
    if prediction.label is None:
      cells = ["-", ""] + [""] * (len(header) - 4)
    elif wide:
      order = sorted(by_name, key=by_name.__getitem__, reverse=True)[1 : 1 + _LIKELIEST]
      then = "  ".join(f"{name} {by_name[name]:.1%}" for name in order)
      cells = [prediction.label, f"{by_name[prediction.label]:.1%}", then]
    else:
      shares = [f"{by_name[name]:.1%}" for name in class_names]
      cells = [prediction.label, f"{by_name[prediction.label]:.1%}", *shares]
    rows.append([picture.name, *cells, prediction.note])
  left = {0, 1, len(header) - 1} | ({3} if wide else set())
  return aligned(rows, left)


def aligned(rows: Sequence[Sequence[str]], left: set[int]) -> str:
  """Returns the rows as lines with columns aligned: those of `left` to the left, others right."""
  rows = [list(map(printable, row)) for row in rows]
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  widths[-1] = 0  # Nothing follows the last column.
  return "\n".join(
    "  ".join(
      f"{cell:<{width}}" if column in left else f"{cell:>{width}}"
      for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ).rstrip()
    for row in rows
  )


def save_figure(
  pictures: Sequence[Picture], predictions: Sequence[Prediction], target: Path
) -> None:
  """Writes a PNG file: the first MOST_SHOWN pictures, each above what the net saw of it.

  Raises:
    RunError: the file cannot be written.
  """
  # Nobody can have made a file, or a link, of this name beforehand.
  temporary = target.with_name(f".{target.name[:100]}.{secrets.token_hex(8)}.tmp")
  figure = _drawn(pictures[:MOST_SHOWN], predictions)
  try:
    with warnings.catch_warnings(), temporary.open("xb") as file:
      warnings.simplefilter("ignore")  # The font lacks some letters of names.
      figure.savefig(file, format="png", dpi=100)
    temporary.replace(target)
  except OSError as error:
    temporary.unlink(missing_ok=True)
    raise RunError(f"cannot write {target}: {error.strerror}") from error


def _drawn(pictures: Sequence[Picture], predictions: Sequence[Prediction]) -> "figures.Figure":
  columns = min(len(pictures), _COLUMNS)
  rows = -(-len(pictures) // columns)
  figure = figures.Figure((1.6 * max(columns, 3), 3.7 * rows), layout="constrained")
  axes = figure.subplots(2 * rows, columns, squeeze=False)
  for ax in axes.flat:
    ax.set_axis_off()
  for index, (picture, prediction) in enumerate(zip(pictures, predictions, strict=False)):
    row, column = divmod(index, columns)
    top, bottom = axes[2 * row, column], axes[2 * row + 1, column]
    top.imshow(picture.image, interpolation="nearest")
    top.set_title(figures.literal(_shortened(printable(Path(picture.name).name))), fontsize=8)
    bottom.set_title(_title(prediction), fontsize=8)
    if picture.prepared.pixels is not None:
      pixels = picture.prepared.pixels
      gray = pixels.shape[-1] == 1
      bottom.imshow(pixels[:, :, 0] if gray else pixels, "gray", vmin=0, vmax=255)
  return figure


def _title(prediction: Prediction) -> str:
  if prediction.label is None:
    return prediction.note
  title = f"{figures.literal(prediction.label)}  {prediction.probabilities[prediction.label]:.1%}"
  return title + ("  no digit?" if prediction.note.startswith("probably no digit") else "")


def _shortened(name: str) -> str:
  return name if len(name) <= _LONGEST_NAME else f"{name[:10]}…{name[-10:]}"
