"""A run that many tests look at: trained once a test session, whatever the worker."""

import fcntl

import processes
import pytest
from training_runs import LONG


@pytest.fixture(scope="session")
def uninterrupted(shared_dir, digits_dir):
  """The workdir, not to be written to, of the run LONG; beside it lies what Python imported."""
  workdir = shared_dir / "uninterrupted" / "run"
  workdir.parent.mkdir(exist_ok=True)
  with open(shared_dir / "uninterrupted.lock", "w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    if not (workdir / "result.json").exists():
      variables = {"TFDS_DATA_DIR": str(digits_dir), **processes.OPTIMIZED}
      python = ("-X", "importtime")
      done = processes.run(*LONG, f"--workdir={workdir}", python=python, **variables)
      assert done.returncode == 0, done.stderr
      (workdir.parent / "imports").write_text(done.stderr)
  return workdir
