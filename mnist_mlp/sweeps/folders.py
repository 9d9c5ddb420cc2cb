"""Which folder each point of a sweep has, and whose folder it is.

A sweep knows its runs by their configs: a run belongs to the point whose config its folder holds,
whatever its name. So a sweep file may grow, shrink, or list its points in another order.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from mnist_mlp import config as config_lib
from mnist_mlp.errors import UsageError, UserError, listing
from mnist_mlp.run.workdir import Workdir
from mnist_mlp.sweeps.points import Point

_SHOWN = 5  # names in a message


class Folders(NamedTuple):
  """What the folder of a sweep holds, as seen by the sweep."""

  names: list[str]  # for each point, the name of its folder in members/, which may not exist yet
  left: list[str]  # names of the folders of runs that are no points of the sweep
  held: Mapping[str, ConfigDict | None]  # configs by the names of folders; None cannot be read

  def check(self, folder: Path, points: Sequence[Point]) -> None:
    """Raises a UsageError if the folder is that of a run, of several, or of another sweep."""
    if (folder / "config.json").exists():
      raise UsageError(
        f"the workdir {folder} holds a run, not a sweep; give the sweep another --workdir"
      )
    inside = next(folder.glob("*/config.json"), None)
    if inside and not (folder / "members").exists():
      raise UsageError(
        f"the workdir {folder} holds runs, among them {inside.parent.name}; give the sweep a "
        "--workdir of its own"
      )
    if not self.held or len(self.left) < len(self.held):
      return
    name, config = next(iter(self.held.items()))
    point = next((point for point in points if point.name == name), points[0])
    changes = config and config_lib.differences(config, point.config)
    raise UsageError(
      f"the workdir {folder} holds another sweep: none of its {len(self.held)} runs is a point of "
      f"this one; {name} is a run of another config ({changes}); use another --workdir, or the "
      "same sweep file"
    )

  def about_left(self, folder: Path) -> str:
    """Returns a line about the runs that are no points of the sweep; '' if there are none."""
    if not self.left:
      return ""
    more = f" and {len(self.left) - _SHOWN} more" if len(self.left) > _SHOWN else ""
    return (
      f"{len(self.left)} of the runs in {folder / 'members'} are no points of this sweep any more; "
      f"they are kept, but are not in its table: {listing(self.left[:_SHOWN])}{more}"
    )


def look(folder: Path, points: Sequence[Point]) -> Folders:
  """Finds the folders of a sweep's points. Reads only.

  A point without a folder gets its own name, or, if another run has that, a longer one.
  """
  held = _held(folder)
  by_content = {_content(config): name for name, config in held.items() if config is not None}
  exact = {point.index: by_content.get(_content(point.config)) for point in points}
  left = {name: config for name, config in held.items() if name not in exact.values()}
  names = []
  for point in points:
    name = exact[point.index] or _same_run(point, left) or _new_name(point, held)
    left.pop(name, None)
    names.append(name)
  return Folders(names, sorted(left), held)


def _held(folder: Path) -> dict[str, ConfigDict | None]:
  """Returns the configs of all runs, the finished ones last: of two equal ones, they count."""
  found = {}
  for path in sorted((folder / "members").glob("*/config.json"), key=_finished):
    try:
      found[path.parent.name] = Workdir(path.parent).config()
    except UserError:  # Whoever wants to train it will say so.
      found[path.parent.name] = None
  return found


def _finished(path: Path) -> tuple[bool, str]:
  return path.with_name("result.json").exists(), path.parent.name


def _content(config: ConfigDict) -> frozenset[tuple[str, Any]]:
  return frozenset(config_lib.flatten(config).items())


def _same_run(point: Point, left: Mapping[str, ConfigDict | None]) -> str | None:
  """Returns the folder whose config differs in nothing that counts, if there is one."""
  for name, config in left.items():
    if config is not None and not config_lib.differences(config, point.config):
      return name
  return None


def _new_name(point: Point, held: Mapping[str, ConfigDict | None]) -> str:
  if held.get(point.name) is None:
    return point.name
  digest = hashlib.sha256(config_lib.to_json(point.config).encode()).hexdigest()[:6]
  return f"{point.name}-{digest}"
