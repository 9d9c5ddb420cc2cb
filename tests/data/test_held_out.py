import numpy as np
import pytest
from loading import load
from own_files import encode, options, source, write_pictures
from own_files import load as load_own

from mnist_mlp import config, data
from mnist_mlp.data import held_out
from mnist_mlp.errors import UsageError


@pytest.mark.parametrize(
  ("asked", "total", "stands_in", "expected"),
  [
    (5000.0, 60_000, False, 5000),
    (5000.0, 50_000, False, 5000),
    (5000.0, 25_000, False, 5000),
    (5000.0, 24_000, False, 2000),  # a twelfth, where 5,000 would be more than a fifth
    (5000.0, 300, False, 25),
    (5000.0, 3, False, 1),
    (100.0, 300, False, 100),  # what a user asks for is not scaled
    (0.0, 300, False, 0),
    (0.1, 300, False, 30),
    (0.001, 300, False, 1),
    (30_000.0, 1500, True, 750),
    (0.1, 1500, True, 150),
    (0.0, 1500, True, 0),
  ],
)
def test_how_many_examples_are_held_out(asked, total, stands_in, expected):
  assert held_out.number(asked, total, stands_in) == expected


def test_a_share_is_of_the_end_of_train(digits_dir):
  whole, _ = load(digits_dir, validation_examples=0)
  parts, said = load(digits_dir, validation_examples=0.2)
  np.testing.assert_array_equal(parts.validation.labels, whole.train.labels[1200:])
  np.testing.assert_array_equal(parts.train.labels, whole.train.labels[:1200])
  assert "digits has 1,500 train examples, so validation_examples is 300 of them" in said


def test_a_run_goes_on_with_as_many_as_it_held_out(digits_dir):
  """An earlier version held out 5,000 of any data, and did not scale its default."""
  first, _ = load(digits_dir, validation_examples=700)
  facts = first.describe()
  again, _ = load(digits_dir, validation_examples=5000, only=facts)
  assert again.describe()["examples"] == facts["examples"]
  for changed in ({"fingerprint": "0"}, {"examples": {"train": 1, "validation": 700}}, {}):
    other, _ = load(digits_dir, validation_examples=5000, only={"name": "digits", **changed})
    assert other.validation.num_examples == 125


def test_a_run_on_gray_in_rgb_files_goes_on_with_rgb(tmp_path):
  """An earlier version took the files at their word."""
  rng = np.random.default_rng(0)
  for index in range(12):
    path = tmp_path / "mine" / ("train", "test")[index % 2] / "ab"[index % 3 > 0] / f"{index}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    gray = rng.integers(0, 255, (5, 6, 1)).astype(np.uint8)
    path.write_bytes(encode(np.repeat(gray, 3, axis=2)))
  before, _ = load_own(tmp_path / "mine", tmp_path / "data", channels=3)
  assert load_own(tmp_path / "mine", tmp_path / "data")[0].image_shape == (5, 6, 1)
  section = options(tmp_path / "mine", data_dir=str(tmp_path / "data"))
  again = data.load(section, report=lambda line: None, only=before.describe())
  assert again.image_shape == (5, 6, 3) and again.fingerprint == before.fingerprint


@pytest.mark.parametrize("wrong", [1.5, -1.0, 1e10])
def test_neither_a_whole_number_nor_a_share_is_refused(wrong):
  c = config.default()
  c.data.validation_examples = wrong
  with pytest.raises(UsageError, match=r"config\.data\.validation_examples is "):
    config.validate(c)


def test_a_validation_split_is_used_as_such(tmp_path):
  write_pictures(tmp_path / "mine")
  for path in list((tmp_path / "mine" / "train").glob("*/*1.png")):
    target = tmp_path / "mine" / "val" / path.parent.name / path.name
    target.parent.mkdir(parents=True, exist_ok=True)
    path.rename(target)
  dataset, said = load_own(tmp_path / "mine", tmp_path / "data", validation_examples=5)
  assert dataset.describe()["examples"] == {"train": 108, "validation": 12, "test": 40}
  assert "the 12 examples of the validation split are held out" in said
  images = [example["image"] for _, example in source(tmp_path / "mine").examples("validation")]
  assert sorted(map(np.sum, images)) == sorted(map(np.sum, dataset.validation.images))
  everything, said = load_own(tmp_path / "mine", tmp_path / "data", validation_examples=0)
  assert "once" not in said
  assert everything.describe()["examples"] == {"train": 120, "validation": 0, "test": 40}
  assert everything.fingerprint == dataset.fingerprint
  assert len(dataset.fingerprint) == 48  # The validation split counts, too.
