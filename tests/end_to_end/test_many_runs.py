"""Many runs in one process: neither its memory nor its memory maps grow with their number."""

import many_runs
import pytest


@pytest.mark.parametrize("count", [9, pytest.param(150, marks=pytest.mark.slow)])
def test_runs_leave_nothing_in_their_process(count, digits_dir, tmp_path):
  many_runs.check("alone", count, digits_dir, tmp_path)
