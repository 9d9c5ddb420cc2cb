import dataclasses
import re
import shutil
import subprocess
import time

import numpy as np
import pytest
from loading import UNREACHABLE, load, run_python

from mnist_mlp.core.spec import DataSpec
from mnist_mlp.data import dataset, origin
from mnist_mlp.errors import RunError, UsageError


def test_validation_is_the_tail_of_train(digits_dir):
  whole, _ = load(digits_dir, validation_examples=0)
  assert whole.validation.images.shape == (0, 28, 28, 1)
  assert whole.validation.labels.shape == (0,)
  parts, _ = load(digits_dir, validation_examples=300)
  np.testing.assert_array_equal(parts.validation.images, whole.train.images[1200:])
  np.testing.assert_array_equal(parts.validation.labels, whole.train.labels[1200:])
  np.testing.assert_array_equal(parts.train.images, whole.train.images[:1200])
  assert parts.fingerprint == whole.fingerprint


@pytest.mark.parametrize("examples", [1500, 99999])
def test_validation_leaves_something_to_train_on(digits_dir, examples):
  with pytest.raises(UsageError, match=f"{examples}, but must be less than the 1500"):
    load(digits_dir, validation_examples=examples)


def test_default_folder_is_that_of_tfds(digits_dir, monkeypatch):
  monkeypatch.setenv("TFDS_DATA_DIR", str(digits_dir))
  assert str(digits_dir) in load("")[0].source


@pytest.mark.parametrize(
  ("name", "said"),
  [("no/where/data", "{0}/no/where is not a folder"), ("a file", "{0}/a file is not a folder")],
)
def test_a_slip_in_the_name_of_the_data_folder_is_an_error(tmp_path, monkeypatch, name, said):
  (tmp_path / "a file").write_text("")
  with pytest.raises(UsageError, match=re.escape("config.data.data_dir is '")) as caught:
    load(tmp_path / name)
  assert said.format(tmp_path) in str(caught.value)
  monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / name))
  with pytest.raises(UsageError, match=re.escape("TFDS_DATA_DIR is '")):
    load("")
  assert [path.name for path in tmp_path.iterdir()] == ["a file"]


def test_a_slip_in_the_name_of_manual_dir_is_an_error_where_all_is_prepared(digits_dir):
  with pytest.raises(UsageError, match=r"data\.manual_dir is 'no/where', which is not a folder"):
    load(digits_dir, manual_dir="no/where")
  # A run that goes on needs only what is prepared.
  assert load(digits_dir, manual_dir="no/where", only="digits")[0].name == "digits"


# What the core is told.


def test_spec_has_the_sizes_of_the_dataset(digits_dir):
  spec = load(digits_dir)[0].spec()
  assert spec == DataSpec(image_shape=(28, 28, 1), num_classes=10, num_train=1400)
  assert (spec.pixel_mean, spec.pixel_std) == (0, 1)


def test_pixel_statistics_are_those_of_the_train_split(digits_dir):
  parts, _ = load(digits_dir, validation_examples=300)
  spec = parts.spec(pixel_statistics=True)
  pixels = parts.train.images.astype(float)
  np.testing.assert_allclose(spec.pixel_mean, pixels.mean(), rtol=1e-6)
  np.testing.assert_allclose(spec.pixel_std, pixels.std(), rtol=1e-6)
  assert spec == dataclasses.replace(
    parts.spec(), pixel_mean=spec.pixel_mean, pixel_std=spec.pixel_std
  )


def test_pixel_statistics_are_float32_numbers(digits_dir):
  spec = load(digits_dir)[0].spec(pixel_statistics=True)
  for number in (spec.pixel_mean, spec.pixel_std):
    assert type(number) is float and number == float(np.float32(number))


def test_statistics_of_one_grey_do_not_divide_by_zero():
  mean, std = dataset.pixel_mean_and_std(np.full((2, 3, 3, 1), 7, np.uint8))
  assert mean == 7 and std == float(np.float32(1e-6))


# The stand-in.


def test_the_stand_in_replaces_a_dataset_that_cannot_be_had(digits_dir, no_network):
  dataset, said = load(digits_dir, name="mnist", validation_examples=5000)
  assert (dataset.name, dataset.stand_in_for) == ("digits", "mnist")
  assert dataset.validation.num_examples == 125 and dataset.train.num_examples == 1375
  assert "going on with 'digits' INSTEAD of 'mnist'" in said and UNREACHABLE in said
  assert "validation_examples is 125 rather than 5000" in said
  assert dataset.describe()["stand_in_for"] == "mnist"
  for asked, given in [(0, 0), (1, 1), (30000, 750)]:
    dataset, _ = load(digits_dir, name="mnist", validation_examples=asked)
    assert dataset.validation.num_examples == given


def test_without_a_stand_in_missing_data_is_an_error(tmp_path, no_network):
  with pytest.raises(RunError) as caught:
    load(tmp_path, name="mnist", offline="")
  for word in (
    "manual_dir",
    "data_dir",
    "offline",
    "  https://storage.googleapis.com/cvdf-",
    UNREACHABLE,
  ):
    assert word in str(caught.value)
  assert not list(tmp_path.iterdir())


def test_a_resumed_run_keeps_the_stand_in(mnist_dir, digits_dir, tmp_path, monkeypatch):
  monkeypatch.setattr(origin, "probe", lambda urls: pytest.fail("asks the network"))
  shutil.copytree(digits_dir, tmp_path, dirs_exist_ok=True)
  shutil.copytree(mnist_dir, tmp_path, dirs_exist_ok=True)
  assert load(tmp_path, name="mnist")[0].name == "mnist"
  dataset, said = load(tmp_path, name="mnist", validation_examples=5000, only="digits")
  assert (dataset.name, dataset.stand_in_for) == ("digits", "mnist")
  assert dataset.validation.num_examples == 125 and "stands in for mnist" in said


def test_a_resumed_run_gets_no_stand_in(digits_dir, no_network):
  with pytest.raises(
    RunError, match="was started on mnist, which cannot be had: mnist is not prepared"
  ):
    load(digits_dir, name="mnist", only="mnist")
  with pytest.raises(
    RunError, match=r"was started on mnst, which .*: config\.data\.name is 'mnst'"
  ):
    load(digits_dir, name="mnist", only="mnst")
  with pytest.raises(RunError, match=r"on my \(own files\), .*: config\.data\.files is empty, but"):
    load(digits_dir, name="mnist", only="my (own files)")


def can_cut_network():
  return subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(
  not shutil.which("unshare") or not can_cut_network(), reason="unshare -n is not allowed here"
)
def test_a_cut_network_is_found_out_in_seconds(digits_copy):
  start = time.monotonic()
  process = run_python(
    f"""
print(load({str(digits_copy)!r}, "mnist").stand_in_for)""",
    "unshare",
    "-n",
  )
  assert time.monotonic() - start < 10
  assert "going on with 'digits' INSTEAD of 'mnist'" in process.stdout
  assert process.stdout.endswith("mnist\n")
