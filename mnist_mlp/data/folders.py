"""Folders of pictures: train/CLASS/*.png and test/CLASS/*.png, or JPEG files.

The classes are sorted by name, or by number if all their names are numbers.
"""

from collections.abc import Iterator
from pathlib import Path

from etils import epy

from mnist_mlp.data.formats import SPLITS, Files, Format, Row, visible
from mnist_mlp.errors import RunError, UsageError

with epy.lazy_imports():  # Only reading pictures needs Pillow.
  from mnist_mlp.data import pictures


def _find(root: Path) -> Files:
  """Returns the pictures of each split, class by class."""
  files: Files = {}
  for split in SPLITS:
    if not (root / split).is_dir():
      continue
    inside = visible(root / split)
    folders = [path for path in inside if path.is_dir()]
    if not folders:
      continue
    for path in inside:
      if path not in folders:
        raise UsageError(f"config.data.files: {path} is not in the folder of a class; move it")
    for folder in folders:
      pictures = visible(folder)
      if not pictures:
        raise UsageError(f"config.data.files: the folder of a class, {folder}, is empty")
      files.setdefault(split, []).extend(pictures)
  return files


def _class_names(files: Files) -> tuple[str, ...]:
  names = {path.parent.name for path in files["train"]}
  for path in files["test"]:
    if path.parent.name not in names:
      raise RunError(f"{path} is of the class {path.parent.name!r}, which train does not have")
  if all(name.isdecimal() for name in names):
    return tuple(sorted(names, key=lambda name: (int(name), name)))
  return tuple(sorted(names))


def _rows(paths: list[Path], class_names: tuple[str, ...]) -> Iterator[Row]:
  labels = {name: label for label, name in enumerate(class_names)}
  for path in paths:
    with pictures.opened(path, str(path)) as file:
      content = file.read()
    yield Row(str(path), content, labels[path.parent.name])


FORMAT = Format(
  "pictures", "folders of pictures (train/CLASS/*.png)", _find, len, _class_names, _rows
)
