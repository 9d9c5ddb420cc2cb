"""A trained net, and examples that no net has seen."""

import drawing
import pytest

from mnist_mlp import data, inference


@pytest.fixture(scope="session")
def net(trained_run):
  return inference.load_run(trained_run)


@pytest.fixture(scope="session")
def test_split(net):
  return data.load(net.config.data, report=lambda line: None).test


@pytest.fixture(scope="session")
def mnist_test(mnist_files, test_split):
  """MNIST's test split."""
  return test_split


@pytest.fixture(scope="session")
def page_url(trained_run):
  """The address of the page to draw on."""
  for package in ("starlette", "uvicorn"):
    pytest.importorskip(package)
  with drawing.serve(f"--workdir={trained_run}") as url:
    yield url
