"""Many groups in one process: neither its memory nor its memory maps grow with their number."""

import many_runs
import pytest


@pytest.mark.slow
def test_groups_leave_nothing_in_their_process(digits_dir, tmp_path):
  many_runs.check("in_a_sweep", 150, digits_dir, tmp_path)
