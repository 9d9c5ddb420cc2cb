"""What a sweep is: points, which are dicts of overrides; how to sample and check them.

A sweep file has `get_config()`, like any recipe, and `sweep()`, which yields a dict of overrides
for each run: {"optimizer.learning_rate": 0.01, "model.dropout": 0.2}. A dict may be nested like a
config, or be a ConfigDict. The helpers here return lists of such dicts. `+` joins lists, and
`product` combines each point of one with each of another.
"""

import copy
import dataclasses
import itertools
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from etils import epy
from ml_collections import ConfigDict, FrozenConfigDict

from mnist_mlp import config as config_lib
from mnist_mlp.errors import UsageError
from mnist_mlp.run.config_files import broken_file, load_module

with epy.lazy_imports():  # Takes as long to import as all the rest, and only `sobol` needs it.
  from scipy.stats import qmc

Overrides = dict[str, Any]


def grid(axes: Mapping[str, Iterable[Any]]) -> list[Overrides]:
  """Returns every combination of the fields' values; the last field varies fastest."""
  return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def zipped(axes: Mapping[str, Iterable[Any]]) -> list[Overrides]:
  """Returns the first values of all fields, the second values, ...; all of the same number."""
  columns = {name: list(values) for name, values in axes.items()}
  if len({len(column) for column in columns.values()}) > 1:
    raise ValueError(
      "zipped() needs as many values for one field as for the others, but got "
      + ", ".join(f"{len(column)} for {name!r}" for name, column in columns.items())
    )
  return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def product(*sweeps: Iterable[Overrides]) -> list[Overrides]:
  """Returns each point of one sweep combined with each point of the others."""
  return [
    {name: value for part in parts for name, value in part.items()}
    for parts in itertools.product(*sweeps)
  ]


@dataclasses.dataclass(frozen=True)
class Distribution:
  """What a field is drawn from."""

  quantile: Callable[[float], Any]  # the inverse of the cumulative distribution, from [0, 1)


def uniform(low: float, high: float) -> Distribution:
  """Returns the uniform distribution over [low, high)."""
  return Distribution(lambda u: _rounded(low + u * (high - low)))


def log_uniform(low: float, high: float) -> Distribution:
  """Returns the distribution over [low, high), both above 0, whose logarithm is uniform."""
  if not 0 < low <= high:
    raise ValueError(f"log_uniform({low}, {high}) needs 0 < low <= high")
  return Distribution(lambda u: _rounded(low * math.exp(u * math.log(high / low))))


def integers(low: int, high: int) -> Distribution:
  """Returns the uniform distribution over low, low + 1, ..., high."""
  return Distribution(lambda u: low + int(u * (high - low + 1)))


def choices(values: Sequence[Any]) -> Distribution:
  """Returns the uniform distribution over some values."""
  return Distribution(lambda u: values[int(u * len(values))])


def _rounded(value: float) -> float:
  """Returns six digits, which are as good as sixteen and easier to read in tables and commands."""
  return float(f"{value:.6g}")


def random(num_points: int, axes: Mapping[str, Distribution], seed: int = 0) -> list[Overrides]:
  """Returns independent draws, the same for the same seed.

  Bergstra & Bengio, "Random search for hyper-parameter optimization", 2012.
  """
  return _sample(axes, np.random.default_rng(seed).random((num_points, len(axes))))


def sobol(num_points: int, axes: Mapping[str, Distribution], seed: int = 0) -> list[Overrides]:
  """Returns a scrambled Sobol sequence, which fills the space more evenly than independent draws.

  It is best with a power of 2 of points. Owen, "Scrambling Sobol' and Niederreiter-Xing points",
  1998.
  """
  sampler = qmc.Sobol(len(axes), seed=seed)
  return _sample(axes, sampler.random_base2(max(0, math.ceil(math.log2(num_points))))[:num_points])


def _sample(axes: Mapping[str, Distribution], unit: np.ndarray) -> list[Overrides]:
  return [
    {name: axis.quantile(float(u)) for (name, axis), u in zip(axes.items(), row, strict=True)}
    for row in unit
  ]


@dataclasses.dataclass(frozen=True)
class Point:
  """The overrides of one run, and the config that they make."""

  index: int
  overrides: Overrides
  config: ConfigDict  # validated

  @property
  def name(self) -> str:
    """The name of its folder: '003-learning_rate=0.01,seed=1'."""
    values = ",".join(f"{_leaf(name)}={_short(value)}" for name, value in self.overrides.items())
    return f"{self.index:03d}-" + re.sub(r"[^\w.=,+-]", "_", values)[:100]


def _leaf(name: str) -> str:
  """Returns 'learning_rate' for 'optimizer.learning_rate', but 'optimizer.name' in full."""
  leaf = name.rpartition(".")[2]
  return name if leaf == "name" else leaf


def _short(value: Any) -> str:
  if isinstance(value, tuple):
    return "x".join(map(str, value))
  return f"{value:.6g}" if isinstance(value, float) else str(value)


def load(path: str | Path, base: ConfigDict) -> list[Point]:
  """Returns the checked points of a sweep file.

  Args:
    path: the file.
    base: what its get_config() returned, with the overrides of the command line.

  Raises:
    UsageError: the file is broken, has no sweep(), or a point is wrong; the message names it.
  """
  sweep = load_module(path).get("sweep")
  if sweep is None:
    raise UsageError(
      f"the config file {path} has no function sweep(), which yields a dict of overrides for each "
      "run; python -m mnist_mlp.main trains a single config"
    )
  with broken_file(path):
    produced = sweep()
    if isinstance(produced, Mapping | str) or not isinstance(produced, Iterable):
      raise TypeError(f"sweep() must yield dicts, but returned a {type(produced).__name__}")
    produced = list(produced)
  if not produced:
    raise UsageError(f"the sweep of {path} yields no point at all")
  return check(produced, base)


def check(produced: Iterable[Any], base: ConfigDict) -> list[Point]:
  """Returns the points that dicts of overrides make of a base config, every one validated.

  Raises:
    UsageError: names the first point that is wrong, and what is wrong with it.
  """
  config_lib.validate(base)
  if isinstance(base, FrozenConfigDict):
    base = base.as_configdict()
  points: list[Point] = []
  seen: dict[str, int] = {}
  for index, overrides in enumerate(produced):
    if not isinstance(overrides, Mapping | ConfigDict):
      raise UsageError(
        f"point {index} of the sweep is {overrides!r}, a {type(overrides).__name__}, but must be "
        "a dict of overrides like {'optimizer.learning_rate': 0.01}"
      )
    flat = config_lib.flatten(overrides)
    try:
      point = _point(index, flat, base)
    except UsageError as error:
      raise UsageError(f"point {index} of the sweep, {flat!r}: {error}") from error
    same = seen.setdefault(config_lib.to_json(point.config), index)
    if same != index:
      raise UsageError(f"points {same} and {index} of the sweep are the same run, {flat!r}")
    points.append(point)
  return points


def _point(index: int, overrides: Mapping[str, Any], base: ConfigDict) -> Point:
  known = config_lib.flatten(base)
  own = {}
  for name, value in overrides.items():
    config_lib.check_known(name, known)
    own[name] = _plain(value, known[name])
    config_lib.check_type(name, own[name], config_lib.FIELDS[name])
  return Point(index, own, config_lib.validate(overridden(base, own)))


def overridden(base: ConfigDict, values: Mapping[str, Any]) -> ConfigDict:
  """Returns a copy of a config in which some fields have other values, set in their order.

  What `base` derives from them follows, as it follows a --config.FIELD=VALUE: where a config file
  says `c.schedule.warmup_steps = c.get_ref("num_steps") // 4`, a value for num_steps sets both. In
  the copy, such references are values.
  """
  config = copy.deepcopy(base)
  for name, value in values.items():
    config.update_from_flattened_dict({name: value})
  return config.copy_and_resolve_references()


def _plain(value: Any, reference: Any) -> Any:
  """Returns a value as configs hold it: the numbers of NumPy and JAX as Python's, lists as tuples.

  A number beyond any float becomes infinite.
  """
  if hasattr(value, "tolist"):
    value = value.tolist()
  if isinstance(value, list | tuple):
    return tuple(_plain(item, None) for item in value)
  if type(value) is int and isinstance(reference, float):
    try:
      return float(value)
    except OverflowError:
      return math.inf if value > 0 else -math.inf
  return value


def swept(points: Iterable[Point]) -> list[str]:
  """Returns the fields that any point overrides, in the order in which they appear."""
  return list(dict.fromkeys(name for point in points for name in point.overrides))


def select(points: Sequence[Point], text: str) -> list[Point]:
  """Returns the points of a slice 'i:j' or 'i:j:step' of their indices; '' is all of them.

  Raises:
    UsageError: the text is no slice, or holds no point.
  """
  if not text:
    return list(points)
  match = re.fullmatch(r"(\d*):(\d*)(?::([1-9]\d*))?", text)
  if not match:
    raise UsageError(f"--points is {text!r}, but must be a slice like 0:8 or 8:")
  chosen = points[slice(*(int(part) if part else None for part in match.groups()))]
  if not chosen:
    raise UsageError(f"--points is {text!r}, which holds none of the {len(points)} points")
  return list(chosen)
