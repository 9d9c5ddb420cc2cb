"""Makes docs/guide.ipynb from docs/guide.py, and runs it: its results and pictures are in the file.

    python scripts/guide.py

Needs the extra 'notebook', and prepared MNIST; without it the stand-in is used.
"""

import argparse
from pathlib import Path

import jupytext
import nbclient
import nbformat

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "docs" / "guide.py"


def executed(source, folder):
  """Returns the notebook of a source, run from top to bottom in a folder; raises a cell's error."""
  notebook = jupytext.read(source)
  for cell in notebook.cells:
    cell.id = f"cell-{notebook.cells.index(cell)}"  # Else it is random, and every build differs.
  client = nbclient.NotebookClient(
    notebook, timeout=1800, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
  )
  return client.execute()


def without_traces(notebook):
  """Removes what differs from run to run and says nothing: times of cells, and lines on errors."""
  for cell in notebook.cells:
    cell.metadata.pop("execution", None)
    if cell.cell_type == "code":
      cell.outputs = [output for output in cell.outputs if output.output_type != "stream"]
  return notebook


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--out", type=Path, default=SOURCE.with_suffix(".ipynb"))
  options = parser.parse_args()
  nbformat.write(without_traces(executed(SOURCE, ROOT)), options.out)
  print(options.out)


if __name__ == "__main__":
  main()
