"""Groups: runs that differ only in traced values, and so share one compiled program."""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict, FrozenConfigDict

from mnist_mlp import config as config_lib
from mnist_mlp import data
from mnist_mlp.core.schedule import create_schedule
from mnist_mlp.core.spec import Examples
from mnist_mlp.core.state import TrainState, initializer, num_weights, snapshot
from mnist_mlp.core.traced import HYPERPARAMETERS, SCALARS, Traced, traced
from mnist_mlp.run import placement
from mnist_mlp.run.loop import Timetable
from mnist_mlp.run.memory import size_of_net
from mnist_mlp.run.run import check_sizes, fitted, spec_of
from mnist_mlp.sweeps import stacked

# Fields whose values a compiled program takes as arguments.
TRACED = ("seed", *(f"optimizer.{name}" for name in HYPERPARAMETERS), *SCALARS.values())
# A traced field that is 0 usually switches a feature off, and the program then lacks the feature.
# These fields have no such meaning: 0 is a value like any other.
_ZERO_IS_A_VALUE = (
  "seed",
  "optimizer.learning_rate",
  "optimizer.momentum",
  "optimizer.b1",
  "optimizer.b2",
  "optimizer.eps",
  "optimizer.rms_decay",
  "loss.label_smoothing",
)

_STREAMED = placement.Programs(
  stacked.train_streamed_chunk, stacked.predict_logits, stacked.measure_logits, stacked.norms
)


def canonical(config: ConfigDict) -> ConfigDict:
  """Returns the config that stands for all with the same program.

  Traced fields get their defaults. A traced field that switches a feature on gets 1, or 0 for off.
  """
  defaults = config_lib.flatten(config_lib.default())
  fixed = {
    name: defaults[name] if name in _ZERO_IS_A_VALUE else float(value != 0)
    for name, value in config_lib.flatten(config).items()
    if name in TRACED
  }
  config = config.copy_and_resolve_references()
  config.update_from_flattened_dict(fixed)
  return config


def group_key(config: ConfigDict) -> str:
  """Returns a string that is the same for the configs of one group."""
  return config_lib.to_json(canonical(config))


class Group:
  """What the runs of a group share: data, static config, optimizer, hence compiled programs."""

  def __init__(self, config: ConfigDict, dataset: data.Dataset):
    """Takes the config of any of its runs; raises a UsageError if it does not fit the data."""
    config, self.shrunk = fitted(config, dataset, devices=1)  # a line if the batch shrank
    self.config = canonical(config)
    self.static = FrozenConfigDict(self.config)
    self.dataset = dataset
    # Devices share the members of a population, and no batches.
    timetable = Timetable.of(self.config, check_sizes(config, dataset, devices=1))
    # A population saves by the clock, so that config.checkpoint_every is not read.
    timetable = dataclasses.replace(timetable, checkpoint_every=0)
    where, self.placed = placement.chosen(self.config, dataset)  # and a line, if auto chose it
    self.streams = where == "host"
    blocks = placement.in_blocks
    self.timetable = blocks(timetable, self.config, dataset) if self.streams else timetable
    self.initializer = initializer(self.config, spec_of(self.config, dataset))
    self.schedule = jax.jit(create_schedule(self.config, self.timetable.length))
    self._creators: dict[bool, Callable[[Traced], TrainState]] = {}

  def release(self) -> None:
    """Lets go of the data on the device, and of programs. They come back when they are needed."""
    self._creators.clear()
    for name in ("train", "validation"):
      self.__dict__.pop(name, None)

  @functools.cached_property
  def train(self) -> Examples:
    """The training split, on the device."""
    return Examples(*map(jnp.asarray, self.dataset.train))

  @functools.cached_property
  def validation(self) -> Examples | None:
    """The validation split, on the device, if there is one."""
    split = self.dataset.validation
    return Examples(*map(jnp.asarray, split)) if split.num_examples else None

  def examples(self, seed: int, members: int, splits: Sequence[Any]) -> placement.Placed:
    """Returns the examples of a population.

    Args:
      seed: of its order of examples, if they are streamed.
      members: how many there are.
      splits: else train and validation, as they lie on the devices.
    """
    if not self.streams:
      return placement.OnDevice(self.static, splits, self.dataset.test, stacked, _on_host)
    layout = placement.Layout(stacked.mesh_of(members), None, _STREAMED)
    return placement.OnHost(self.static, self.dataset, self.timetable, layout, seed)

  @functools.cached_property
  def member(self) -> TrainState:
    """Shapes and dtypes of one member's state."""
    return jax.eval_shape(self.initializer, traced(self.config))

  def create(self, configs: Sequence[ConfigDict]) -> TrainState:
    """Returns the stacked states before the first step, each bitwise that of a lone run."""
    values = [traced(config) for config in configs]
    shared = len({int(value.seed) for value in values}) == 1
    together = jax.tree.map(lambda *leaves: np.stack(leaves), *values)
    if shared:
      together = together._replace(seed=together.seed[0])
    # Copied: the states share buffers with the arguments, whose memory training would reuse.
    return snapshot(self._creator(shared)(together))

  def _creator(self, shared_seed: bool) -> Callable[[Traced], TrainState]:
    if shared_seed not in self._creators:
      axes: Any = Traced(None if shared_seed else 0, 0, 0)  # type: ignore[arg-type]
      state_axes = stacked.state_axes(self.member, shared_seed)
      self._creators[shared_seed] = jax.jit(
        jax.vmap(self.initializer, in_axes=(axes,), out_axes=state_axes)
      )
    return self._creators[shared_seed]

  def initial(self, configs: Sequence[ConfigDict]) -> stacked.Tree:
    """Returns all that a population of these members has to remember before the first step."""
    state, members = self.create(configs), len(configs)
    validates = self.dataset.validation.num_examples
    best = stacked.no_best(state, members) if validates else {}
    return {"state": state, "metrics": stacked.no_metrics(members), "best": best}

  @functools.cached_property
  def num_weights(self) -> int:
    """Trained numbers of one member."""
    return num_weights(self.member.params)

  @functools.cached_property
  def bytes_per_member(self) -> int:
    """Estimate of the memory that a member takes in training, in bytes."""
    c, params, state = self.config, _bytes(self.member.params), _bytes(self.member)
    units = math.prod(self.dataset.image_shape) + self.dataset.num_classes
    units += size_of_net(c, spec_of(c, self.dataset))[1]
    # The state for the step's input and output, the best state so far, and the copies of the state
    # and of the best that a checkpoint saves; a gradient and an update.
    states = 5 * state + 2 * params
    # Activations and their gradients, and as much again for dropout.
    activations = 4 * c.batch_size * units * 4
    evaluation = 4 * (c.eval_batch_size * units + 3 * self.dataset.test.num_examples * 10)
    order = 16 * self.dataset.train.num_examples  # of an epoch, while it is sorted
    return states + max(activations, evaluation) + order


def _on_host(split: Examples) -> Examples:
  """Returns a split as arrays of NumPy, which a program takes as they are."""
  return jax.tree.map(np.asarray, split)


def _bytes(tree: Any) -> int:
  return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
