"""A plain name for a folder of any name, for libraries that see patterns in paths.

Orbax looks for files with `glob` inside of a path that may itself hold `*` or `[`. TensorStore
takes a backslash for a slash, and bytes that are no text for an error. Both take `/s3/x` and the
like for addresses.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from mnist_mlp.errors import UsageError

_PLAIN = re.compile(r"/[\w .,:;=+@%~#$&()'/-]*")
_ADDRESSES = ("gs", "s3", "az", "hf")


@contextlib.contextmanager
def plain_name(folder: Path) -> Iterator[Path]:
  """Yields an absolute path of a folder in which no library sees anything but a path.

  It is the folder's own path, or a name that leads there as long as the context lasts.

  Raises:
    OSError: the folder cannot be opened.
    UsageError: the system has no such name.
  """
  # TensorStore encodes names as UTF-8, whatever the locale says.
  as_utf8 = str(folder).encode(errors="replace") == os.fsencode(folder)
  if as_utf8 and _PLAIN.fullmatch(str(folder)) and folder.parts[1:2][0] not in _ADDRESSES:
    yield folder
    return
  descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
  try:
    name = Path(f"/proc/self/fd/{descriptor}")
    if not name.is_dir():
      raise UsageError(
        f"checkpoints cannot be kept in {str(folder)!r}, because of the special characters in "
        "that path; give a --workdir of letters and digits"
      )
    yield name
  finally:
    os.close(descriptor)
