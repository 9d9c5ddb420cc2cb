"""A sweep that many tests look at: trained once a test session, whatever the worker."""

import fcntl
from pathlib import Path
from typing import NamedTuple

import pytest
import sweeping

# Two learning rates, two seeds, and one that diverges; two groups.
SWEEP = """
def sweep():
  yield from sweeps.grid({"optimizer.learning_rate": [0.001, 0.01], "seed": [0, 1]})
  yield {"optimizer.learning_rate": 1e30, "seed": 0}
  yield {"optimizer.learning_rate": 0.01, "seed": 0, "model.dropout": 0.5}
"""


class Swept(NamedTuple):
  """A sweep that was trained without interruption."""

  path: Path  # the sweep file
  points: list
  folder: Path  # its workdir, not to be written to
  rows: list  # of its leaderboard


@pytest.fixture(scope="session")
def sweep_path(tmp_path_factory):
  """The sweep file."""
  return sweeping.sweep_file(tmp_path_factory.mktemp("sweep"), SWEEP)


@pytest.fixture(scope="session")
def points(sweep_path, digits_dir):
  """Its points, for tests that train none of them."""
  return sweeping.load(sweep_path, digits_dir)


@pytest.fixture(scope="session")
def swept(sweep_path, points, shared_dir):
  """The sweep, trained."""
  folder = shared_dir / "swept"
  with open(shared_dir / "swept.lock", "w") as lock:  # Once for all of xdist's workers.
    fcntl.flock(lock, fcntl.LOCK_EX)
    _, rows = sweeping.train(points, folder)
  return Swept(sweep_path, points, folder, rows)
