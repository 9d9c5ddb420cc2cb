"""Many groups in one process: neither its memory nor its memory maps grow with their number."""

import many_runs
import pytest


@pytest.mark.parametrize(
  "nets", [pytest.param(nets, marks=pytest.mark.hundredfold) for nets in (20, 150)]
)
def test_groups_leave_nothing_in_their_process(digits_dir, tmp_path, count, nets):
  many_runs.check("in_a_sweep", nets, digits_dir, tmp_path)
  count("nets in one process", nets)
