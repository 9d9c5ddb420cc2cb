"""The parts of Markdown pages that scripts write: what stands between two comments.

<!-- NAME: scripts/SCRIPT.py -->
written
<!-- end of NAME -->
"""


def _comments(name: str, script: str) -> tuple[str, str]:
  return f"<!-- {name}: scripts/{script}.py -->\n", f"\n<!-- end of {name} -->"


def part(page: str, name: str, script: str) -> str:
  """Returns what a page has between the comments of a name; raises a ValueError if it has none."""
  start, end = _comments(name, script)
  _, found, rest = page.partition(start)
  written, closed, _ = rest.partition(end)
  if not (found and closed):
    raise ValueError(f"the page lacks {start.strip()} or {end.strip()}")
  return written


def replace_part(page: str, name: str, script: str, content: str) -> str:
  """Returns the page with `content` there instead."""
  start, end = _comments(name, script)
  old = part(page, name, script)
  return page.replace(f"{start}{old}{end}", f"{start}{content}{end}", 1)
