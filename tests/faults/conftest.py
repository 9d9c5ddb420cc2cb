"""What the tests of faults share: their chances, their counts, and undisturbed runs."""

import shutil

import chances
import pytest
from lost_runs import config_of

from mnist_mlp.train import train_and_evaluate


@pytest.fixture
def chance(request):
  """Where a test draws its chances: random.Random, of the seed and the test's name."""
  return chances.drawn_for(request.node.name)


@pytest.fixture
def count(record_property):
  """count(kind, number): adds to the counts of faults that pytest prints in the end."""
  return record_property


@pytest.fixture(scope="session")
def finished(tmp_path_factory, digits_dir):
  """The workdir, not to be written to, of a small finished run."""
  workdir = tmp_path_factory.mktemp("lost") / "finished"
  train_and_evaluate(config_of(digits_dir), workdir)
  return workdir


@pytest.fixture(scope="session")
def begun(finished):
  """The same run, as it was when it was killed after its third evaluation."""
  workdir = shutil.copytree(finished, finished.with_name("begun"))
  shutil.rmtree(workdir / "checkpoints" / "24")
  (workdir / "result.json").unlink()
  return workdir
