"""How often the tests of faults bring about a fault, and the seed from which it is drawn."""

import os
import random

import pytest

# The variable of the environment with the seed; tests/conftest.py draws one where it is not set.
FAULTS_SEED = "MNIST_MLP_FAULTS_SEED"


def drawn_for(test):
  """Returns the source of chances of a test, which depends on the seed and its name alone."""
  seed = os.environ[FAULTS_SEED]
  print(f"{FAULTS_SEED}={seed}")  # pytest shows it with a failure.
  return random.Random(f"{seed} {test}")


def rounds(slow, all_of_them):
  """Marks a test: the slow suite runs it so many times, the hundredfold suite more often."""
  marks = [pytest.mark.hundredfold, pytest.mark.slow]
  return pytest.mark.parametrize(
    "number", [pytest.param(i, marks=marks[: 1 + (i < slow)]) for i in range(all_of_them)]
  )
