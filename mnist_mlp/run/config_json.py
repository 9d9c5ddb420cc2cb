"""Configs read back from JSON, those of earlier versions included.

An earlier version knew fewer fields. A field that is not there means what that version did:
`Field.before` says it, where the field is defined. A field that is there must be known: a run whose
config is half understood would be another run.

The layout of a run's folder has had one version so far, in which config.json names none. A later
one is the value of "layout" in config.json.
"""

import json
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from mnist_mlp import config as config_lib
from mnist_mlp.errors import UsageError, listing

_LAYOUT = 1


def from_json(text: str) -> ConfigDict:
  """Returns the locked, validated config that `config.to_json` wrote, now or in earlier versions.

  Raises:
    UsageError: the text is not JSON, or not a config of a schema that is known.
  """
  try:
    tree = json.loads(text)
  except (ValueError, RecursionError) as error:
    raise UsageError(f"the config is not valid JSON: {error}") from error
  return from_tree(tree)


def from_tree(tree: Any) -> ConfigDict:
  """Does the same for the value of the JSON."""
  if not isinstance(tree, dict):
    raise UsageError("the config is not a JSON object")
  layout = tree.get("layout", _LAYOUT)
  if layout != _LAYOUT:
    raise UsageError(
      f"the config has layout {layout!r}, of a later version of the program; this one knows "
      f"layout {_LAYOUT}"
    )
  flat = config_lib.flatten({key: value for key, value in tree.items() if key != "layout"})
  gone = [f"config.{name}" for name in flat if name not in config_lib.FIELDS]
  if gone:
    raise UsageError(
      f"this version of the program has no field {listing(gone)}, which another version wrote"
    )
  values = {name: _tuple(value) for name, value in {**_before(), **flat}.items()}
  missing = [f"config.{name}" for name in config_lib.FIELDS if name not in values]
  if missing:
    raise UsageError(f"the config lacks the field {missing[0]}, which every version wrote")
  return config_lib.validate(config_lib.unflatten(values).lock())


def _before() -> Mapping[str, Any]:
  """Returns what the fields that came later mean where they are not there."""
  fields = config_lib.FIELDS.items()
  return {name: field.before for name, field in fields if field.before is not None}


def _tuple(value: Any) -> Any:
  return tuple(value) if isinstance(value, list) else value
