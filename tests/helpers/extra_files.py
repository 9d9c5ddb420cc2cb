"""Files that some tests need and a checkout does not hold.

The environment variable MNIST_MLP_TEST_DATA names a folder of them:

    mnist/          MNIST's four original files
    handwriting/    photographs of handwritten digits
"""

import os
from pathlib import Path

import pytest

VARIABLE = "MNIST_MLP_TEST_DATA"


def find(name):
  """Returns that part of the folder, or None if it is not there."""
  folder = os.environ.get(VARIABLE)
  path = Path(folder, name) if folder else None
  return path if path and path.is_dir() else None


def need(name):
  """Returns that part of the folder; skips the test if it is not there."""
  path = find(name)
  if path is None:
    pytest.skip(f"the environment variable {VARIABLE} names no folder that holds {name}/")
  return path
