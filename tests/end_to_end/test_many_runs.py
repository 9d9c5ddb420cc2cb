"""Many runs in one process: neither its memory nor its memory maps grow with their number."""

import many_runs
import processes
import pytest

# What one run compiles takes some 280 maps and 20 MB. Between two sizes lies at least half a run.
MAPS, MEGABYTES = 30, 5


def sizes(kind, count, digits_dir, folder):
  """Returns [(maps, megabytes), ...] of a process that trains so many nets."""
  code = f"import runpy; runpy.run_path({many_runs.__file__!r}, run_name='__main__')"
  done = processes.python(code, kind, digits_dir, folder, count, timeout=3000)
  assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
  lines = [line.split() for line in done.stdout.splitlines() if line.startswith("size ")]
  return [(int(maps), int(megabytes)) for _, maps, megabytes in lines]


@pytest.mark.parametrize("kind", ["alone", "in_a_sweep"])
@pytest.mark.parametrize("count", [6, pytest.param(150, marks=pytest.mark.slow)])
def test_runs_leave_nothing_in_their_process(kind, count, digits_dir, tmp_path):
  found = sizes(kind, count, digits_dir, tmp_path)
  assert len(found) >= count
  warm = found[len(found) // 2 :]
  assert warm[-1][0] - warm[0][0] < MAPS * len(warm), found
  assert warm[-1][1] - warm[0][1] < MEGABYTES * len(warm), found
