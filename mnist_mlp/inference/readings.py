"""What a net says of pages of digits: numbers as a table and JSON, digits as pictures."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from PIL import Image

from mnist_mlp.inference.display import aligned
from mnist_mlp.inference.nets import Committee, Net
from mnist_mlp.inference.pages import Digit, Page, prepare_page
from mnist_mlp.inference.predictions import Prediction, classify
from mnist_mlp.inference.sources import Failure, Picture

_MOST_NOTES = 3  # of the digits of a line, in a table


class Sheet(NamedTuple):
  """A picture of several digits that could be read."""

  name: str
  page: Page
  scale: float  # pixels of the picture for each of `page.image`


class Reading(NamedTuple):
  """What a net says of a picture of several digits."""

  sheet: Sheet
  lines: list[list[Prediction]]  # as those of `sheet.page`


def sheet_of(name: str, image: Image.Image) -> Sheet:
  """Returns a picture, of any mode and size, with the digits on it."""
  page = prepare_page(image)
  return Sheet(name, page, image.width / page.image.width)


def read_sheets(net: Net | Committee, sheets: Sequence[Sheet]) -> list[Reading]:
  """Returns what the net says of each digit of each sheet."""
  prepared = [digit.prepared for sheet in sheets for line in sheet.page.lines for digit in line]
  predictions = iter(classify(net, prepared))
  return [
    Reading(sheet, [[next(predictions) for _ in line] for line in sheet.page.lines])
    for sheet in sheets
  ]


def _rows(reading: Reading) -> Iterator[tuple[str, float, list[Prediction]]]:
  """Yields for each line the numbers in it, how probable they are all right, and its digits."""
  for digits, predictions in zip(reading.sheet.page.lines, reading.lines, strict=True):
    yield _numbers(digits, predictions), _probability(predictions), predictions


def _numbers(digits: list[Digit], predictions: list[Prediction]) -> str:
  labels = [str(prediction.label) for prediction in predictions]
  letters = all(len(label) == 1 for label in labels)  # Classes may have long names.
  return "".join(
    (" " if index and (digit.spaced or not letters) else "") + label
    for index, (digit, label) in enumerate(zip(digits, labels, strict=True))
  )


def _probability(predictions: list[Prediction]) -> float:
  return math.prod(p.probabilities[p.label] for p in predictions if p.label is not None)


def table(readings: Sequence[Reading]) -> str:
  """Returns a header, and a line for each line of digits: the numbers, how sure, and a note."""
  rows = [["picture", "number", "sure", ""]]
  for reading in readings:
    remarks = "; ".join(reading.sheet.page.remarks)
    for numbers, probability, predictions in _rows(reading):
      notes = [f"digit {i}: {p.note}" for i, p in enumerate(predictions, 1) if p.note]
      more = [f"{len(notes) - _MOST_NOTES} more"] if len(notes) > _MOST_NOTES else []
      notes = [*filter(None, [remarks]), *notes[:_MOST_NOTES], *more]
      rows.append([reading.sheet.name, numbers, f"{probability:.1%}", "; ".join(notes)])
      remarks = ""  # Said once for each picture.
    if not reading.lines:
      rows.append([reading.sheet.name, "-", "", "no ink"])
  return aligned(rows, {0, 1, 3})


def to_json(readings: Sequence[Reading], failures: Sequence[Failure]) -> list[dict[str, Any]]:
  """Returns an object for each picture and for each failure, ready for JSON."""
  return [
    *(
      {
        "picture": reading.sheet.name,
        "note": "; ".join(reading.sheet.page.remarks) if reading.lines else "no ink",
        "numbers": [numbers for numbers, _, _ in _rows(reading)],
        "lines": [
          [_object(reading.sheet, *pair) for pair in zip(*line, strict=True)]
          for line in zip(reading.sheet.page.lines, reading.lines, strict=True)
        ],
      }
      for reading in readings
    ),
    *({"picture": failure.name, "error": failure.reason} for failure in failures),
  ]


def _object(sheet: Sheet, digit: Digit, prediction: Prediction) -> dict[str, Any]:
  rows, columns = digit.where
  corners = (columns.start, rows.start, columns.stop, rows.stop)
  return {
    "label": prediction.label,
    "probabilities": prediction.probabilities,
    "note": prediction.note,
    "box": [round(float(side * sheet.scale)) for side in corners],  # left, top, right, bottom
  }


def digits_of(readings: Sequence[Reading]) -> tuple[list[Picture], list[Prediction]]:
  """Returns every digit as a picture of its own, cut out, and what the net says of it."""
  pictures = [
    Picture(f"line {row}, digit {index}", _cut_out(reading.sheet.page, digit), digit.prepared)
    for reading in readings
    for row, line in enumerate(reading.sheet.page.lines, 1)
    for index, digit in enumerate(line, 1)
  ]
  return pictures, [p for reading in readings for line in reading.lines for p in line]


def _cut_out(page: Page, digit: Digit) -> Image.Image:
  rows, columns = digit.where
  margin = (rows.stop - rows.start) // 4
  return page.image.crop(
    (columns.start - margin, rows.start - margin, columns.stop + margin, rows.stop + margin)
  )
