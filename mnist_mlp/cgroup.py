"""What the system, and the control groups of a container or a batch system, leave to this process.

Linux only.

A group may be within others, and each may have a limit. Version 1 has a tree of folders for each
kind of resource, version 2 has one for all: https://docs.kernel.org/admin-guide/cgroup-v2.html.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/")


def available(root: Path = _ROOT) -> int | None:
  """Returns how many bytes this process can have, of the system's and of its groups'.

  None if neither says so.
  """
  bounds = [_of_system(root), memory_left(root)]
  return min((bound for bound in bounds if bound is not None), default=None)


def _of_system(root: Path) -> int | None:
  with contextlib.suppress(OSError, StopIteration):
    lines = (root / "proc/meminfo").read_text(encoding="utf-8").splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1])
  return None


def memory_left(root: Path = _ROOT) -> int | None:
  """Returns how many bytes the groups leave to this process; None if none of them has a limit.

  Args:
    root: holds proc/ and sys/.
  """
  left = []
  for folder in _groups("memory", root):
    for limit, usage, cache in (
      ("memory.max", "memory.current", "inactive_file"),
      ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
      most, used = _numbers(folder / limit), _numbers(folder / usage)
      if most and used:  # The system drops cached files when memory is needed.
        left.append(most[0] - used[0] + _entry(folder / "memory.stat", cache))
  return max(0, min(left)) if left else None


def cpu_quota(root: Path = _ROOT) -> float | None:
  """Returns how many cores' time the groups leave to this process; None if there is no limit."""
  shares = []
  for folder in _groups("cpu", root):
    numbers = _numbers(folder / "cpu.max") or [
      *_numbers(folder / "cpu.cfs_quota_us"),
      *_numbers(folder / "cpu.cfs_period_us"),
    ]
    if len(numbers) == 2 and numbers[0] > 0:  # 'max' is no number, and -1 is no limit.
      shares.append(numbers[0] / numbers[1])
  return min(shares) if shares else None


def _groups(kind: str, root: Path) -> Iterator[Path]:
  """Yields the folders of this process's groups for a kind of resource, and of all around them."""
  try:
    lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
  except (OSError, ValueError):
    return
  for line in lines:
    _, kinds, path = line.split(":", 2)
    if kinds and kind not in kinds.split(","):
      continue
    for name in (kind, kinds) if kinds else ("", "unified"):
      mount = root / "sys/fs/cgroup" / name
      group = mount / path.lstrip("/")
      yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(mount))


def _numbers(path: Path) -> list[int]:
  """Returns the numbers that a file holds; none if it is not there, or holds a word."""
  try:
    return [int(word) for word in path.read_text(encoding="utf-8").split()]
  except (OSError, ValueError):
    return []


def _entry(path: Path, name: str) -> int:
  """Returns the number behind a name in a file of such lines, 0 if it is not there."""
  with contextlib.suppress(OSError, ValueError):
    for line in path.read_text(encoding="utf-8").splitlines():
      word, _, number = line.partition(" ")
      if word == name:
        return int(number)
  return 0
