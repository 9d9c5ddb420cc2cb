"""Folders of pictures: CLASS/*.png, or train/CLASS/*.png and test/CLASS/*.png.

The folders of splits may be called otherwise, such as Training, test_set or val. Every format of
`pictures.FORMATS` is read, and files of other suffixes are passed over.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from etils import epy

from mnist_mlp.data.formats import Files, Format, Label, Labels, Row, splits_named, visible
from mnist_mlp.errors import RunError, UsageError

with epy.lazy_imports():  # Only reading pictures needs Pillow.
  from mnist_mlp.data import pictures

_SPLIT_NAME = re.compile(r"[a-z]+([ _-]?(set|data|images|pictures))?")


def _find(root: Path) -> Files:
  """Returns the pictures of each split, class by class."""
  splits: dict[str, Path] = {}
  for path in visible(root):
    split = _split_of(path)
    if split in splits:
      raise UsageError(
        f"config.data.files: {splits[split]} and {path} are both of the split {split!r}; move one "
        "of them away"
      )
    if split:
      splits[split] = path
  if splits:
    return {split: _in_classes(folder) for split, folder in splits.items()}
  return {"train": found} if (found := _in_classes(root)) else {}


def _split_of(path: Path) -> str:
  """Returns the split that a folder of classes is called after; '' of any other file or folder.

  A folder of pictures is that of a class, even if it is called 'train'.
  """
  named = splits_named(path.name)
  whole = _SPLIT_NAME.fullmatch(path.name.lower())
  if not (whole and len(named) == 1 and path.is_dir()):
    return ""
  inside = visible(path)
  return named.pop() if any(map(_holds_pictures, inside)) else ""


def _holds_pictures(path: Path) -> bool:
  return path.is_dir() and any(map(_is_picture, visible(path)))


def _in_classes(folder: Path) -> list[Path]:
  """Returns the pictures in the sub folders of a folder; [] if no sub folder has any."""
  found, inside = {}, visible(folder)
  for path in inside:
    if path.is_dir():
      found[path] = [picture for picture in visible(path) if _is_picture(picture)]
  if not any(found.values()):
    return []
  for path in inside:
    if path not in found and _is_picture(path):
      raise UsageError(f"config.data.files: {path} is not in the folder of a class; move it")
    if path in found and not found[path]:
      raise UsageError(
        f"config.data.files: the folder of a class, {path}, holds no pictures; add some or move it "
        "away"
      )
  return [picture for some in found.values() for picture in some]


def _is_picture(path: Path) -> bool:
  return path.name.lower().endswith(pictures.ALL_SUFFIXES)


def way_out(root: Path) -> str:
  """Returns what to do with a folder in which no format was found."""
  if any(map(_is_picture, visible(root))):
    return "make a folder for each class in it, and move the pictures there"
  return "give the folder in which they lie"


def _passed_over(root: Path, files: Files) -> list[str]:
  """Returns what lies beside the pictures: other files, and folders that are no split."""
  classes = sorted({path.parent for paths in files.values() for path in paths})
  others = [path for folder in classes for path in visible(folder) if not _is_picture(path)]
  used = {root, *classes, *(folder.parent for folder in classes)}
  others += [path for path in visible(root) if path.is_dir() and path not in used]
  return [str(path.relative_to(root)) for path in others]


def _total(paths: list[Path], columns: str) -> int:
  del columns
  return len(paths)


def _labels(paths: list[Path], columns: str) -> list[Labels]:
  del columns
  counts = Counter(path.parent for path in paths)
  return [
    Labels(f"{folder}: picture", np.full(count, folder.name)) for folder, count in counts.items()
  ]


def _class_names(paths: list[Path], columns: str) -> dict[Label, str]:
  del paths, columns  # The names of folders are the labels.
  return {}


def _rows(paths: list[Path], columns: str) -> Iterator[Row]:
  del columns
  for path in paths:
    lacks = pictures.lacks(path)
    if lacks:
      raise RunError(f"{path} cannot be read: {lacks}")
    with pictures.opened(path, str(path)) as file:
      content = file.read()
    yield Row(str(path), content, path.parent.name)


FORMAT = Format(
  "pictures",
  "folders of pictures (CLASS/*.png or train/CLASS/*.png)",
  _find,
  _total,
  _labels,
  _class_names,
  _rows,
  _passed_over,
)
