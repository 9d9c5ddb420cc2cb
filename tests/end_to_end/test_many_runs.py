"""Many runs in one process: neither its memory nor its memory maps grow with their number."""

import many_runs
import pytest


@pytest.mark.slow
def test_runs_leave_nothing_in_their_process(digits_dir, tmp_path):
  many_runs.check("alone", 150, digits_dir, tmp_path)
