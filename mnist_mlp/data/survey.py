"""What the user's own pictures are like: their sizes, their colours, and which are for the test."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from mnist_mlp.data.formats import Label, Row, picture_of
from mnist_mlp.errors import listing

_TEST_SHARE = 0.2  # of the pictures, where the files have no test split
_SHOWN = 3  # names in a line
_LONGEST = 128  # pixels, a side of pictures that have to be resized anyway

Digest = bytes


def look(row: Row) -> tuple[tuple[int, int], bool]:
  """Returns the (height, width) of a row's picture, and whether it is grayscale."""
  if isinstance(row.picture, np.ndarray):
    height, width, _ = row.picture.shape
    return (height, width), True
  picture = picture_of(row)
  return (picture.height, picture.width), picture.mode == "L"


class Survey(NamedTuple):
  """What some pictures are like."""

  sizes: Counter[tuple[int, int]]  # how many have each (height, width), in pixels
  gray: int  # how many are grayscale, whatever mode their files have

  @classmethod
  def of(cls, found: Iterable[tuple[tuple[int, int], bool]]) -> "Survey":
    """Makes a survey of each picture's (height, width), and whether it is grayscale."""
    counts = Counter(found)
    sizes: Counter[tuple[int, int]] = Counter()
    for (size, _), count in counts.items():
      sizes[size] += count
    return cls(sizes, sum(count for (_, gray), count in counts.items() if gray))

  def size(self) -> tuple[int, int]:
    """Returns the (height, width) that fits the pictures best.

    That is the one that all have, or more than half, else the medians of the sides. Unless all have
    it, it is reduced to at most 128 pixels a side.
    """
    ((height, width), count), total = self.sizes.most_common(1)[0], self.sizes.total()
    if count == total:
      return height, width
    if 2 * count <= total:
      sides = np.repeat(list(self.sizes), list(self.sizes.values()), axis=0)
      height, width = np.median(sides, axis=0)
    factor = min(1, _LONGEST / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))

  def channels(self) -> int:
    """Returns 1 if at least half of the pictures are grayscale, else 3."""
    return 1 if 2 * self.gray >= self.sizes.total() else 3


def digest(row: Row) -> Digest:
  """Returns the SHA-256 of a picture as its file holds it."""
  content = row.picture
  return hashlib.sha256(content if isinstance(content, bytes) else content.tobytes()).digest()


def for_test(rows: Iterable[Row]) -> set[Digest]:
  """Returns the digests of the pictures that are for the test, about a fifth of all.

  The content of a picture decides: not its name, its class, or the other pictures. Hence equal ones
  go together, and each stays where it is when others come. The exceptions are tiny sets: a class
  keeps one picture for training, and the test gets one if any class has two.
  """
  by_class: dict[Label, set[Digest]] = {}
  for row in rows:
    by_class.setdefault(row.label, set()).add(digest(row))
  every = set().union(*by_class.values())
  chosen = {one for one in every if _place(one) < _TEST_SHARE}
  for some in by_class.values():
    if some <= chosen:
      chosen.remove(max(some))
  others = every - {max(some) for some in by_class.values()}
  return chosen or set(sorted(others)[:1])


def _place(one: Digest) -> float:
  """Returns where a digest lies between the smallest one, 0, and the largest one, 1."""
  return int.from_bytes(one[:8], "big") / 2**64


def about_copies(rows: Iterable[tuple[str, Row]]) -> Iterator[str]:
  """Yields a line if pictures of train are in another split too, and one if some have two labels.

  Args:
    rows: each picture and the split that it belongs to, all of train first.
  """
  first: dict[Digest, tuple[str, Label]] = {}
  leaked, contrary = [], []
  for split, row in rows:
    before, label = first.setdefault(digest(row)[:8], (split, row.label))  # They may be many.
    if before == "train" != split:
      leaked.append(row.where)
    if label != row.label:
      contrary.append(row.where)
  if leaked:
    yield (
      "copies of training pictures are in other splits, where a net knows them by heart: "
      f"{_counted(leaked)}"
    )
  if contrary:
    yield f"these pictures have copies of another class: {_counted(contrary)}"


def _counted(names: list[str]) -> str:
  """Returns the first names, and how many more there are."""
  more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
  return f"{listing(names[:_SHOWN])}{more}"
