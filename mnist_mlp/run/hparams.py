"""A config as the hyperparameters of TensorBoard, and the name of its setting."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from mnist_mlp.config import flatten

# The folder of a sweep's member. A longer name is cut off, perhaps in the middle of the seed.
_MEMBER = re.compile(r"\d{3,}-(.{1,99})")


def hparams_of(config: Mapping[str, Any]) -> dict[str, bool | int | float | str]:
  """Returns a config, nested or flat, as TensorBoard hyperparameters with dotted names.

  Numbers, booleans and strings keep their type. A tuple becomes its length and its elements, so
  that all columns of a sweep over widths and depths are numbers: 'model.features' of (512, 256) is
  'model.features.length' 2, 'model.features.0' 512 and 'model.features.1' 256. None is left out,
  because it would turn a column of numbers into one of strings. Anything else becomes its `str`.
  """
  hparams: dict[str, bool | int | float | str] = {}
  for name, value in flatten(config).items():
    if isinstance(value, tuple):
      hparams[f"{name}.length"] = len(value)
      hparams |= {f"{name}.{i}": element for i, element in enumerate(value)}
    elif value is not None:
      hparams[name] = value if isinstance(value, bool | int | float | str) else str(value)
  return hparams


def setting_id(config: Mapping[str, Any]) -> str:
  """Returns 16 hexadecimal digits, the same for configs that differ only in `seed`."""
  hparams = hparams_of(config)
  hparams.pop("seed", None)
  return hashlib.sha256(json.dumps(hparams, sort_keys=True).encode()).hexdigest()[:16]


def trial_id(config: Mapping[str, Any], folder: str) -> str:
  """Returns what TensorBoard calls the runs of a setting: the same if they differ only in `seed`.

  Args:
    config: the config, nested or flat.
    folder: the name of a run's folder. If it is that of a sweep's member, '003-dropout=0.5,seed=1',
      the trial is called like it, but for its number and seed: 'dropout=0.5 3fa9c1'.
  """
  setting, member = setting_id(config), _MEMBER.fullmatch(folder)
  parts = [part for part in member[1].split(",") if not part.startswith("seed=")] if member else []
  return f"{','.join(parts)} {setting[:6]}" if parts else setting
