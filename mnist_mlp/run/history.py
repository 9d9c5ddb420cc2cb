"""The rows of metrics.jsonl. They belong to the state of a run, and checkpoints hold them too."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mnist_mlp.errors import RunError
from mnist_mlp.run import durable

Row = dict[str, Any]  # 'step', 'epoch', and numbers; None stands for one that is not finite


class History:
  """The evaluations of a run: one row each, in a file of one JSON object a line."""

  def __init__(self, path: Path, writes: bool = True):
    """Names the file, without touching it; `writes` says whether this process ever does."""
    self._path, self._writes = path, writes
    self.rows: list[Row] = []  # what this process knows: see `start` and `add`

  def start(self, rows: Iterable[Row]) -> None:
    """Begins with these rows, and writes the file anew.

    Raises:
      RunError: the file cannot be written.
    """
    self.rows = list(rows)
    text = "".join(_line(row) for row in self.rows)
    try:
      if self._writes:
        durable.write(self._path, text.encode())
    except OSError as error:
      raise self._cannot_write(error) from error

  def add(self, row: Row) -> None:
    """Adds a row, here and to the file.

    Raises:
      RunError: the file cannot be written.
    """
    self.rows.append(finite(row))
    try:
      if self._writes:
        durable.append(self._path, _line(row).encode())
    except OSError as error:
      raise self._cannot_write(error) from error

  def _cannot_write(self, error: OSError) -> RunError:
    return RunError(f"cannot write {self._path}: {error.strerror}")

  def read(self) -> list[Row]:
    """Returns the rows of the file, up to the first line that is damaged, as a crash leaves it."""
    try:
      lines = self._path.read_bytes().splitlines()
    except FileNotFoundError:
      return []
    except OSError as error:
      raise RunError(f"cannot read {self._path}: {error.strerror}") from error
    rows = []
    for line in lines:
      try:
        row = json.loads(line)
      except (ValueError, RecursionError):
        break
      if not isinstance(row, dict) or not isinstance(row.get("step"), int):
        break
      rows.append(finite(row))
    return rows


def _line(row: Row) -> str:
  return json.dumps(finite(row), allow_nan=False) + "\n"


def finite(value: Any) -> Any:
  """Returns a value with None for every number that is not finite, for which JSON has no word."""
  if isinstance(value, dict):
    return {key: finite(item) for key, item in value.items()}
  if isinstance(value, list | tuple):
    return [finite(item) for item in value]
  return None if isinstance(value, float) and not math.isfinite(value) else value
