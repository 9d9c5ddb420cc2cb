"""Files that outlive a loss of power: written aside, flushed to the disk, then given their name.

A file is either the old one or the new one, whatever happens. Whoever lays a link of the temporary
file's name gains nothing: that file is always a new one.
"""

import contextlib
import errno
import os
import re
import secrets
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{16}\.tmp")
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
_NO_FLUSH = (errno.EINVAL, errno.ENOTSUP)  # of file systems that cannot flush a folder


def write(path: Path, content: bytes) -> None:
  """Writes a file, all of it or nothing; returns once it is on the disk.

  Raises:
    OSError: it could not be written; what was there before is still there.
  """
  temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
  try:
    _put(temporary, _NEW, content)
    temporary.replace(path)
  except BaseException:
    with contextlib.suppress(OSError):
      temporary.unlink()
    raise
  sync_folder(path.parent)


def append(path: Path, content: bytes) -> None:
  """Adds to the end of a file, which is made if it is missing; returns once it is on the disk.

  Raises:
    OSError: it could not be written, perhaps only in part; or `path` is a link.
  """
  _put(path, _APPEND, content)


def _put(path: Path, how: int, content: bytes) -> None:
  with os.fdopen(os.open(path, how, 0o666), "wb") as file:
    file.write(content)
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
  """Flushes the names in a folder to the disk, where the file system can."""
  try:
    _sync(folder)
  except OSError as error:
    if error.errno not in _NO_FLUSH:
      raise


def sync_tree(folder: Path) -> None:
  """Flushes a folder that others wrote to the disk: all that it holds, and then its name."""
  paths = list(folder.rglob("*"))
  folders = [folder, *(path for path in paths if path.is_dir())]
  files = [path for path in paths if path.is_file()]
  # A file system writes at once what is asked of it at the same time: a tenth of the wait.
  with ThreadPoolExecutor(max_workers=16) as pool:
    for done in [
      *(pool.submit(_sync, file) for file in files),
      *(pool.submit(sync_folder, each) for each in folders),
    ]:
      done.result()
  sync_folder(folder.parent)


def _sync(path: Path) -> None:
  descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)


def remove_leftovers(folder: Path) -> None:
  """Removes the temporary files of processes that were killed while they wrote."""
  for name in os.listdir(folder):
    if _TEMPORARY.fullmatch(name):
      (folder / name).unlink(missing_ok=True)
