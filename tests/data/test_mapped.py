"""Reading of mapped files: the right rows, in bounded memory."""

import numpy as np
import pytest

from mnist_mlp.data import mapped
from mnist_mlp.data.dataset import pixel_mean_and_std
from mnist_mlp.data.strokes import are_pen_strokes


@pytest.fixture
def array(tmp_path, monkeypatch):
  """13,000 images of 784 bytes in a mapped file, which counts as large."""
  monkeypatch.setattr(mapped, "_SMALL", 2**20)
  monkeypatch.setattr(mapped, "_PIECE", 2**18)
  path = tmp_path / "images.npy"
  np.save(path, np.random.default_rng(0).integers(0, 256, (13_000, 28, 28, 1), np.uint8))
  return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))[100:]


def resident():
  """Returns how many bytes of mapped files are in this process's memory."""
  with open("/proc/self/status", encoding="utf-8") as file:
    (line,) = (line for line in file if line.startswith("RssFile"))
  return 1024 * int(line.split()[1])


def test_rows_are_those_of_the_array(array):
  indices = np.random.default_rng(1).integers(0, len(array), (7, 30))
  for own in (array, np.array(array)):
    np.testing.assert_array_equal(mapped.rows(own, indices), array[indices])
  np.testing.assert_array_equal(np.concatenate([*mapped.pieces(array)]), array)
  assert mapped.rows(array, indices[:, :0]).shape == (7, 0, 28, 28, 1)


def test_what_was_read_does_not_stay_in_memory(array):
  mapped.let_go(array)
  before = resident()
  for read in (
    lambda: mapped.rows(array, np.arange(len(array))),
    lambda: [piece.sum() for piece in mapped.pieces(array)],
    lambda: pixel_mean_and_std(array),
    lambda: are_pen_strokes(array),
  ):
    read()
    assert resident() - before < 2**20
  assert array.sum() and resident() - before > 9 * 2**20, "nothing was measured"


def test_statistics_are_those_of_all_pixels(array):
  mean, std = pixel_mean_and_std(array)
  assert mean == pytest.approx(array.mean(), rel=1e-6)
  assert std == pytest.approx(array.std(), rel=1e-6)
