"""The recipes that the project ships: those that docs/configs.md lists. A user may have more."""

import re

import processes


def recipes():
  """Returns the names of the shipped recipes."""
  page = (processes.ROOT / "docs" / "configs.md").read_text("utf-8")
  found = set(re.findall(r"\]\(\.\./configs/(\w+)\.py\)", page))
  assert "adam" in found
  return found
