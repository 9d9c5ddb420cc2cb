"""Says what there is to run: python -m mnist_mlp."""

import ast
import sys
from pathlib import Path

_COMMANDS = ("main", "sweep", "predict", "evaluate", "export", "demo")


def usage() -> str:
  """Returns the first line of each command's docstring, which says what it does, and how."""
  paths = [Path(__file__).with_name(f"{name}.py") for name in _COMMANDS]
  texts = [path.read_text("utf-8") for path in paths if path.exists()]  # A fork may delete some.
  abouts = [ast.get_docstring(ast.parse(text)) or "" for text in texts]
  lines = [f"  {about.splitlines()[0]}" for about in abouts]
  return "\n".join(["there are these commands; --help says more about each:", *lines])


if __name__ == "__main__":
  if any(argument.lstrip("-") in ("h", "help") for argument in sys.argv[1:]):
    print(usage())
  else:
    print(f"error: {__package__} is no command; {usage()}", file=sys.stderr)
    sys.exit(2)
