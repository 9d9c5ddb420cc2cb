"""What a sweep is: points, sampled and checked."""

import json
import pickle
import runpy
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict, FrozenConfigDict

from mnist_mlp import config, sweeps
from mnist_mlp.errors import UsageError
from mnist_mlp.run.config_json import from_json

SHIPPED = sorted((Path(__file__).parents[2] / "configs").glob("sweep_*.py"))


def test_grid_zip_and_product():
  grid = sweeps.grid({"seed": range(2), "batch_size": [8, 16]})
  assert grid == [
    {"seed": 0, "batch_size": 8},
    {"seed": 0, "batch_size": 16},
    {"seed": 1, "batch_size": 8},
    {"seed": 1, "batch_size": 16},
  ]
  assert sweeps.zipped({"seed": [1, 2], "batch_size": [8, 16]}) == [
    {"seed": 1, "batch_size": 8},
    {"seed": 2, "batch_size": 16},
  ]
  assert sweeps.product(sweeps.grid({"seed": range(2)}), [{"batch_size": 8}]) == [
    {"seed": 0, "batch_size": 8},
    {"seed": 1, "batch_size": 8},
  ]
  with pytest.raises(ValueError, match="2 for 'seed', 3 for 'batch_size'"):
    sweeps.zipped({"seed": [1, 2], "batch_size": [1, 2, 3]})


AXES = {
  "optimizer.learning_rate": sweeps.log_uniform(1e-4, 1e-1),
  "model.dropout": sweeps.uniform(0.0, 0.5),
  "batch_size": sweeps.integers(3, 5),
  "optimizer.name": sweeps.choices(["adam", "sgd"]),
}


@pytest.mark.parametrize("sample", [sweeps.random, sweeps.sobol])
def test_samples_follow_their_distributions_and_their_seed(sample):
  points = sample(256, AXES, seed=1)
  assert points == sample(256, AXES, seed=1) != sample(256, AXES, seed=2)
  assert len(sample(5, AXES)) == 5
  rates = np.log10([point["optimizer.learning_rate"] for point in points])
  dropouts = np.array([point["model.dropout"] for point in points])
  for values, low, high in ((rates, -4, -1), (dropouts, 0, 0.5)):
    assert low <= values.min() < low + 0.05 * (high - low)
    assert high - 0.05 * (high - low) < values.max() <= high
    assert values.mean() == pytest.approx((low + high) / 2, abs=0.07 * (high - low))
  for name, values in (("batch_size", {3, 4, 5}), ("optimizer.name", {"adam", "sgd"})):
    counts = [sum(point[name] == value for point in points) for value in values]
    assert sum(counts) == 256
    assert min(counts) > 256 / len(values) * 0.7


def test_sobol_fills_every_cell_of_a_grid():
  """16 points of a plane, one in each of 4 x 4 cells: independent draws would leave some empty."""
  points = sweeps.sobol(16, {"a": sweeps.uniform(0, 4), "b": sweeps.uniform(0, 4)})
  assert len({(int(point["a"]), int(point["b"])) for point in points}) == 16


def test_points_are_validated_configs():
  points = sweeps.check(
    [
      {"optimizer.learning_rate": np.float64(0.5), "model.features": [8, 4]},
      {"model.dropout": 0, "seed": np.int64(3)},
    ],
    config.default(),
  )
  assert points[0].config.optimizer.learning_rate == 0.5
  assert points[0].config.model.features == (8, 4)
  assert points[0].name == "000-learning_rate=0.5,features=8x4"
  assert type(points[1].config.model.dropout) is float
  assert points[1].config.seed == 3
  assert points[1].config.is_locked
  assert config.differences(config.default(), points[1].config) == "config.seed: 0 -> 3"
  json.loads(config.to_json(points[0].config))


def test_what_a_config_derives_from_a_field_follows_it():
  c = config.default()
  c.num_steps = 100
  c.schedule.warmup_steps = c.get_ref("num_steps") // 4
  points = sweeps.check(
    [
      {"num_steps": 200},
      {"num_steps": 200, "schedule.warmup_steps": 7},
      {"schedule.warmup_steps": 7, "num_steps": 300},
      {"seed": 1},
    ],
    c,
  )
  found = [(point.config.num_steps, point.config.schedule.warmup_steps) for point in points]
  assert found == [(200, 50), (200, 7), (300, 7), (100, 25)]
  assert (c.num_steps, c.schedule.warmup_steps) == (100, 25), "the base was changed"
  c.num_steps = 400  # Points are values, which can be sent to another process.
  assert points[3].config.schedule.warmup_steps == 25
  pickle.dumps(points)


@pytest.mark.parametrize("freeze", [dict, ConfigDict, FrozenConfigDict])
def test_overrides_may_be_nested_or_frozen_and_hold_numbers_of_any_kind(freeze):
  base = FrozenConfigDict(config.default()) if freeze is FrozenConfigDict else config.default()
  nested = {
    "optimizer": {"learning_rate": np.float64(0.25), "b1": jnp.float32(0.5)},
    "model": {"features": (np.int64(8), 4), "init_biases": np.bool_(True)},
    "seed": np.uint32(7),
    "loss": {"name": np.str_("squared_error"), "l2": np.int8(1)},
  }
  (point,) = sweeps.check([freeze(nested)], base)
  c = point.config
  assert (c.optimizer.learning_rate, c.optimizer.b1, c.loss.l2) == (0.25, 0.5, 1.0)
  assert (c.model.features, c.model.init_biases, c.seed) == ((8, 4), True, 7)
  assert from_json(config.to_json(c)) == c
  types = {type(value) for value in config.flatten(c).values()}
  assert types == {int, float, str, bool, tuple}


@pytest.mark.parametrize(
  ("produced", "message"),
  [
    ([{"optimizer.learning_rate": 10**400}], "config.optimizer.learning_rate is inf"),
    ([{"optimizer.momentum": -(10**400)}], "config.optimizer.momentum is -inf"),
    ([{"seed": 10**400}], "config.seed is 10000"),
    ([{"model.dropout": True}], "config.model.dropout is True, of type bool"),
    ([{"seed": None}], "config.seed is None"),
    (
      [{"seed": 1}, {"optimizer.learning_rat": 0.1}],
      "point 1 .*'optimizer.learning_rat'.*did you mean 'optimizer.learning_rate'",
    ),
    ([{"model.dropout": 1.5}], r"point 0 .*config.model.dropout is 1.5 .*\[0, 1\)"),
    ([{"optimizer.learning_rate": "big"}], "point 0 .*config.optimizer.learning_rate is 'big'"),
    ([{"seed": 1}, 7], "point 1 of the sweep is 7, a int, but must be a dict"),
    ([{"seed": 1}, {"seed": 2}, {"seed": 1}], "points 0 and 2 of the sweep are the same run"),
    ([{"seed": 0}, {}], "points 0 and 1 of the sweep are the same run"),
    ([{3: 1}], "point 0 .*config.3 is not a field"),
  ],
)
def test_wrong_points_are_refused(produced, message):
  with pytest.raises(UsageError, match=message):
    sweeps.check(produced, config.default())


@pytest.mark.parametrize(
  ("text", "chosen"),
  [
    ("", [0, 1, 2, 3, 4]),
    ("1:3", [1, 2]),
    ("3:", [3, 4]),
    (":2", [0, 1]),
    ("0::2", [0, 2, 4]),
    ("4:99", [4]),
  ],
)
def test_points_selects_a_slice(text, chosen):
  assert sweeps.select([0, 1, 2, 3, 4], text) == chosen


@pytest.mark.parametrize("text", ["3", "a:b", "1:2:0", "-1:", "7:9", "2:2"])
def test_points_that_select_nothing_are_refused(text):
  with pytest.raises(UsageError, match=f"--points is '{text}'"):
    sweeps.select([0, 1, 2, 3, 4], text)


@pytest.mark.parametrize("path", SHIPPED, ids=[path.stem for path in SHIPPED])
def test_shipped_sweeps_are_valid(path):
  points = sweeps.load(path, runpy.run_path(str(path))["get_config"]())
  assert len({point.name for point in points}) == len(points)
