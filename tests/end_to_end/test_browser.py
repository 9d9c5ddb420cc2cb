"""TensorBoard as people use it: Chromium goes through its tabs, none of which may be empty."""

import browsing
import processes
import pytest
from browsing import SMALL, filled, page_of, shown

from mnist_mlp.run.tensorboard import create_writer

pytestmark = browsing.MARKS

LAYERS = [f"weights/Dense_{i}/{name}" for i in range(3) for name in ("bias", "kernel")]
EVERY_EPOCH = {
  *(f"{split}/{name}" for split in ("train", "validation") for name in ("loss", "accuracy")),
  "validation/cross_entropy",
  *(
    f"train/{name}"
    for name in (
      "learning_rate",
      "parameter_norm",
      "gradient_norm",
      "update_norm",
      "examples_per_second",
    )
  ),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory, digits_dir):
  """The workdir of a run."""
  workdir = tmp_path_factory.mktemp("runs") / "adam"
  done = processes.run(
    "--config=configs/adam.py", *SMALL, f"--workdir={workdir}", TFDS_DATA_DIR=str(digits_dir)
  )
  assert done.returncode == 0, done.stderr
  return workdir


@pytest.fixture(scope="module")
def page_of_run(run):
  with page_of(run) as page:
    yield page


def test_scalars_are_drawn_with_all_their_points(page_of_run):
  end = ("test/loss", "test/cross_entropy", "test/accuracy")
  tags = {**dict.fromkeys(EVERY_EPOCH, 3), **dict.fromkeys(end, 1)}
  drawn = {}
  for split in ("train", "validation", "test"):  # A page of TensorBoard has twelve charts at most.
    wanted = {tag for tag in tags if tag.startswith(split)}
    drawn |= shown(
      page_of_run,
      f"scalars&tagFilter={split}",
      page_of_run.scalar_lines,
      lambda lines, wanted=wanted: wanted <= set(lines) and all(lines.values()),
    )
  assert {tag: max(points, default=0) for tag, points in drawn.items()} == tags


def test_the_first_page_shows_the_course_of_the_training(page_of_run):
  """Time Series opens by itself; its lines are painted over most of the charts' width."""

  def complete(drawn):
    return bool(drawn) and all(drawn.values())

  drawn = shown(page_of_run, "", page_of_run.time_series, complete)
  assert drawn["train/loss"] > 0.5 and drawn["train/accuracy"] > 0.5
  assert 0 < drawn["test/accuracy"] < 0.1  # one dot


def test_the_page_needs_no_network(page_of_run):
  page_of_run.open("")
  assert page_of_run.wait_for(page_of_run.time_series)
  loaded = page_of_run.run("return performance.getEntriesByType('resource').map(e => e.name)")
  assert len(loaded) > 10
  assert [url for url in loaded if not url.startswith(("http://127.0.0.1:", "blob:"))] == []


def test_images_are_loaded(page_of_run):
  def complete(images):
    return len(images) == 4 and all(images.values())

  images = shown(page_of_run, "images", page_of_run.images, complete)
  assert set(images) == {
    "test/confusion_matrix",
    "test/reliability",
    "test/worst_mistakes",
    "weights/first_layer",
  }
  for tag, sizes in images.items():
    assert [width >= 400 and height >= 200 for width, height in sizes] == [True], (tag, sizes)


@pytest.mark.parametrize("tab", ["histograms", "distributions"])
def test_weights_have_histograms(page_of_run, tab):
  read = getattr(page_of_run, f"{tab[:-1]}_shapes")
  shapes = shown(page_of_run, tab, read, lambda shapes: len(shapes) == 6 and all(shapes.values()))
  # At the start and after each epoch; a distribution is eight bands, between its percentiles.
  assert shapes == dict.fromkeys(LAYERS, 4 if tab == "histograms" else 8)


def test_texts_tell_config_and_parameters(page_of_run):
  texts = shown(
    page_of_run, "text", page_of_run.texts, lambda texts: len(texts) == 2 and all(texts.values())
  )
  assert set(texts) == {"config", "parameters"}
  assert '"label_smoothing": 0.1' in texts["config"][0]
  assert "Dense_2/kernel" in texts["parameters"][0]


def test_a_run_is_a_row_of_hparams(run):
  # In the folder above, as people compare runs: of the run '.', TensorBoard shows no metrics there.
  with page_of(run.parent) as page:
    rows = shown(page, "hparams", page.hparams_table, filled)
  assert [float(row["test/accuracy"]) > 0.1 for row in rows] == [True]


def test_what_is_not_there_is_not_seen(tmp_path):
  """The page of a run that wrote but a NaN: what the tests above look for is not there."""
  writer = create_writer(tmp_path)
  writer.write_scalars(0, {"train/loss": float("nan")})
  writer.close()
  with page_of(tmp_path) as page:
    page.open("scalars")
    assert page.wait_for(lambda: page.run("return deep('.render-area path', document).length"))
    assert page.scalar_lines() == {"train/loss": []}
    for tab, read in (
      ("image", page.images),
      ("histogram", page.histogram_shapes),
      ("text", page.texts),
      ("distribution", page.distribution_shapes),
      ("hparams", page.hparams_table),
    ):
      page.open(tab if tab in ("text", "hparams") else f"{tab}s")
      says = f"No {tab} data was found."
      assert page.wait_for(lambda: says in page.headings()), tab  # noqa: B023
      assert not read(), tab
