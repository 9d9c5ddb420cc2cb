"""Limits of this process that stand for those of a machine."""

import contextlib
import resource


@contextlib.contextmanager
def small_files(size):
  """Lets no file grow beyond `size` bytes: a write beyond fails, as on a full disk."""
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
  try:
    yield
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
