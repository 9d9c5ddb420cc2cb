"""docs/python.md: its snippets make a notebook that runs; what else it promises."""

import base64
import io
import json
import re
import textwrap

import nbformat
import processes
import pytest
from nbclient import NotebookClient
from PIL import Image

PAGE = processes.ROOT / "docs" / "python.md"
SHORTER = """
c.data.name, c.data.validation_examples = "digits", 200
c.batch_size, c.model.features, c.optimizer.learning_rate = 32, (32,), 0.01
"""
# What the button that interrupts a kernel does, at a moment that is known.
INTERRUPTED = """
import signal
c.optimizer.learning_rate = 0.01
try:
  mm.train_and_evaluate(
    c, "runs/interrupted", on_evaluation=lambda row: signal.raise_signal(signal.SIGINT)
  )
except mm.Interrupted as error:
  print(error)
"""


def snippets():
  blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
  first = blocks.index(next(block for block in blocks if "c = mm.recipe(" in block))
  assert first == 0 and len(blocks) > 8
  return [blocks[0].replace("c.num_epochs", f"{SHORTER}c.num_epochs"), *blocks[1:]]


@pytest.fixture(scope="module")
def notebook(tmp_path_factory, digits_dir):
  """The page as a notebook that was run, its folder, and the cells that were added."""
  folder = tmp_path_factory.mktemp("notebook")
  book = nbformat.v4.new_notebook()
  start = f"import sys\nsys.path.insert(0, {str(processes.ROOT)!r})\n"
  start += f"import os\nos.environ['TFDS_DATA_DIR'] = {str(digits_dir)!r}"
  book.cells = list(map(nbformat.v4.new_code_cell, [start, *snippets(), INTERRUPTED]))
  client = NotebookClient(book, timeout=600, resources={"metadata": {"path": str(folder)}})
  client.execute()  # Raises an error if a cell does.
  return book.cells[1:], folder


def printed(cell, stream="stdout"):
  return "".join(output["text"] for output in cell.outputs if output.get("name") == stream)


def pictures(cell):
  shown = [output["data"] for output in cell.outputs if output["output_type"] == "execute_result"]
  return [
    Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
    for data in shown
    if "image/png" in data
  ]


def cell_with(cells, text):
  (found,) = [cell for cell in cells if text in cell.source]
  return found


@pytest.mark.slow
def test_a_notebook_trains_with_a_bar_below_the_lines(notebook):
  cells, folder = notebook
  output = printed(cells[0])
  assert "test: " in output and " examples/s" in output
  assert re.search(r"\r +\d+%\|", output), "there is no bar"
  assert printed(cells[0], "stderr") == ""
  assert json.loads((folder / "runs/mine/result.json").read_text())["epochs"] == 4


@pytest.mark.slow
def test_a_notebook_stops_a_run(notebook):
  cells, folder = notebook
  output = printed(cell_with(cells, "def good_enough"))
  rows = (folder / "runs/stopped/metrics.jsonl").read_text().splitlines()
  said = re.findall(r"epoch [\d.]+ validation accuracy ([\d.]+)\n", output)
  assert [float(accuracy) for accuracy in said] == [
    json.loads(row)["validation/accuracy"] for row in rows
  ]
  assert float(said[-1]) > 0.5 and len(said) < 4
  assert not (folder / "runs/stopped/result.json").exists()


@pytest.mark.slow
def test_a_notebook_shows_frames_and_figures(notebook):
  cells, _ = notebook
  assert "runs/stopped" in str(cell_with(cells, "metrics_frame").outputs)
  for text in ("plot_metrics", "confusion_matrix"):
    (picture,) = pictures(cell_with(cells, text))
    assert picture.width == 800 and len(set(picture.convert("L").tobytes())) > 50


@pytest.mark.slow
def test_a_notebook_predicts(notebook):
  cells, _ = notebook
  label, probability, *_ = printed(cell_with(cells, "predict_files")).split()
  assert label in "0123456789" and 0 < float(probability) <= 1
  assert "must lie in [0, inf)" in printed(cell_with(cells, "mm.UsageError"))


@pytest.mark.slow
def test_a_notebook_that_is_interrupted_saves_the_state(notebook):
  cells, folder = notebook
  assert "interrupted by SIGINT after step " in printed(cells[-1])
  assert "the state is saved in runs/interrupted" in printed(cells[-1])
  assert list((folder / "runs/interrupted/checkpoints").glob("[0-9]*"))


@pytest.mark.slow
def test_parameters_are_restored_by_orbax_alone(notebook, tmp_path):
  _, folder = notebook
  (alone,) = [block for block in snippets() if "import orbax" in block]
  done = processes.python(
    textwrap.dedent(
      f"""
      import os, sys
      os.chdir({str(folder)!r})
      exec({alone!r})
      assert not [name for name in sys.modules if name.startswith("mnist_mlp")]
      import numpy as np, mnist_mlp as mm
      own = mm.load_run("runs/mine").state.params
      for layer in ("Dense_0", "Dense_1"):
        for name in ("kernel", "bias"):
          np.testing.assert_array_equal(params[layer][name], own[layer][name])
      """
    )
  )
  assert done.returncode == 0, done.stderr


def test_the_extra_is_there():
  (extra,) = re.findall(r"pip install -e '\.\[(\w+)\]'", PAGE.read_text())
  assert f"\n{extra} = [" in (processes.ROOT / "pyproject.toml").read_text()
