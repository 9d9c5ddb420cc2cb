"""The tables of docs/scaling.md come from the committed results."""

import json

import pytest
from processes import ROOT, import_script

scaling = import_script("scaling")


@pytest.fixture(scope="module")
def found():
  return json.loads(scaling.RESULTS.read_text())


def test_the_page_shows_the_results(found):
  page = (ROOT / "docs" / "scaling.md").read_text()
  assert scaling.processes_table(found) in page
  assert scaling.growth_table(found) in page


def test_the_exchange_was_that_of_the_net(found):
  assert sum(scaling.sizes_of_arrays()) == found["weights"]


def test_an_exchange_twice_as_long_needs_twice_the_batch(found):
  def batches(result):
    (row,) = [line for line in scaling.growth_table(result).splitlines() if line.startswith("| 2 ")]
    return [float(cell.split(";")[1].replace(",", "")) for cell in row.split("|")[3:-1]]

  twice = {**found, "weights": 2 * found["weights"]}
  assert batches(twice) == pytest.approx([2 * one for one in batches(found)], abs=1)
