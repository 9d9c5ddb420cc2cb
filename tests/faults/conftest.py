"""What the tests of faults share: their chances, their counts, and undisturbed runs."""

import chances
import pytest
from lost_runs import config_of

from mnist_mlp.run.history import History
from mnist_mlp.train import train_and_evaluate


class Killed(BaseException):
  """Ends a run at once."""


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
def begun(tmp_path_factory, digits_dir):
  """The same run, as it was when it was killed after its third evaluation."""
  workdir, add = tmp_path_factory.mktemp("lost") / "begun", History.add

  def add_or_die(history, row):
    if row["step"] == 24:
      raise Killed
    add(history, row)

  with pytest.MonkeyPatch.context() as patched, pytest.raises(Killed):
    patched.setattr(History, "add", add_or_die)
    train_and_evaluate(config_of(digits_dir), workdir)
  assert sorted(int(path.name) for path in workdir.glob("checkpoints/*"))[-2:] == [12, 18]
  return workdir
