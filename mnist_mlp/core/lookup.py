"""What a name in a config stands for: an entry of a dictionary, or code of one's own.

'my_module:MyNet' is the attribute MyNet of the module my_module. The module is found like any
other, and in the current folder.
"""

import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from mnist_mlp.choices import is_reference
from mnist_mlp.errors import UsageError, brief, did_you_mean, listing


def lookup(table: Mapping[str, Any], field: str, name: str) -> Any:
  """Returns what a field's value stands for.

  Args:
    table: what the package has, by name.
    field: 'model.name', say; for messages.
    name: a key of the table, or 'module:attribute'.

  Raises:
    KeyError: the name is neither; `config.validate` finds that first.
    UsageError: there is no such module or attribute, or the module cannot be imported.
  """
  if not is_reference(name):
    return table[name]
  module_name, _, attribute = name.partition(":")
  module = _import(module_name, f"config.{field} is {name!r}, but")
  if not hasattr(module, attribute):
    hint = did_you_mean(attribute, vars(module))
    raise UsageError(f"config.{field} is {name!r}, but {module_name} has no {attribute!r}{hint}")
  return getattr(module, attribute)


def _import(name: str, prefix: str) -> Any:
  folder = os.getcwd()
  if not {"", folder} & set(sys.path):
    sys.path.append(folder)
  importlib.invalidate_caches()  # The file may be new.
  try:
    return importlib.import_module(name)
  except ModuleNotFoundError as error:
    if error.name and f"{name}.".startswith(f"{error.name}."):
      raise UsageError(
        f"{prefix} there is no module {error.name!r}, neither installed nor in the current folder, "
        f"{folder}"
      ) from error
    raise UsageError(_broken(name, prefix, error)) from error
  except (Exception, SystemExit) as error:  # Whatever the code in it raises.
    raise UsageError(_broken(name, prefix, error)) from error


def _broken(name: str, prefix: str, error: BaseException) -> str:
  last = traceback.extract_tb(error.__traceback__)[-1]
  where = "" if isinstance(error, SyntaxError) else f"{last.filename}, line {last.lineno}: "
  return f"{prefix} importing {name} fails: {where}{brief(error)}"


def call(function: Callable, field: str, name: str, offered: Mapping[str, Any]) -> Any:
  """Calls a function or class with those of the offered arguments that it has parameters for.

  Args:
    function: what `lookup` gave.
    field: for messages, as for `lookup`.
    name: likewise.
    offered: what it can have, by name.

  Raises:
    UsageError: it cannot be called, or needs an argument that is not offered.
  """
  if not callable(function):
    kind = type(function).__name__
    raise UsageError(f"config.{field} is {name!r}, which is a {kind}, no class or function")
  parameters = inspect.signature(function).parameters
  missing = [
    each.name
    for each in parameters.values()
    if each.default is each.empty
    and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    and each.name not in offered
  ]
  if missing:
    raise UsageError(
      f"config.{field} is {name!r}, which needs {listing(missing)}; give that a default, since "
      f"all that it can have is {listing(sorted(offered))}"
    )
  return function(**{key: offered[key] for key in parameters if key in offered})
