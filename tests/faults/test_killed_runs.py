"""Runs that are killed again and again, at any moment: real processes, real SIGKILLs."""

import killing
import processes
import pytest
from chances import rounds
from lost_runs import same
from training_runs import LONG

KILLS = 5  # of each round

pytestmark = pytest.mark.usefixtures("optimized")


@rounds(slow=1, all_of_them=20)
def test_a_killed_run_comes_to_the_same_end(
  number, uninterrupted, digits_dir, tmp_path, chance, count
):
  variables, kills, runs = {"TFDS_DATA_DIR": str(digits_dir)}, 0, 0
  begun, ended = (uninterrupted / name for name in ("environment.json", "result.json"))
  seconds = ended.stat().st_mtime - begun.stat().st_mtime
  while kills < KILLS:  # A run may end before it is killed.
    workdir, runs = tmp_path / str(runs), runs + 1
    words = (*LONG, f"--workdir={workdir}")
    while kills < KILLS:
      process = killing.started(words, tmp_path / "output", variables=variables)
      if not killing.is_killed(process, workdir, chance.uniform(0, seconds)):
        break
      kills += 1
    done = processes.run(*words, timeout=900, **variables)
    assert done.returncode == 0, done.stderr
    assert same(workdir, uninterrupted)
    # A kill amid the removal of an old checkpoint leaves a part of it, never a whole one.
    assert not list(workdir.glob("damaged/*/metrics/metrics"))
  count("SIGKILLs of runs", kills)
