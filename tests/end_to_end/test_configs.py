"""Every recipe trains: steps of its own net, loss, optimizer and schedule on a little data."""

import json
import runpy
from pathlib import Path

import jax
import numpy as np
import processes
import pytest
import shipped
import small
from ml_collections import FrozenConfigDict

from mnist_mlp import config
from mnist_mlp.core import steps
from mnist_mlp.core.metrics import NEVER
from mnist_mlp.core.spec import Examples
from mnist_mlp.core.state import initializer
from mnist_mlp.core.traced import traced
from mnist_mlp.run.run import spec_of

RECIPES = sorted((Path(__file__).parents[2] / "configs").glob("*.py"))


def two_steps(c, dataset):
  """Returns the metrics of two steps and of an evaluation after them, and how far weights moved.

  One program, since that compiles fastest. Two steps, since the first one's learning
  rate may be that of a warm-up's start, 0.
  """
  static = FrozenConfigDict(c)
  init = initializer(c, spec_of(c, dataset))

  def program(values, batch, validation):
    first = init(values)
    state, metrics = jax.lax.scan(
      lambda state, _: steps.train_step(state, batch, static), first, length=2
    )
    moved = jax.tree.map(lambda a, b: abs(a - b).max(), first.params, state.params)
    return metrics, steps.evaluate(state, validation, config=static), moved

  batch = Examples(*(array[: c.batch_size] for array in dataset.train))
  arguments = traced(c), batch, dataset.validation
  return small.compiled(program, *arguments)(*arguments)


# Each compiles a program of its own: without the slow ones, those that the README starts with.
QUICK = ("adam", "momentum", "sgd", "quick")


@pytest.mark.parametrize(
  "path",
  [
    pytest.param(path, id=path.stem, marks=() if path.stem in QUICK else pytest.mark.slow)
    for path in RECIPES
  ],
)
def test_recipe_is_valid_and_trains(path):
  module = runpy.run_path(str(path))
  c = config.validate(module["get_config"]())

  dataset = small.dataset(train=48, validation=8, test=8, size=28)
  # Only what makes it small: the batch fits the data, the layers are narrow.
  c.batch_size = 48 if c.optimizer.name == "lbfgs" else min(c.batch_size, 16)
  c.eval_batch_size = 16
  c.cnn.channels = tuple(max(1, count // 8) for count in c.cnn.channels)
  c.model.features = tuple(max(1, width // 32) for width in c.model.features)
  metrics, evaluation, moved = two_steps(c, dataset)
  assert np.isfinite(metrics.loss.total).all()
  assert (metrics.first_non_finite.step == NEVER).all()
  assert np.isfinite(evaluation.loss.total)
  assert evaluation.accuracy.count == 8
  assert max(jax.tree.leaves(moved)) > 0


@pytest.mark.parametrize("name", sorted(shipped.recipes()))
def test_a_shipped_recipe_shows_what_differs_and_its_command(name):
  path = processes.ROOT / "configs" / f"{name}.py"
  module = runpy.run_path(str(path))
  assert config.differences(config.default(), module["get_config"]())
  assert f"configs/{path.name}" in module["__doc__"], "the header lacks the command"


def test_the_page_lists_every_recipe_that_the_results_have():
  recorded = json.loads((processes.ROOT / "results" / "recipes.json").read_text("utf-8"))
  names = {name for name in recorded["recipes"] if name.isidentifier()}
  assert len(names) > 5 and names <= shipped.recipes()
