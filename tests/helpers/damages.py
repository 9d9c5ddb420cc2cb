"""Ways to damage a file."""

import shutil

import pytest

DAMAGES = {
  "gone": lambda path: path.unlink(),
  "empty": lambda path: path.write_bytes(b""),
  "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
  "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
  "a flipped bit": lambda path: path.write_bytes(flipped(path.read_bytes())),
  **{text: lambda path, text=text: path.write_text(text) for text in ("{}", "[]", "3", '"x"')},
}


# How many files of a folder are damaged: 2, or all.
EXTENTS = [
  pytest.param(2, marks=pytest.mark.slow, id="some files"),
  pytest.param(None, marks=pytest.mark.hundredfold, id="all files"),
]


def flipped(content):
  middle = len(content) // 2
  return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def copies_with_damage(folder, damage, target, chance, few=None):
  """Yields (copy of a folder, damaged file in it), one file after the other.

  Damaged are checkpoints and TensorBoard's files.

  Args:
    folder: is copied anew for each file.
    damage: one of DAMAGES.
    target: folder for the copies.
    chance: draws the files, if not all are damaged.
    few: how many files; None is all that are not empty.
  """
  paths = (*folder.glob("events.*"), *folder.glob("checkpoints/**/*"))
  files = sorted(p.relative_to(folder) for p in paths if p.is_file() and p.stat().st_size)
  for number, file in enumerate(files if few is None else chance.sample(files, few)):
    copy = shutil.copytree(folder, target / str(number))
    DAMAGES[damage](copy / file)
    yield copy, copy / file
    shutil.rmtree(copy)
