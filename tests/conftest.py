"""Prepared data that all test files share: made once a test session, whatever the worker."""

import collections
import fcntl
import os
import secrets
import shutil
import signal
import tempfile

import extra_files
import processes
import pytest
from chances import FAULTS_SEED
from etils import epy
from training_runs import LONG

from mnist_mlp import config, data

with epy.lazy_imports():  # JAX takes seconds, which many tests do without.
  import jax

  from mnist_mlp import train


def pytest_configure(config):
  """Saves time in compiling: for this process, its workers, and all that they start.

  All of them share what XLA compiled, because many run the same programs. The fast tests, most of
  which run a program but a few times, go without LLVM's optimizations, which change no result but
  in its last bits. The fixture `optimized` and a selection with the slow tests bring them back.
  """
  _heed_signals()
  if hasattr(config, "workerinput"):
    return
  if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    folder = tempfile.mkdtemp(prefix="mnist_mlp_xla_")
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    os.environ["JAX_COMPILATION_CACHE_DIR"] = folder
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
  if "not slow" in config.option.markexpr:
    os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "true")
  os.environ.setdefault(FAULTS_SEED, str(secrets.randbelow(10**6)))


def pytest_report_header():
  """Says from which seed the faults of tests/faults/ are drawn; give it to draw them again."""
  return f"{FAULTS_SEED}={os.environ[FAULTS_SEED]}"


def pytest_terminal_summary(terminalreporter):
  """Says how many faults of each kind the passed tests brought about; see tests/faults/."""
  counts = collections.Counter()
  for report in terminalreporter.stats.get("passed", []):
    for name, value in report.user_properties:
      counts[name] += value
  for name, value in sorted(counts.items()):
    terminalreporter.write_line(f"{value:6,} {name}")


def _heed_signals():
  """Undoes what nohup and a shell's background jobs set, which all processes would inherit."""
  for number, handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
  ):
    if signal.getsignal(number) is signal.SIG_IGN:
      signal.signal(number, handler)


@pytest.fixture
def optimized(monkeypatch):
  """Programs are compiled as those of users, in this process and in those that it starts."""
  for name, value in processes.OPTIMIZED.items():
    monkeypatch.setenv(name, value)
  before = jax.config.read("jax_disable_most_optimizations")
  jax.config.update("jax_disable_most_optimizations", False)
  yield
  jax.config.update("jax_disable_most_optimizations", before)


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
  return extra_files.need("mnist")


@pytest.fixture(scope="session")
def handwriting_files():
  """The folder with photographs of handwritten digits."""
  return extra_files.need("handwriting")


@pytest.fixture(scope="session")
def mnist_dir(shared_dir, mnist_files):
  """A TFDS folder, not to be written to, in which 'mnist' is prepared and decoded."""
  return _prepare_once(shared_dir, "mnist", mnist_files)


@pytest.fixture(scope="session")
def uninterrupted(shared_dir, digits_dir):
  """The workdir, not to be written to, of the run LONG; beside it lies what Python imported."""
  workdir = shared_dir / "uninterrupted" / "run"
  workdir.parent.mkdir(exist_ok=True)
  with open(shared_dir / "uninterrupted.lock", "w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    if not (workdir / "result.json").exists():
      variables = {"TFDS_DATA_DIR": str(digits_dir), **processes.OPTIMIZED}
      python = ("-X", "importtime")
      done = processes.run(*LONG, f"--workdir={workdir}", python=python, **variables)
      assert done.returncode == 0, done.stderr
      (workdir.parent / "imports").write_text(done.stderr)
  return workdir


@pytest.fixture(scope="session")
def trained_run(shared_dir, request):
  """The workdir, not to be written to, of a small net: of MNIST if it is there, else of digits."""
  name = "mnist" if extra_files.find("mnist") else "digits"
  data_dir, workdir = request.getfixturevalue(f"{name}_dir"), shared_dir / "trained_run"
  with open(shared_dir / "trained_run.lock", "w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    if not (workdir / "result.json").exists():
      _train(name, data_dir, workdir)
  return workdir


def _train(name, data_dir, workdir):
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
  train.train_and_evaluate(c, workdir)
