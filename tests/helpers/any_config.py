"""Trains configs of any values, one after the other: each trains, or is refused in one sentence.

Run as a script, in a process that gets little memory.
"""

import collections
import contextlib
import faulthandler
import os
import resource
import shutil
import sys
import tempfile
from pathlib import Path

import hypothesis
import jax
import numpy as np
from hypothesis import strategies as st
from ml_collections import ConfigDict

from mnist_mlp import config as config_lib
from mnist_mlp.errors import UserError
from mnist_mlp.train import train_and_evaluate

MEMORY = 4 * 2**30  # bytes, beyond what JAX has taken
HANGS = 300  # seconds

# The config that the others differ from.
SMALL = {"data.name": "digits", "data.validation_examples": 100, "num_steps": 2, "batch_size": 16}
SMALL |= {"model.features": (8,), "eval_batch_size": 300}
# Values of the wrong type or beyond any range.
ODD = [
  *(None, "", "x", "\0", b"x", True, -1, 0, 2**31, 2**63, 10**400, -(10**400)),
  *(-0.0, 1e-46, 1e39, 1e308, float("nan"), float("inf"), -float("inf")),
  *((), (1,), (0,), (1.5,), ("a",), [1], {}, {"a": 1}),
  *(np.float32(0.5), np.int64(3), np.array([1]), np.array(2.0), print),
]
PATHS = [
  "",
  "nowhere",
  "/dev/null",
  "a\0b",
  "~nobody-of-this-name/x",
  "/proc/self/fd",
  "\udcff",
  ".",
]
STRINGS = {
  "data.name": ["digits", "dgits", "", "../x", "a\0b", "digits:9.9.9", "emnist/none", "x" * 5000],
  "data.columns": ["", "image,label", "x", "a\0b"],
  **{f"data.{name}": PATHS for name in ("files", "data_dir", "manual_dir")},
}


def of_field(name):
  """Returns the values that the schema allows in a field, the bounds among them."""
  field = config_lib.FIELDS[name]
  if isinstance(field.default, bool):
    return st.booleans()
  if isinstance(field.allowed, list):
    return st.sampled_from(field.allowed)
  if isinstance(field.default, str):
    return st.sampled_from(STRINGS[name])
  if isinstance(field.default, tuple):
    return st.lists(st.integers(0, 9) | numbers(field), max_size=6).map(tuple)
  return numbers(field)


def numbers(field):
  low, high = (float(bound) for bound in field.allowed[1:-1].split(","))
  if isinstance(field.default, float):
    below = {"exclude_min": field.allowed[0] == "(", "exclude_max": field.allowed[-1] == ")"}
    high = min(high, 1e30)
    near = st.floats(low, min(high, low + 1), **below)
    return near | st.floats(low, high, **below)
  return st.integers(int(low), int(low) + 40) | st.just(int(high))


NAMES = sorted(config_lib.FIELDS)
allowed = st.sampled_from(NAMES).flatmap(lambda name: st.tuples(st.just(name), of_field(name)))
odd = st.tuples(st.sampled_from([*NAMES, "optimizer", "x", "model.x"]), st.sampled_from(ODD))
changes = st.one_of(
  *[st.lists(allowed, min_size=1, max_size=6).map(dict)] * 3,
  st.lists(allowed | odd, min_size=1, max_size=4).map(dict),
)


def config_of(changed, data_dir):
  """Returns a config that differs so; a section may become a value."""
  sections = {name: value for name, value in changed.items() if name in ("optimizer", "x")}
  rest = {name: value for name, value in changed.items() if name not in sections}
  flat = config_lib.flatten(config_lib.default()) | SMALL | {"data.data_dir": data_dir} | rest
  c = ConfigDict(config_lib.unflatten(flat), type_safe=False)
  with c.unlocked(), c.ignore_type():
    for name, value in sections.items():
      c[name] = value
  return c


def outcome(config):
  """Trains a few steps of it; returns the sentence with which it was refused, or 'trained'."""
  workdir = tempfile.mkdtemp(dir=".")
  try:
    config_lib.validate(config)
    config.num_steps = min(config.num_steps or 2, 2)
    train_and_evaluate(config, Path(workdir) / "run")
  except UserError as error:
    return str(error)
  finally:
    shutil.rmtree(workdir)
  return "trained"


def main(count, seed, data_dir):
  """Tries so many configs; prints how many were trained and how many were refused."""
  found = collections.Counter()

  @hypothesis.seed(seed)
  @hypothesis.settings(
    max_examples=count,
    deadline=None,
    database=None,
    phases=[hypothesis.Phase.generate],
    suppress_health_check=list(hypothesis.HealthCheck),
  )
  @hypothesis.given(changes)
  def try_one(changed):
    print(f"{changed!r:.500}", file=sys.stderr, flush=True)  # Of use if the process breaks down.
    faulthandler.dump_traceback_later(HANGS, exit=True)
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
      said = outcome(config_of(changed, data_dir))
    assert "\n" not in said and len(said) < 3000, said
    found["trained" if said == "trained" else "refused"] += 1

  try_one()
  faulthandler.cancel_dump_traceback_later()
  print(found["trained"], found["refused"])


if __name__ == "__main__":
  jax.jit(lambda x: x + 1)(1.0).block_until_ready()
  used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
  resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
  main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
