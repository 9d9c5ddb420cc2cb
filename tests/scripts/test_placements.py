"""The command that measures what streaming costs."""

import numpy as np
import processes
import pytest

placements = processes.import_script("placements")


def test_noise_is_a_dataset_whose_last_examples_are_held_out(tmp_path, monkeypatch):
  monkeypatch.setattr(placements, "HELD_OUT", 10)
  monkeypatch.setattr(placements, "PIECE", 30)
  dataset = placements.noise(*placements.write_noise(tmp_path, 70))
  assert [dataset.train.num_examples, dataset.test.num_examples] == [60, 10]
  np.testing.assert_array_equal(dataset.train.images[:10], dataset.train.images[30:40])
  np.testing.assert_array_equal(dataset.test.images, dataset.train.images[:10])


@pytest.mark.slow
def test_memory_does_not_grow_with_the_images(tmp_path, monkeypatch, optimized):
  """Of 600,000 images, 470 MB would be in memory if what is streamed were not let go of."""
  found = {}
  for count in (20_000, 620_000):
    folder = tmp_path / str(count)
    folder.mkdir()
    paths = placements.write_noise(folder, count)
    found[count] = placements.process("memory_run", "host", *paths)
  for name in ("RssAnon", "RssFile", "VmRSS"):
    assert found[620_000][name] - found[20_000][name] < 200, name
  on_device = placements.process("memory_run", "device", *paths)
  assert on_device["VmRSS"] - found[620_000]["VmRSS"] > 300, "nothing was measured"
