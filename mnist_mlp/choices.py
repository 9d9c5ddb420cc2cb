"""Which names a field of the config may have, from the dictionary that implements them.

The dictionary is read from the source. To import its module would import JAX, which takes seconds,
for which --help and errors need not wait.
"""

import ast
import functools
import re
from pathlib import Path


@functools.cache
def keys_of(module: str, table: str) -> list[str]:
  """Returns the keys of a dictionary of strings that a module defines, in their order.

  Args:
    module: its path within the package, 'core/optimizer.py'.
    table: the name of the dictionary.

  Raises:
    LookupError: the module defines no such dictionary.
  """
  tree = ast.parse((Path(__file__).parent / module).read_text("utf-8"))
  for node in tree.body:
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    if any(isinstance(each, ast.Name) and each.id == table for each in targets):
      assert isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Dict)
      return [ast.literal_eval(key) for key in node.value.keys if key]
  raise LookupError(f"{module} defines no {table}")


def is_reference(name: str) -> bool:
  """Returns whether a name is 'module:attribute', which means code of one's own."""
  return re.fullmatch(r"\w+(\.\w+)*:\w+", name) is not None
