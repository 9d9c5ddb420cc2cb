"""The process around a run: what it compiles, and the signals that stop it."""

import importlib.metadata
import json
import os

import jax
import processes
import pytest

from mnist_mlp.errors import UsageError
from mnist_mlp.run import environment

SHORT = (
  "--config=configs/sgd.py",
  "--config.data.name=digits",
  "--config.data.validation_examples=100",
  "--config.model.features=(16,)",
  "--config.num_epochs=2",
)


@pytest.fixture(scope="module")
def first(digits_dir, tmp_path_factory):
  """A run that filled an empty compilation cache: (the cache's home, the run's metrics)."""
  home = tmp_path_factory.mktemp("first")
  return home / "cache", run(home, digits_dir, home / "cache")


def run(folder, digits_dir, cache):
  done = processes.run(
    *SHORT,
    f"--workdir={folder / 'run'}",
    TFDS_DATA_DIR=str(digits_dir),
    JAX_COMPILATION_CACHE_DIR="",
    XDG_CACHE_HOME=str(cache),
  )
  assert done.returncode == 0, done.stderr
  assert "Traceback" not in done.stderr
  return (folder / "run" / "metrics.jsonl").read_text()


def entries(cache):
  return {path.name for path in (cache / "mnist_mlp").glob("xla-*/jit_scan_steps*-cache")}


@pytest.mark.slow
@pytest.mark.slow
def test_compiled_programs_are_kept_and_give_the_same_numbers(first, digits_dir, tmp_path):
  cache, metrics = first
  before = entries(cache)
  assert before
  assert run(tmp_path, digits_dir, cache) == metrics
  assert entries(cache) == before, "the second run compiled anew"


@pytest.mark.slow
def test_a_damaged_cache_only_costs_time(first, digits_dir, tmp_path):
  cache, metrics = first
  for path in (cache / "mnist_mlp").glob("xla-*/*-cache"):
    path.write_bytes(b"damaged" + path.read_bytes()[:100])
  assert run(tmp_path, digits_dir, cache) == metrics


@pytest.mark.slow
def test_a_cache_that_cannot_be_written_only_costs_time(first, digits_dir, tmp_path):
  (tmp_path / "file").write_text("")
  assert run(tmp_path, digits_dir, tmp_path / "file") == first[1]


def test_changes_between_environments_are_named():
  old = environment.describe()
  new = json.loads(json.dumps(old))
  assert environment.changes(old, new) == ""
  new["packages"]["jax"], new["cpu_cores"] = "9.9", 77
  said = environment.changes(old, new)
  assert f"jax: {old['packages']['jax']} -> 9.9" in said and "cpu_cores" in said


@pytest.mark.parametrize(
  ("name", "value", "said"),
  [
    ("JAX_ENABLE_X64", "1", "JAX_ENABLE_X64 must be False"),
    ("JAX_DISABLE_JIT", "1", "JAX_DISABLE_JIT must be False"),
    ("JAX_NUMPY_DTYPE_PROMOTION", "strict", "JAX_NUMPY_DTYPE_PROMOTION must be 'standard'"),
    ("JAX_DEFAULT_PRNG_IMPL", "rbg", "JAX_DEFAULT_PRNG_IMPL must be 'threefry2x32'"),
    ("JAX_PLATFORMS", "tpu", "JAX_PLATFORMS is 'tpu', but there is no such device"),
    ("JAX_PLATFORMS", "nonsense", "JAX_PLATFORMS is 'nonsense', but there is no such device"),
  ],
)
def test_what_jax_is_asked_for_and_cannot_do_is_one_sentence(tmp_path, name, value, said):
  done = processes.run(*SHORT, f"--workdir={tmp_path / 'run'}", **{name: value})
  assert done.returncode == 2, done.stderr
  assert done.stderr.startswith(f"error: {said}") and done.stderr.count("\n") == 1
  assert not (tmp_path / "run").exists()


def test_other_random_numbers_are_refused_also_if_a_program_asks_for_them():
  for context in (jax.threefry_partitionable(False), jax.default_prng_impl("rbg")):
    with context, pytest.raises(UsageError, match=r"must be .* for this program"):
      environment.check_jax()
  environment.check_jax()


def test_a_precision_that_was_chosen_is_noted():
  assert "matmul_precision" not in environment.describe()
  with jax.default_matmul_precision("bfloat16"):
    assert environment.describe()["matmul_precision"] == "bfloat16"


def test_a_checkout_that_is_not_installed_knows_its_version(monkeypatch):
  found = environment.describe()["packages"]
  real = importlib.metadata.version

  def version(name):
    if name in ("mnist_mlp", "clu"):
      raise importlib.metadata.PackageNotFoundError(name)
    return real(name)

  monkeypatch.setattr(importlib.metadata, "version", version)
  environment.versions.cache_clear()
  assert environment.describe()["packages"] == {**found, "clu": "unknown"}
  environment.versions.cache_clear()


KEEP = """
import jax
from mnist_mlp.run import environment
environment.use_compilation_cache()
print(jax.jit(lambda x: 3 * x)(14.0))
"""


def compiled(cache):
  """Compiles a program in a process of its own; returns the files of the cache."""
  done = processes.python(
    KEEP,
    JAX_COMPILATION_CACHE_DIR="",
    JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="1",
    XDG_CACHE_HOME=str(cache),
  )
  assert done.returncode == 0 and done.stdout == "42.0\n", done.stderr
  return {path: path.stat().st_mtime_ns for path in cache.glob("mnist_mlp/xla-*/*-cache")}


def test_what_one_process_compiled_another_one_finds(tmp_path):
  kept = compiled(tmp_path)
  assert any("jit__lambda" in path.name for path in kept)
  assert compiled(tmp_path) == kept


HOMELESS = """
import os
os.setreuid(54321, 0)  # Has no entry in the list of users, but may read whatever root may.
os.environ.pop("HOME"), os.environ.pop("XDG_CACHE_HOME", None)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become a user without an entry")
def test_a_process_without_a_home_compiles_for_itself():
  imports, use = KEEP.split("environment.use", 1)
  program = f"{imports}{HOMELESS}environment.use{use}"
  done = processes.python(program, JAX_COMPILATION_CACHE_DIR="")
  assert done.returncode == 0 and done.stdout == "42.0\n", done.stderr


def test_the_users_own_cache_is_left_alone(tmp_path):
  done = processes.python(
    KEEP, JAX_COMPILATION_CACHE_DIR=str(tmp_path / "own"), XDG_CACHE_HOME=str(tmp_path / "home")
  )
  assert done.returncode == 0, done.stderr
  assert not (tmp_path / "home").exists()


SIGNALS = """
import signal, threading
from mnist_mlp.run import environment
from mnist_mlp.run.environment import StopSignals

ignored = []
for number in (signal.SIGINT, signal.SIGTERM):
  signal.signal(number, lambda number, frame: ignored.append(number))

with StopSignals() as signals:
  assert signals.received is None
  signal.raise_signal(signal.SIGTERM)
  signal.raise_signal(signal.SIGINT)  # Of the same moment: a terminal signals every process.
  assert signals.received is signal.SIGTERM and not ignored
  error = signals.interrupted(" after step 3")
  assert (str(error), error.exit_code) == ("interrupted by SIGTERM after step 3", 143)
  environment._TOGETHER = 0.0
  signal.raise_signal(signal.SIGINT)
  assert ignored == [signal.SIGINT], "a second one has not its usual effect"
  signal.raise_signal(signal.SIGTERM)
  assert ignored == [signal.SIGINT, signal.SIGTERM]

with StopSignals() as signals:
  pass
signal.raise_signal(signal.SIGTERM)
assert signals.received is None and ignored[2:] == [signal.SIGTERM], "handlers were not restored"

for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
  with StopSignals() as signals:
    signal.raise_signal(number)
    assert signals.received is number
    assert signals.interrupted("").exit_code == 128 + number

signal.signal(signal.SIGHUP, signal.SIG_IGN)
with StopSignals() as signals:
  signal.raise_signal(signal.SIGHUP)
  assert signals.received is None, "nohup wants it ignored"

def elsewhere():
  with StopSignals() as signals:
    found.append(signals.received)

found = []
thread = threading.Thread(target=elsewhere)
thread.start()
thread.join()
assert found == [None], "Python allows no handlers outside of the main thread"
"""


def test_a_signal_is_noted_and_a_second_one_has_its_usual_effect():
  done = processes.python(SIGNALS)
  assert done.returncode == 0, done.stderr
