"""A dataset and a config so small that a test trains them in milliseconds."""

import functools

import jax
import numpy as np
from ml_collections import FrozenConfigDict

from mnist_mlp import config
from mnist_mlp.core import steps
from mnist_mlp.core.metrics import TrainMetrics
from mnist_mlp.data import dataset as data

CLASSES = 10


@functools.cache
def dataset(train=96, validation=37, test=41, size=8):
  """Noisy pictures of ten fixed patterns: uint8 [N, size, size, 1]; learnt, not trivially."""
  rng = np.random.RandomState(0)  # Whose numbers are frozen for good, unlike default_rng's.
  patterns = rng.randint(0, 160, (CLASSES, size, size, 1))

  def split(examples):
    labels = rng.randint(0, CLASSES, examples).astype(np.int32)
    images = patterns[labels] + rng.randint(0, 96, (examples, size, size, 1))
    return data.Split(images.astype(np.uint8), labels)

  return data.Dataset(
    name="small",
    version="1.0.0",
    train=split(train),
    validation=split(validation),
    test=split(test),
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


def create(c, data=None):
  """Returns the first state, as `steps.create_train_state` does, to the last bit or so."""
  values = steps.traced(c)
  return compiled(steps.initializer(c, data or dataset()), values)(values)


def train(state, num_steps, c, split=None, metrics=None, epochs=1):
  """Takes steps with `steps.train_chunk`, on a copy, so that `state` can be used again."""
  images, labels = split or dataset().train
  metrics = TrainMetrics.empty() if metrics is None else metrics
  return steps.train_chunk(
    steps.snapshot(state),
    metrics,
    images,
    labels,
    config=FrozenConfigDict(c),
    epochs=epochs,
    steps=num_steps,
  )


def differing(a, b):
  """Returns the paths of the leaves in which two trees differ in a bit, dtype or shape."""
  assert jax.tree.structure(a) == jax.tree.structure(b)
  pairs = zip(jax.tree_util.tree_leaves_with_path(a), jax.tree.leaves(b), strict=True)
  return [jax.tree_util.keystr(path) for (path, x), y in pairs if _content(x) != _content(y)]


def _content(leaf):
  array = np.asarray(leaf)
  return array.dtype, array.shape, array.tobytes()
