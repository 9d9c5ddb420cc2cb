"""What XLA compiles: damaged entries of the cache are removed, and a long compilation says so.

JAX reads an entry as it is. A torn entry gives a warning at every start, and XLA can abort the
process because of a single wrong byte. So a file beside the entries has a digest of each.
"""

import contextlib
import functools
import importlib
import json
import os
import sys
import tempfile
import threading
import zlib
from pathlib import Path

import jax

_DIGESTS = "digests.json"
_ZSTANDARD = b"\x28\xb5\x2f\xfd"  # the first bytes of what it compresses
_LONG = 10.0  # seconds
_STARTS = "/jax/compilation_cache/compile_requests_use_cache"
_ENDS = "/jax/core/compile/backend_compile_duration"


def remove_damaged(folder: Path) -> None:
  """Removes entries of a cache that are not as they were when they were noted.

  An entry that was not noted yet is noted, unless it cannot be unfolded: then it was torn. Anything
  that goes wrong only costs time, since what is missing is compiled anew.
  """
  with contextlib.suppress(OSError):
    known, whole = _read(folder), {}
    for path in sorted(folder.glob("*-cache")):
      content = path.read_bytes()
      digest = zlib.crc32(content)
      if known[path.name] == digest if path.name in known else _unfolds(content):
        whole[path.name] = digest
      else:
        path.unlink(missing_ok=True)
    if whole != known:
      _write(folder, whole)


def note_new(folder: Path) -> None:
  """Notes the entries that were added since `remove_damaged`; those are not read again."""
  with contextlib.suppress(OSError):
    known = _read(folder)
    new = [path for path in folder.glob("*-cache") if path.name not in known]
    contents = ((path.name, path.read_bytes()) for path in new)
    found = {name: zlib.crc32(content) for name, content in contents if _unfolds(content)}
    if found:
      _write(folder, known | found)


def _read(folder: Path) -> dict[str, int]:
  try:
    known = json.loads((folder / _DIGESTS).read_text("utf-8"))
  except (OSError, ValueError):
    return {}
  return known if isinstance(known, dict) else {}


def _write(folder: Path, digests: dict[str, int]) -> None:
  descriptor, name = tempfile.mkstemp(dir=folder)
  with open(descriptor, "w", encoding="utf-8") as file:
    json.dump(digests, file)
  os.replace(name, folder / _DIGESTS)


def _unfolds(content: bytes) -> bool:
  """Returns whether the content of an entry can be decompressed."""
  try:
    if not content.startswith(_ZSTANDARD):
      zlib.decompress(content)
    elif importlib.util.find_spec("zstandard"):
      importlib.import_module("zstandard").ZstdDecompressor().decompress(content)
  except Exception:  # Each library raises errors of its own.
    return False
  return True


@functools.cache  # Once a process.
def say_when_long() -> None:
  """Makes each compilation that takes longer than ten seconds say so, in a line on stderr."""
  timers: dict[int, threading.Timer] = {}  # by the thread that compiles
  jax.monitoring.register_event_listener(functools.partial(_started, timers))
  jax.monitoring.register_event_duration_secs_listener(functools.partial(_ended, timers))


def _started(timers: dict[int, threading.Timer], event: str, **_: str | int) -> None:
  if event == _STARTS:
    timer = threading.Timer(_LONG, _say)
    timer.daemon = True
    timers[threading.get_ident()] = timer
    timer.start()


def _ended(timers: dict[int, threading.Timer], event: str, duration: float, **_: str | int) -> None:
  del duration
  timer = timers.pop(threading.get_ident(), None) if event == _ENDS else None
  if timer is not None:
    timer.cancel()


def _say() -> None:
  print("compiling a program, which can take minutes for a large net", file=sys.stderr, flush=True)
