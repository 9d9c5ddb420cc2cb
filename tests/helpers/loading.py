"""Loads datasets as the tests of this folder do, and compares what comes out."""

import subprocess
import sys

import numpy as np

from mnist_mlp import config, data

UNREACHABLE = "example.org cannot be reached (ConnectionError)"


def options(**changes):
  section = config.default().data
  section.name = "digits"
  section.update(
    {
      key: str(value) if key.endswith("_dir") else value
      for key, value in {"validation_examples": 100, **changes}.items()
    }
  )
  return section


def load(data_dir, only=None, **changes):
  """Returns the dataset and all that was reported."""
  lines = []
  section = options(data_dir=data_dir, **changes)
  only = {"name": only} if isinstance(only, str) else only
  dataset = data.load(section, report=lines.append, only=only)
  return dataset, "\n".join(lines)


PRELUDE = """
import itertools, os, sys
import numpy as np
from mnist_mlp import config, data

def load(data_dir, name="digits"):
  options = config.default().data
  options.update(name=name, data_dir=data_dir, validation_examples=100)
  return data.load(options)
"""


def run_python(code, *prefix, returncode=0):
  """Runs code, for which `load` is defined, in a process of its own; returns the process."""
  process = subprocess.run(
    [*prefix, sys.executable, "-c", PRELUDE + code],
    text=True,
    capture_output=True,
    timeout=100,
    check=False,
  )
  assert process.returncode == returncode, process.stderr
  return process


def listing_of(folder):
  return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def assert_same(a, b):
  for split in ("train", "validation", "test"):
    for x, y in zip(getattr(a, split), getattr(b, split), strict=True):
      assert x.dtype == y.dtype
      np.testing.assert_array_equal(x, y)
  assert (a.class_names, a.version, a.fingerprint) == (b.class_names, b.version, b.fingerprint)
