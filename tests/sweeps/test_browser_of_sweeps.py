"""TensorBoard on a sweep as people use it, in Chromium."""

import browsing
import processes
import pytest
from browsing import SMALL, filled, page_of, shown

pytestmark = browsing.MARKS
MEMBERS = 3


@pytest.fixture(scope="module")
def page_of_sweep(tmp_path_factory, digits_dir):
  """TensorBoard's page for a sweep of a few members."""
  workdir = tmp_path_factory.mktemp("sweep")
  done = processes.run(
    "--config=configs/sweep_learning_rate.py",
    *SMALL,
    f"--workdir={workdir}",
    f"--points=8:{8 + MEMBERS}",
    module="mnist_mlp.sweep",
    TFDS_DATA_DIR=str(digits_dir),
  )
  assert done.returncode == 0, done.stderr
  with page_of(workdir / "members") as page:
    yield page


def test_members_of_a_sweep_are_rows_with_what_differs_and_what_came_of_it(page_of_sweep):
  rows = shown(page_of_sweep, "hparams", page_of_sweep.hparams_table, filled)
  assert len({float(row["optimizer.learning_rate"]) for row in rows}) == len(rows) == MEMBERS
  assert all(0 < float(row["test/accuracy"]) <= 1 for row in rows)
  # TensorBoard shows five hyperparameters at first; those that differ come before the others.
  assert list(rows[0])[2] == "optimizer.learning_rate"


def test_members_of_a_sweep_are_lines_of_one_chart(page_of_sweep):
  tags = ("validation/loss", "validation/accuracy")

  def number(lines):  # of lines, not dots; an outlier's leaves the chart and has fewer points
    return {tag: sum(points > 1 for points in lines.get(tag, ())) for tag in tags}

  expected = dict.fromkeys(tags, 2 * MEMBERS)  # as measured, and smoothed
  lines = shown(
    page_of_sweep,
    "scalars&tagFilter=validation",
    page_of_sweep.scalar_lines,
    lambda lines: number(lines) == expected,
  )
  assert number(lines) == expected
