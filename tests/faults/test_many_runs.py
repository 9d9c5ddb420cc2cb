"""Many runs in one process: neither its memory nor its memory maps grow with their number."""

import many_runs
import pytest


@pytest.mark.parametrize(
  "nets",
  [pytest.param(20, marks=pytest.mark.slow), pytest.param(150, marks=pytest.mark.hundredfold)],
)
def test_runs_leave_nothing_in_their_process(digits_dir, tmp_path, count, nets):
  many_runs.check("alone", nets, digits_dir, tmp_path)
  count("nets in one process", nets)
