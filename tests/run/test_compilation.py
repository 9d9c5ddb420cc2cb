"""The compilation cache, whole and damaged, and what is said of a long compilation."""

import os

import processes
import pytest

from mnist_mlp.run import compilation

KEEP = """
import jax
from mnist_mlp.run import environment
environment.use_compilation_cache()
print(jax.jit(lambda x: 3 * x)(14.0))
"""


def compiled(home):
  """Compiles a program in a process of its own; returns the contents of the cache's entries."""
  done = processes.python(KEEP, JAX_COMPILATION_CACHE_DIR="", XDG_CACHE_HOME=str(home))
  assert (done.returncode, done.stdout, done.stderr) == (0, "42.0\n", "")
  return {path: path.read_bytes() for path in home.glob("mnist_mlp/xla-*/*-cache")}


def flipped(content):
  return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize("damage", [flipped, lambda content: content[:100], lambda content: b""])
def test_a_damaged_entry_is_compiled_anew_without_a_word_and_is_whole_then(tmp_path, damage):
  kept = compiled(tmp_path)
  assert kept
  for path, content in kept.items():
    path.write_bytes(damage(content))
  assert compiled(tmp_path).keys() == kept.keys()
  for path, content in compiled(tmp_path).items():
    assert len(content) > 100 and compilation._unfolds(content), path


def entries(folder):
  return sorted(path.name for path in folder.glob("*-cache"))


def test_a_flipped_byte_is_found_by_the_digest_even_if_it_unfolds(tmp_path):
  """Not every compressor has a checksum of its own."""
  good = compilation.zlib.compress(b"program", 0)
  for name in ("a-cache", "b-cache"):
    (tmp_path / name).write_bytes(good)
  compilation.note_new(tmp_path)
  (tmp_path / "b-cache").write_bytes(compilation.zlib.compress(b"prograM", 0))
  (tmp_path / "torn-cache").write_bytes(good[:-3])
  compilation.remove_damaged(tmp_path)
  assert entries(tmp_path) == ["a-cache"]
  compilation.remove_damaged(tmp_path)
  assert entries(tmp_path) == ["a-cache"]


@pytest.mark.parametrize("digests", ["", "[]", "{", '{"a-cache": "x"}', "\udcff"])
def test_damaged_digests_only_cost_time(tmp_path, digests):
  (tmp_path / "a-cache").write_bytes(compilation.zlib.compress(b"program"))
  (tmp_path / "digests.json").write_bytes(os.fsencode(digests))
  compilation.remove_damaged(tmp_path)
  assert entries(tmp_path) in ([], ["a-cache"])
  compilation.remove_damaged(tmp_path / "nowhere")
  assert not (tmp_path / "nowhere").exists()


LONG = """
import sys, threading, time
import jax
from mnist_mlp.run import compilation, environment
compilation._LONG = float(sys.argv[1])
environment.use_compilation_cache()

def many(x):
  for _ in range(300):
    x = jax.numpy.sin(x @ x)
  return x

jax.jit(many)(jax.numpy.ones((30, 30)))
time.sleep(0.3)
waiting = [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]
assert not waiting, "a compilation that is done would still be said"
"""


@pytest.mark.parametrize(("patience", "lines"), [(0.01, True), (60, False)])
def test_a_compilation_that_takes_long_says_so(tmp_path, patience, lines):
  cache = str(tmp_path)
  done = processes.python(LONG, patience, JAX_COMPILATION_CACHE_DIR="", XDG_CACHE_HOME=cache)
  assert done.returncode == 0, done.stderr
  assert ("compiling a program, which can take minutes" in done.stderr) == lines
  assert compilation._LONG == 10
