"""Prepared data that all test files share: made once a test session, whatever the worker."""

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from mnist_mlp import config
from mnist_mlp.data import dataset as data

MNIST_FILES = Path(__file__).resolve().parents[2] / "shared" / "data" / "mnist"


def pytest_configure(config):
  """Lets all processes of a test session share what XLA compiled: many run the same programs."""
  if not hasattr(config, "workerinput") and "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    folder = tempfile.mkdtemp(prefix="mnist_mlp_xla_")
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    os.environ["JAX_COMPILATION_CACHE_DIR"] = folder
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"


@pytest.fixture(scope="session")
def shared_dir(tmp_path_factory):
  """A folder of this test session that all xdist workers see."""
  base = tmp_path_factory.getbasetemp()
  folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
  folder.mkdir(exist_ok=True)
  return folder


def _prepare_once(shared_dir, name, manual_dir=""):
  folder = shared_dir / name
  with open(shared_dir / f"{name}.lock", "w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    options = config.default().data
    options.update(
      name=name, data_dir=str(folder), manual_dir=str(manual_dir), validation_examples=0
    )
    data.load(options)
  return folder


@pytest.fixture(scope="session")
def digits_dir(shared_dir):
  """A TFDS folder, not to be written to, in which 'digits' is prepared and decoded."""
  return _prepare_once(shared_dir, "digits")


@pytest.fixture(scope="session")
def mnist_files():
  """The folder with MNIST's four original files."""
  if not MNIST_FILES.is_dir():
    pytest.skip(f"MNIST's original files are not in {MNIST_FILES}")
  return MNIST_FILES


@pytest.fixture(scope="session")
def mnist_dir(shared_dir, mnist_files):
  """A TFDS folder, not to be written to, in which 'mnist' is prepared and decoded."""
  return _prepare_once(shared_dir, "mnist", mnist_files)


@pytest.fixture(scope="session")
def trained_run(shared_dir, request):
  """The workdir, not to be written to, of a small net: of MNIST if it is there, else of digits."""
  name = "mnist" if MNIST_FILES.is_dir() else "digits"
  data_dir, workdir = request.getfixturevalue(f"{name}_dir"), shared_dir / "trained_run"
  with open(shared_dir / "trained_run.lock", "w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    if not (workdir / "result.json").exists():
      _train(name, data_dir, workdir)
  return workdir


def _train(name, data_dir, workdir):
  from mnist_mlp.train import train_and_evaluate

  c = config.default()
  c.data.name, c.data.data_dir = name, str(data_dir)
  c.data.validation_examples = 2000 if name == "mnist" else 200
  c.num_epochs = 5.0 if name == "mnist" else 40.0
  c.batch_size = 128 if name == "mnist" else 32
  c.model.features = (256,)
  c.model.dropout = 0.1
  c.loss.label_smoothing = 0.1
  c.optimizer.name = "adamw"
  c.schedule.name = "cosine"
  train_and_evaluate(c, workdir)
