"""scripts/benchmark.py: that the contestants do the work they are timed at, and the sums."""

import json
import subprocess
import sys

import benchmark
import benchmark_parts
import benchmark_tables as tables
import contestants
import pages
import processes
import pytest
import timing

SCRIPTS = processes.ROOT / "scripts"


@pytest.mark.slow
@pytest.mark.parametrize(
  ("name", "package"),
  [
    ("mnist_mlp", "jax"),
    ("JAX, a step per NumPy batch", "jax"),
    ("limit: products of these shapes", "jax"),
    ("scikit-learn", "sklearn"),
    ("PyTorch", "torch"),
    ("Keras on JAX", "keras"),
    ("mnist_mlp, deterministic", "jax"),
    ("mnist_mlp, no command buffers", "jax"),
  ],
)
def test_every_contestant_trains_an_epoch_a_line(mnist_dir, name, package):
  pytest.importorskip(package)
  case = contestants.Case(features=(16,), batch_size=64, images=640)
  done = subprocess.run(
    [sys.executable, SCRIPTS / "contestants.py", name, json.dumps(case._asdict())],
    input="go\ngo\n",
    capture_output=True,
    text=True,
    timeout=200,
    env=processes.environment(TFDS_DATA_DIR=str(mnist_dir)),
  )
  assert done.returncode == 0, done.stderr
  ready, *epochs = done.stdout.splitlines()
  assert ready == "ready"
  assert len(epochs) == 2
  for epoch in map(json.loads, epochs):
    assert 0 < epoch["seconds"] < 100 and epoch["memory"] > 50


def test_ratios_are_those_within_a_turn():
  ours, theirs = iter([1.0, 2.0, 4.0]), iter([3.0, 4.0, 4.0])
  found = timing.turns({"a": lambda: next(ours), "b": lambda: next(theirs)}, 3)
  assert found["a"] == {"seconds": [1.0, 2.0, 4.0], "ratio": 1.0}
  assert found["b"] == {"seconds": [3.0, 4.0, 4.0], "ratio": 2.0}


def test_operations_of_an_epoch():
  case = contestants.Case(features=(5,), batch_size=4, images=10)
  # Two batches of four; 784 x 5 twice (no gradient of the images), 5 x 10 three times.
  assert contestants.flops(case) == 2 * 8 * (2 * 784 * 5 + 3 * 5 * 10)


DOCS = processes.ROOT / "docs"
RESULTS = processes.ROOT / "results" / "benchmark.json"


def test_the_pages_on_performance_show_what_is_recorded():
  results = benchmark.read_results(RESULTS)
  assert set(results) == set(benchmark_parts.PARTS)
  for part, content in results.items():
    shown = pages.part((DOCS / tables.page_of(part)).read_text(), part, "benchmark")
    assert shown == tables.part_table(part, content), "see benchmark.py --update_page"


def test_the_pages_are_brought_up_to_date(tmp_path):
  results = benchmark.read_results(RESULTS)
  names = {tables.page_of(part) for part in results}
  assert len(names) == 2
  for name in names:
    page = (DOCS / name).read_text()
    outdated = page.replace("| scikit-learn |", "| nobody |").replace("| 1,024 |", "| 7 |")
    assert outdated != page
    (tmp_path / name).write_text(outdated)
  tables.update_pages(tmp_path, results)
  for name in names:
    assert (tmp_path / name).read_text() == (DOCS / name).read_text()
  page = tmp_path / "performance.md"
  page.write_text(page.read_text().replace("<!-- start:", "<!-- begin:"))
  with pytest.raises(ValueError, match=r"lacks <!-- start: scripts/benchmark\.py -->"):
    tables.update_pages(tmp_path, results)


def test_the_picture_shows_the_cases_with_adam_that_there_are(tmp_path):
  results = benchmark.read_results(processes.ROOT / "results" / "benchmark.json")
  measured = results["epoch"]["measured"]
  tables.plot({"lab_tanh": measured["lab_tanh"]}, tmp_path / "none.png")
  tables.plot({"adam-128": measured["adam-128"]}, tmp_path / "one.png")
  assert [path.name for path in tmp_path.iterdir()] == ["one.png"]


def test_an_unknown_part_is_one_sentence():
  done = subprocess.run(
    [sys.executable, SCRIPTS / "benchmark.py", "--only=epoch,jub"],
    capture_output=True,
    text=True,
    timeout=60,
  )
  assert done.returncode == 2
  assert done.stderr.startswith("error: --only names 'jub', which is not one of epoch, start")
