"""What a run says if TensorBoard's events cannot be written."""

import limits
import pytest
import small
import small_run

from mnist_mlp.errors import RunError
from mnist_mlp.run.loop import Measured
from mnist_mlp.run.reporting import Reporter

MEASURED = Measured({"loss": 1.0, "accuracy": 0.5}, None, {"schedule": 1.0}, None)


def report_in_vain(run, size):
  """Reports an evaluation, as if the disk became full once a file of it has that many bytes."""
  params = small.create(run.config).params
  run.folder.history.add = lambda row: None  # It is about the events alone.
  with limits.small_files(size), Reporter(run, 0) as reporter:
    reporter.evaluation(6, MEASURED, params)


@pytest.mark.parametrize("size", [0, 200], ids=["at the start", "later"])
def test_events_that_cannot_be_written_are_a_sentence_with_the_cause(tmp_path, size):
  run = small_run.run_of(tmp_path / "run", num_steps=12, eval_every_steps=6)
  expected = rf"cannot write TensorBoard's events in {tmp_path}/run: \[Errno 27\] File too large"
  with pytest.raises(RunError, match=f"^{expected}$"):
    report_in_vain(run, size)
