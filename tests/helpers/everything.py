"""A config that has everything on at once, and its first steps: a test fails if any part does."""

import functools

import jax
import numpy as np
import small
from ml_collections import FrozenConfigDict

from mnist_mlp.core import steps
from mnist_mlp.core.metrics import TrainMetrics
from mnist_mlp.core.spec import Examples
from mnist_mlp.core.state import evaluation_variables

CHANGES = dict(
  model__features=(16,),
  model__norm="batch",
  model__dropout=0.3,
  loss__label_smoothing=0.1,
  loss__l2=1e-3,
  optimizer__clip_norm=1.0,
  optimizer__max_norm=2.0,
  schedule__name="cosine",
  schedule__warmup_steps=3,
  ema__decay=0.9,
)
CONFIG = small.config_of(**CHANGES)  # 6 steps an epoch
STATIC = FrozenConfigDict(CONFIG)

train_step = jax.jit(steps.train_step, static_argnames="config")


@functools.cache
def initial():
  """Returns the first state. One for all tests: states of one origin share compiled programs."""
  return small.create(CONFIG)


def batch(step, seed=0, split=None, size=16):
  """Returns the batch of a step, counted from 0, by the plain meaning of an epoch's order."""
  split = split or small.splits().train
  epoch, index = divmod(step, split.num_examples // size)
  order = np.asarray(steps.epoch_order(np.uint32(seed), epoch, split.num_examples))
  rows = order[index * size : (index + 1) * size]
  return Examples(split.images[rows], split.labels[rows])


@functools.cache
def single_steps():
  """Returns [(state, metrics)] after 0, 1, ... 12 steps, each a call of `train_step` of its own."""
  history = [(initial(), TrainMetrics.empty())]
  for step in range(12):
    history.append(train_step(history[-1][0], batch(step), STATIC))
  return history


def merged(history):
  """Returns the metrics of all steps of a history."""
  return functools.reduce(lambda a, b: a.merge(b), [metrics for _, metrics in history])


def values(metrics):
  """Returns metrics as numbers, by their names."""
  return {name: float(value) for name, value in metrics.compute().items()}


def logits_one_by_one(state, images):
  """Returns the logits of images, float64 [N, classes], each of a call of its own."""
  variables = evaluation_variables(state, CONFIG)
  one = jax.jit(lambda image: state.apply_fn(variables, image[None])[0])
  return np.stack([one(image) for image in images]).astype(np.float64)
