"""Data and a config so small that a test trains them in milliseconds.

`splits` and `spec` are all that the core needs. `dataset` is for what takes a whole Dataset.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import numpy as np
from etils import epy
from ml_collections import FrozenConfigDict

from mnist_mlp import config
from mnist_mlp.core import state, steps
from mnist_mlp.core.metrics import TrainMetrics
from mnist_mlp.core.spec import DataSpec, Examples
from mnist_mlp.core.traced import traced

with epy.lazy_imports():  # The tests of the core need no dataset.
  from mnist_mlp import data

CLASSES = 10


class Splits(NamedTuple):
  """Three splits of noisy pictures of ten fixed patterns: learnt, not trivially."""

  train: Examples
  validation: Examples
  test: Examples


@functools.cache
def splits(train=96, validation=37, test=41, size=8):
  """Returns so many examples of each split, uint8 [N, size, size, 1]."""
  rng = np.random.RandomState(0)  # Whose numbers are frozen for good, unlike default_rng's.
  patterns = rng.randint(0, 160, (CLASSES, size, size, 1))
  return Splits(*(_split(rng, patterns, examples) for examples in (train, validation, test)))


def _split(rng, patterns, examples):
  labels = rng.randint(0, CLASSES, examples).astype(np.int32)
  images = patterns[labels] + rng.randint(0, 96, (examples, *patterns.shape[1:]))
  return Examples(images.astype(np.uint8), labels)


def spec(**changes):
  """Returns what a net depends on of `splits()`, with fields changed."""
  train = splits().train
  return dataclasses.replace(
    DataSpec(train.images.shape[1:], CLASSES, train.num_examples), **changes
  )


@functools.cache
def dataset(**sizes):
  """Returns the Dataset of `splits(**sizes)`."""
  parts = splits(**sizes)
  return data.Dataset(
    name="small",
    version="1.0.0",
    train=parts.train,
    validation=parts.validation,
    test=parts.test,
    class_names=tuple("0123456789"),
    fingerprint="0",
    stand_in_for="",
    source="made up",
  )


def config_of(**changes):
  """Returns a validated config of a tiny net, with fields changed: `optimizer__name="sgd"`."""
  c = config.default()
  c.batch_size = 16
  c.num_epochs = 5.0
  c.eval_batch_size = 16
  c.model.features = (16, 12)
  c.optimizer.learning_rate = 0.01
  c.update_from_flattened_dict({key.replace("__", "."): value for key, value in changes.items()})
  return config.validate(c)


def compiled(function, *args):
  """Returns the function compiled for such arguments, fast: it runs but a few times."""
  options = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
  return jax.jit(function).lower(*args).compile(compiler_options=options)


def create(c, data_spec=None):
  """Returns the first state, as `state.create_train_state` does, to the last bit or so."""
  values = traced(c)
  return compiled(state.initializer(c, data_spec or spec()), values)(values)


def train(first, length, c, split=None, metrics=None):
  """Takes steps with `steps.train_chunk`, on a copy, so that `first` can be used again.

  Args:
    first: the state before.
    length: steps, or a ChunkLength.
    c: the config.
    split: the training split, by default that of `splits()`.
    metrics: those of the steps before.
  """
  length = steps.ChunkLength(1, length) if isinstance(length, int) else length
  metrics = TrainMetrics.empty() if metrics is None else metrics
  return steps.train_chunk(
    state.snapshot(first),
    metrics,
    split or splits().train,
    config=FrozenConfigDict(c),
    length=length,
  )


def differing(a, b):
  """Returns the paths of the leaves in which two trees differ in a bit, dtype or shape."""
  assert jax.tree.structure(a) == jax.tree.structure(b)
  pairs = zip(jax.tree_util.tree_leaves_with_path(a), jax.tree.leaves(b), strict=True)
  return [jax.tree_util.keystr(path) for (path, x), y in pairs if _content(x) != _content(y)]


def _content(leaf):
  array = np.asarray(leaf)
  return array.dtype, array.shape, array.tobytes()
