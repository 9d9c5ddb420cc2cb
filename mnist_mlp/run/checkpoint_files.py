"""The files of a checkpoint, as Orbax leaves them: whether all are there, and what was measured."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

METRIC = "validation_accuracy"


def is_complete(path: Path) -> bool:
  """Returns whether a checkpoint has its parts, and no JSON at which Orbax's manager would fail."""
  if not ((path / "state").is_dir() and metrics(path)):
    return False
  try:
    return isinstance(json.loads((path / "_CHECKPOINT_METADATA").read_text("utf-8")), dict)
  except (OSError, ValueError):
    return True  # The manager does without.


def metrics(path: Path) -> dict[str, float] | None:
  """Returns what was measured at a checkpoint; None if it is not complete."""
  try:
    found = json.loads((path / "metrics" / "metrics").read_text("utf-8"))
    return found if METRIC in found else None
  except (OSError, ValueError, TypeError):
    return None


def accuracy(found: Mapping[str, float] | None) -> float:
  """Returns the accuracy among what was measured; -inf if there is none."""
  return (found or {}).get(METRIC, -math.inf)
