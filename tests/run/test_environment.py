"""The process around a run."""

import json

import processes
import pytest

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
  return {path.name for path in (cache / "mnist_mlp").glob("xla-*/jit_train_chunk*-cache")}


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
