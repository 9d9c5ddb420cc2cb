"""Limits of this process that stand for those of a machine."""

import contextlib
import os
import resource
import shutil
import subprocess

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
