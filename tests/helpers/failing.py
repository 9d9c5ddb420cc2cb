"""Commands one of whose calls to the system fails; failing_calls.c says which calls those are."""

import contextlib
import errno
import shutil
import subprocess
from pathlib import Path

import forking
import pytest

# The errors, and whether those calls fail from then on: a full disk stays full. A disk that denies
# to be read is as real as one that denies to be written; a full one can still be read.
ERRORS = {"EIO": False, "ENOSPC": True, "EROFS": True, "EDQUOT": True, "EACCES": False}
_OF_READING = ("EIO", "EACCES")


@contextlib.contextmanager
def server(folder):
  """Gives a `forking.Server` whose commands can be made to fail; skips where there is no gcc."""
  if not shutil.which("gcc"):
    pytest.skip("there is no gcc to compile what makes calls fail")
  library = folder / "failing_calls.so"
  source = Path(__file__).with_name("failing_calls.c")
  subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
  with forking.Server(LD_PRELOAD=str(library)) as started:
    yield started


def variables(below, log, at=0, error="EIO"):
  """Returns what lets the call with the number `at` fail, of those on files below a folder.

  Args:
    below: the folder.
    log: a file to which a line is added for each call.
    at: counts from 1; 0 is none.
    error: one of ERRORS.
  """
  given = {"FAIL_BELOW": below, "FAIL_LOG": log, "FAIL_AT": at}
  given["FAIL_ERRNO"] = getattr(errno, error)
  if error in _OF_READING:
    given["FAIL_READS"] = 1
  if ERRORS[error]:
    given["FAIL_ON"] = 1
  return given
