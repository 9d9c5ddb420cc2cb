"""How to train the winner of a sweep again, on all training data: its config and its command."""

import copy
import itertools
import math
import shlex
from collections.abc import Iterable
from pathlib import Path

from ml_collections import ConfigDict

from mnist_mlp import config as config_lib
from mnist_mlp.run.workdir import Workdir


def on_all_data(config: ConfigDict) -> ConfigDict:
  """Returns the config of a run with its validation split added to the training data."""
  c = copy.deepcopy(config)
  held_out = c.data.validation_examples
  if c.optimizer.name == "lbfgs" and held_out:  # Its batch is all of train. A larger one shrinks.
    share = c.batch_size * held_out / (1 - held_out) + 1 if held_out < 1 else held_out
    c.batch_size += math.ceil(share)
  c.data.validation_examples = 0
  return c


def overrides(file: ConfigDict, wanted: ConfigDict, first: Iterable[str]) -> list[str]:
  """Returns the arguments --config.FIELD=VALUE that make one config of another, exactly.

  Fields that a config file derives from others follow these, so that they seldom need an argument.

  Args:
    file: what the config file gives, its references included.
    wanted: the config to make.
    first: names of fields whose arguments come first, because others may derive from them.
  """
  config, values = copy.deepcopy(file), config_lib.flatten(wanted)
  arguments: dict[str, str] = {}
  order = list(dict.fromkeys([*first, *values]))
  while True:
    now = config_lib.flatten(config)
    wrong = [name for name in order if now[name] != values[name] and name not in arguments]
    if not wrong:
      return list(arguments.values())
    name, value = wrong[0], values[wrong[0]]
    config.update_from_flattened_dict({name: value})
    arguments[name] = f"--config.{name}={value}"


def command(config_path: str, arguments: Iterable[str], workdir: Path) -> str:
  """Returns the command line that trains a config file with some overrides."""
  words = [f"--config={config_path}", *arguments, f"--workdir={workdir}"]
  return shlex.join(["python", "-m", "mnist_mlp.main", *words])


def workdir_for(config: ConfigDict, sweep_folder: Path) -> Path:
  """Returns the folder 'winner', or 'winner-2', ... if the one before holds another config."""
  names = (f"winner-{number}" if number > 1 else "winner" for number in itertools.count(1))
  return next(path for path in (sweep_folder / name for name in names) if _is_free(path, config))


def _is_free(path: Path, config: ConfigDict) -> bool:
  held = Workdir(path).config()
  return held is None or not config_lib.differences(held, config)
