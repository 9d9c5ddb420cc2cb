"""Commands that are killed at a moment drawn by chance, while they write to their workdir."""

import os
import signal
import subprocess
import time

import processes


def holds(process, workdir):
  """Returns whether a process, or one that it started, has claimed a folder in a workdir."""
  inside = f"{workdir.resolve()}/"
  for pid in (process.pid, *_children(process.pid)):
    try:
      files = [os.readlink(entry.path) for entry in os.scandir(f"/proc/{pid}/fd")]
    except OSError:  # A file was just closed, or the process has ended.
      continue
    if any(file.startswith(inside) and file.endswith("/.lock") for file in files):
      return True
  return False


def _children(pid):
  try:
    with open(f"/proc/{pid}/task/{pid}/children") as file:
      return file.read().split()
  except OSError:
    return []


def started(words, output, **options):
  """Starts a command in a session of its own; see `processes.start`."""
  return processes.start(*words, output=output, start_new_session=True, **options)


def is_killed(process, workdir, seconds):
  """Kills a process and those it started, so long after it claimed its workdir.

  Returns:
    Whether it was killed; False if it came to its end before.
  """
  deadline = time.monotonic() + 120
  while process.poll() is None and not holds(process, workdir) and time.monotonic() < deadline:
    time.sleep(0.01)
  try:
    process.wait(seconds)
  except subprocess.TimeoutExpired:
    os.killpg(process.pid, signal.SIGKILL)
  code = process.wait(600)  # To end may take long on a busy machine.
  assert code in (0, -signal.SIGKILL), code
  return code != 0
