"""The numbers of a config that a compiled program takes as arguments instead of constants.

A lone run would not need them. They are for sweeps: runs that differ only in these numbers share
one compiled program, and `jax.vmap` trains them side by side (see `sweeps/`).
"""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from mnist_mlp.config import AUGMENTATIONS


class Hyperparameters(NamedTuple):
  """The numbers of `config.optimizer`; `optax.inject_hyperparams` puts them into its state."""

  learning_rate: Any
  weight_decay: Any
  momentum: Any
  b1: Any
  b2: Any
  eps: Any
  rms_decay: Any
  clip_norm: Any


HYPERPARAMETERS = Hyperparameters._fields

# The rates of config.model at which a net drops units. It gets them when it is called.
RATES = ("dropout", "input_dropout")

# The other numbers. They lie in `TrainState.scalars`.
SCALARS = {
  "label_smoothing": "loss.label_smoothing",
  "l2": "loss.l2",
  **{name: f"model.{name}" for name in RATES},
  **{name: f"augment.{name}" for name in AUGMENTATIONS},
}


class Traced(NamedTuple):
  """The values of one config; stacked, those of several."""

  seed: Any  # uint32 []
  hyperparameters: dict[str, Any]  # float32 [] each, by the names of HYPERPARAMETERS
  scalars: dict[str, Any]  # float32 [] each, by the names of SCALARS


def traced(config: ConfigDict) -> Traced:
  """Returns the traced values of a config, as NumPy scalars."""
  return Traced(
    np.uint32(config.seed),
    {name: np.float32(config.optimizer[name]) for name in HYPERPARAMETERS},
    {name: np.float32(_field(config, path)) for name, path in SCALARS.items()},
  )


def _field(config: Mapping[str, Any], path: str) -> Any:
  return functools.reduce(lambda section, name: section[name], path.split("."), config)
