"""What is printed of several digits in a picture."""

import json

import numpy as np
import pytest
import sheets
from handwriting import gray_picture, seven

from mnist_mlp import inference
from mnist_mlp.inference import readings
from mnist_mlp.inference.sources import Failure

NUMBERS = ["0123", "45 67"]
SIZE = (260, 620)


@pytest.fixture(scope="module")
def sheet():
  """Two lines of digits; in the second one, a gap between two numbers."""
  page, images = sheets.paper(*SIZE), sheets.digits(8)
  for index, image in enumerate(images):
    x = 60 + 90 * (index % 4) + (180 if index in (6, 7) else 0)
    sheets.write(page, image, None, (70 if index < 4 else 180, x), 60)
  return readings.sheet_of("a.png", sheets.scanned(page, np.random.default_rng(0)))


def as_labels(reading, labels):
  """Returns the reading with what a perfect net would say."""
  labels = iter(labels)

  def said(prediction):
    label = next(labels)
    return inference.Prediction(label, {**prediction.probabilities, label: 0.9}, "")

  return reading._replace(lines=[[said(p) for p in line] for line in reading.lines])


def test_numbers_are_printed_line_by_line(net, sheet):
  (reading,) = readings.read_sheets(net, [sheet])
  right = as_labels(reading, "01234567")
  header, *lines = readings.table([right]).splitlines()
  assert header.split() == ["picture", "number", "sure"]
  assert [line.split() for line in lines] == [
    ["a.png", "0123", "65.6%"],  # 0.9 ** 4
    ["a.png", "45", "67", "65.6%"],
  ]
  (row, error) = json.loads(json.dumps(readings.to_json([right], [Failure("b", "no")])))
  assert (row["picture"], row["numbers"], row["note"]) == ("a.png", NUMBERS, "")
  assert error == {"picture": "b", "error": "no"}
  assert [[digit["label"] for digit in line] for line in row["lines"]] == [
    list("0123"),
    list("4567"),
  ]
  left, top, right_, bottom = row["lines"][0][0]["box"]
  assert left < 60 < right_ and top < 70 < bottom and bottom - top == pytest.approx(60, abs=6)


def test_what_a_net_says_of_digits_in_lines_is_what_it_says_of_each(net, sheet):
  (reading, again) = readings.read_sheets(net, [sheet, sheet])
  flat = [digit.prepared for line in sheet.page.lines for digit in line]
  alone = inference.classify(net, flat)
  for one in (reading, again):
    assert [p.label for line in one.lines for p in line] == [p.label for p in alone]
  cut_out, said = readings.digits_of([reading])
  assert [p.label for p in said] == [p.label for p in alone]
  assert cut_out[5].name == "line 2, digit 2" and cut_out[5].image.height == pytest.approx(
    90, abs=9
  )


def test_what_was_left_out_is_said_once_a_picture(net, sheet):
  lined = sheet._replace(page=sheet.page._replace(remarks=("ruled lines were left out",)))
  found = readings.read_sheets(net, [lined, lined])
  assert readings.table(found).count("ruled lines were left out") == 2


def test_boxes_are_in_pixels_of_the_picture(net):
  ink = np.pad(seven(400, 300), 900)
  picture = readings.sheet_of("a.png", gray_picture(ink))
  (row,) = readings.to_json(readings.read_sheets(net, [picture]), [])
  assert row["lines"][0][0]["box"] == pytest.approx([940, 940, 1240, 1340], abs=4)


def test_classes_with_long_names_are_separated(net, sheet):
  (reading,) = readings.read_sheets(net, [sheet])
  words = as_labels(reading, ["zero", "one", "two", "three", "four", "five", "six", "seven"])
  assert "zero one two three" in readings.table([words])


def test_notes_of_digits_say_which(net, sheet):
  reading = as_labels(*readings.read_sheets(net, [sheet]), "01234567")
  reading.lines[1][2] = inference.Prediction("6", {"6": 0.3}, "probably no digit: it is solid")
  assert (
    readings.table([reading]).splitlines()[2].endswith("digit 3: probably no digit: it is solid")
  )


def test_a_blank_picture_has_no_numbers(net):
  blank = sheets.scanned(sheets.paper(100, 100), np.random.default_rng(0))
  found = readings.read_sheets(net, [readings.sheet_of("a.png", blank)])
  assert readings.table(found).splitlines()[1].split() == ["a.png", "-", "no", "ink"]
  assert readings.to_json(found, [])[0]["note"] == "no ink"
