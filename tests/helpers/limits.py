"""Limits of this process that stand for those of a machine."""

import contextlib
import os
import resource
import secrets
import shutil
import subprocess
import time
from pathlib import Path

import pytest


@contextlib.contextmanager
def small_files(size):
  """Lets no file grow beyond `size` bytes: a write beyond fails, as on a full disk."""
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
  try:
    yield
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def small_disk(folder):
  """Makes a folder for file systems in memory; skips the test where only root may mount one.

  Yields:
    resized(kilobytes): gives the folder of the file system that size, and returns the folder.
  """
  folder.mkdir()

  def resized(kilobytes):
    how = "remount,size" if os.path.ismount(folder) else "size"
    words = ["mount", "-t", "tmpfs", "-o", f"{how}={kilobytes}k", "tmpfs", folder]
    if not shutil.which("mount") or subprocess.run(words, capture_output=True).returncode:
      pytest.skip("only root may mount a small file system")
    return folder

  try:
    yield resized
  finally:
    if os.path.ismount(folder):
      subprocess.run(["umount", folder], check=True)


# Where control groups of memory are made, and the file with the bytes that a group may take.
GROUPS = (
  ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
  ("/sys/fs/cgroup/unified", "memory.max"),
  ("/sys/fs/cgroup", "memory.max"),
)


@contextlib.contextmanager
def memory_group(size):
  """Makes a control group whose processes get so many bytes of memory together.

  The system ends a process that takes more. Skips the test where no group can be made.

  Yields:
    The group's folder. A process that writes its number to `cgroup.procs` in it joins the group.
  """
  name = f"mnist_mlp_{secrets.token_hex(4)}"
  for folder, limit in GROUPS:
    group = Path(folder, name)
    with contextlib.suppress(OSError):
      group.mkdir()
      if (group / limit).exists():
        break
      group.rmdir()
  else:
    pytest.skip("only root may make a control group of memory")
  try:
    (group / limit).write_text(str(size))
    yield group
  finally:
    while (group / "cgroup.procs").read_text():  # Processes that ended may still leave.
      time.sleep(0.1)
    group.rmdir()
