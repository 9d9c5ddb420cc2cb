"""Data folders that a test may spoil, and datasets with a file of their own."""

import gzip
import hashlib
import shutil

import pytest
import tensorflow_datasets as tfds
from loading import UNREACHABLE

from mnist_mlp.data import origin


@pytest.fixture
def digits_copy(digits_dir, tmp_path):
  """A digits folder that a test may spoil; its cache is valid."""
  shutil.copytree(digits_dir, tmp_path / "data")
  return tmp_path / "data"


@pytest.fixture
def uncached(digits_copy):
  """A folder with prepared digits, never decoded."""
  shutil.rmtree(digits_copy / "mnist_mlp")
  return digits_copy


@pytest.fixture
def no_network(monkeypatch):
  monkeypatch.setattr(origin, "probe", lambda urls: UNREACHABLE)


@pytest.fixture
def make_files(tmp_path, monkeypatch):
  """Returns a function that gives a builder its file, in a folder that it returns."""

  def make(builder, values, base_url="https://example.org"):
    content = gzip.compress(bytes(values), mtime=0)
    info = tfds.download.checksums.UrlInfo(
      size=len(content), checksum=hashlib.sha256(content).hexdigest(), filename="pixels.gz"
    )
    monkeypatch.setattr(builder, "url_infos", {f"{base_url}/{builder.name}/pixels.gz": info})
    folder = tmp_path / "files" / builder.name
    folder.mkdir(parents=True)
    (folder / "pixels.gz").write_bytes(content)
    return folder

  return make
