"""A disk that is full before the run has ended: a file system in memory, of few kilobytes."""

import forking
import limits
import pytest
from lost_runs import COMMAND, is_one_sentence, same

# In KiB. A run of COMMAND takes 550 or somewhat more.
SIZES = (4, 64, 190, 410, *range(20, 540, 20))


@pytest.fixture(scope="module")
def server():
  with forking.Server() as started:
    yield started


@pytest.fixture(scope="module")
def undisturbed(server, digits_dir, tmp_path_factory):
  """The workdir, not to be written to, of a run with room enough."""
  workdir = tmp_path_factory.mktemp("undisturbed") / "run"
  assert run(server, workdir, digits_dir, workdir.parent)[0] == 0
  return workdir


@pytest.fixture
def disk(tmp_path):
  """resized(kilobytes): gives the folder of a small disk that size."""
  with limits.small_disk(tmp_path / "disk") as resized:
    yield resized


def run(server, workdir, digits_dir, folder):
  words = (*COMMAND, f"--workdir={workdir}", f"--config.data.data_dir={digits_dir}")
  return server.run(*words, output=folder / "output")


@pytest.mark.hundredfold
@pytest.mark.parametrize(
  "kilobytes",
  [pytest.param(size, marks=[pytest.mark.slow] if i < 4 else []) for i, size in enumerate(SIZES)],
)
def test_with_room_again_the_run_goes_on(
  server, undisturbed, digits_dir, disk, tmp_path, kilobytes, count
):
  workdir = disk(kilobytes) / "run"
  code, said = run(server, workdir, digits_dir, tmp_path)
  assert code == 1 and is_one_sentence(said), said
  disk(10_000)
  code, said = run(server, workdir, digits_dir, tmp_path)
  assert code == 0, said
  assert same(workdir, undisturbed)
  count("full disks", 1)
