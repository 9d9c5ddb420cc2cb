"""docs/guide.ipynb is made from docs/guide.py, and runs from top to bottom on any data."""

import os
import shutil

import guide
import jupytext
import nbformat
import processes
import pytest

NOTEBOOK = guide.SOURCE.with_suffix(".ipynb")


def test_the_notebook_has_the_cells_of_its_source_and_their_results():
  cells = nbformat.read(NOTEBOOK, as_version=4).cells
  source = jupytext.read(guide.SOURCE).cells
  assert [cell.source for cell in cells] == [cell.source for cell in source], (
    "run scripts/guide.py again"
  )
  outputs = [output for cell in cells for output in cell.get("outputs", ())]
  assert sum("image/png" in output.get("data", {}) for output in outputs) >= 8
  assert not [output for output in outputs if output.output_type == "error"]


def test_the_notebook_names_no_place_of_the_machine_that_made_it():
  text = NOTEBOOK.read_text()
  assert str(processes.ROOT) not in text and os.path.expanduser("~/") not in text


@pytest.fixture
def folder(tmp_path, monkeypatch):
  """A folder with what the guide reads, as in a checkout."""
  for name in ("mnist_mlp", "configs", "results"):
    (tmp_path / name).symlink_to(processes.ROOT / name)
  monkeypatch.setenv("PYTHONPATH", str(processes.ROOT))
  return tmp_path


@pytest.mark.slow
def test_the_guide_runs_on_the_stand_in(folder, digits_dir, monkeypatch):
  monkeypatch.setenv("TFDS_DATA_DIR", str(shutil.copytree(digits_dir, folder / "data")))
  shown = str(guide.executed(guide.SOURCE, folder))
  assert "**digits**: " in shown


@pytest.mark.slow
def test_the_guide_runs_on_mnist(folder, mnist_dir, monkeypatch):
  monkeypatch.setenv("TFDS_DATA_DIR", str(mnist_dir))
  assert "**mnist**: 55,000 training" in str(guide.executed(guide.SOURCE, folder))
