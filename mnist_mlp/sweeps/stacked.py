"""Many runs as one program: `jax.vmap` over the very same step.

Runs that differ only in traced values (the seed, `optimizer.HYPERPARAMETERS`, `steps.SCALARS`) form
a group, which compiles once. A population is a part of a group that fits in memory, and trains
together. What all this says to files and people is the business of `trials.py`.
"""

import contextlib
import functools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec
from ml_collections import ConfigDict, FrozenConfigDict

from mnist_mlp import config as config_lib
from mnist_mlp.config import duration
from mnist_mlp.core import steps
from mnist_mlp.core.metrics import TrainMetrics
from mnist_mlp.core.optimizer import HYPERPARAMETERS, create_schedule
from mnist_mlp.data import dataset as data
from mnist_mlp.train import check_sizes

# Fields whose values a compiled program takes as arguments.
TRACED = ("seed", *(f"optimizer.{name}" for name in HYPERPARAMETERS), *steps.SCALARS.values())
# Of these, the ones that mean nothing special at 0. At 0, the others are not in the program at all.
_ALWAYS_PRESENT = (
  "seed",
  "optimizer.learning_rate",
  "optimizer.momentum",
  "optimizer.b1",
  "optimizer.b2",
  "optimizer.eps",
  "optimizer.rms_decay",
  "loss.label_smoothing",
)

# Arithmetic of a chunk of steps, so that signals are heard within some ten seconds.
_CHUNK_FLOPS = {"cpu": 1e12, "gpu": 1e14, "tpu": 1e14}


def canonical(config: ConfigDict) -> ConfigDict:
  """Returns the config that stands for all with the same program: its traced values are fixed."""
  reference = config_lib.flatten(config_lib.default())
  fixed = {
    name: reference[name] if name in _ALWAYS_PRESENT else float(value != 0)
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
    self.config = canonical(config)
    self.static = FrozenConfigDict(self.config)
    self.dataset = dataset
    self.length = check_sizes(config, dataset)
    self.initializer = steps.initializer(self.config, dataset)
    self.schedule = jax.jit(create_schedule(self.config, *reversed(self.length)))
    self.eval_every = duration(self.config, "eval_every", self.length.steps_per_epoch)

  @functools.cached_property
  def train(self) -> tuple[jax.Array, jax.Array]:
    """The training split, on the device."""
    return tuple(map(jnp.asarray, self.dataset.train))

  @functools.cached_property
  def validation(self) -> tuple[jax.Array, jax.Array] | None:
    """The validation split, on the device, if there is one."""
    split = self.dataset.validation
    return tuple(map(jnp.asarray, split)) if split.num_examples else None

  def evaluation_step(self, step: int) -> int:
    """Returns the first step from `step` on at which members are evaluated."""
    return min(-(-step // self.eval_every) * self.eval_every, self.length.total_steps)

  def step_at(self, share: float) -> int:
    """Returns the first step at which members are evaluated, after a share of the run."""
    return self.evaluation_step(round(share * self.length.total_steps))

  def next_evaluation(self, step: int) -> int:
    """Returns the first step after `step` at which members are evaluated."""
    return self.evaluation_step(step + 1)

  def scan_limit(self, members: int) -> int:
    """Returns how many steps a program may take at once."""
    flops = 6 * self.num_weights * self.config.batch_size * members
    return max(1, int(_CHUNK_FLOPS.get(jax.default_backend(), 1e12) / flops))

  @functools.cached_property
  def member(self) -> steps.TrainState:
    """Shapes and dtypes of one member's state."""
    return jax.eval_shape(self.initializer, steps.traced(self.config))

  @functools.cache  # noqa: B019  (a group lives as long as its process needs programs)
  def create(self, shared_seed: bool) -> Callable[[steps.Traced], steps.TrainState]:
    """Returns the compiled function from stacked traced values to stacked states."""
    axes = steps.Traced(None if shared_seed else 0, 0, 0)
    return jax.jit(
      jax.vmap(self.initializer, in_axes=(axes,), out_axes=state_axes(self.member, shared_seed))
    )

  @functools.cached_property
  def num_weights(self) -> int:
    """Trained numbers of one member."""
    return sum(leaf.size for leaf in jax.tree.leaves(self.member.params))

  @functools.cached_property
  def bytes_per_member(self) -> int:
    """Estimate of the memory that a member takes in training, in bytes."""
    c, params = self.config, _bytes(self.member.params)
    state = _bytes(self.member)
    pixels = math.prod(self.dataset.image_shape)
    units = pixels + sum(c.model.features) + self.dataset.num_classes
    # The state twice, for the step's input and output, and the best so far; gradient and update;
    # activations and their gradients, twice as many with dropout's; the order of an epoch, sorted.
    activations = 4 * c.batch_size * units * 4
    evaluation = 4 * (c.eval_batch_size * units + 3 * len(self.dataset.test.labels) * 10)
    return 3 * state + 2 * params + max(activations, evaluation) + 16 * len(self.dataset.train[1])


def _bytes(tree: Any) -> int:
  return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def free_bytes() -> int:
  """Returns how much memory all devices have left, in bytes; on a CPU, what the system can give."""
  stats = [device.memory_stats() or {} for device in jax.devices()]
  if all("bytes_limit" in one for one in stats):
    return sum(one["bytes_limit"] - one["bytes_in_use"] for one in stats)
  with contextlib.suppress(OSError, StopIteration):
    lines = Path("/proc/meminfo").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1])
  return 4 * 2**30


# The first axis of a population's arrays is the member's, but for what all members share: the step,
# the statistics of the data, and the seed if it is the same for all. Shared, they make batches and
# dropout's random numbers shared too, for which vmap knows better programs.


def state_axes(state: steps.TrainState, shared_seed: bool) -> steps.TrainState:
  """Returns for each part of a state its axis of members, 0 or None, as `jax.vmap` takes it."""
  model_state = {name: None if name == "input_statistics" else 0 for name in state.model_state}
  return state.replace(
    step=None,
    seed=None if shared_seed else 0,
    params=0,
    opt_state=0,
    scalars=0,
    ema=0,
    model_state=model_state,
  )


def _axes(state: steps.TrainState) -> steps.TrainState:
  return state_axes(state, shared_seed=state.seed.ndim == 0)


def create(group: Group, configs: Sequence[ConfigDict]) -> steps.TrainState:
  """Returns the members' states before the first step, each bitwise that of a lone run."""
  values = [steps.traced(config) for config in configs]
  shared = len({int(value.seed) for value in values}) == 1
  stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *values)
  if shared:
    stacked = stacked._replace(seed=stacked.seed[0])
  # Copied: members would otherwise share buffers with the arguments, which training gives away.
  return steps.snapshot(group.create(shared)(stacked))


def initial(group: Group, configs: Sequence[ConfigDict]) -> dict[str, Any]:
  """Returns all that a population has to remember, before the first step.

  Returns:
    'state', as `create` gives it; 'metrics', of the steps since the last evaluation; and 'best', if
    there is a validation split: see `keep_best`.
  """
  state, members = create(group, configs), len(configs)
  tree = {"state": state, "metrics": no_metrics(members), "best": {}}
  if group.dataset.validation.num_examples:
    tree["best"] = {
      "state": steps.snapshot(unshared(state, members)),
      "accuracy": jnp.full((members,), -jnp.inf, jnp.float32),
    }
  return tree


def spread(tree: dict[str, Any], splits: Any) -> tuple[dict[str, Any], Any]:
  """Lays the members of an `initial` tree along as many devices as can share them evenly.

  Members need nothing of each other, so that each device trains its own as if they were alone.

  Args:
    tree: as `initial` or `unpack` give it.
    splits: a pytree of arrays, which go to each of these devices in full.

  Returns:
    The tree, and the splits.
  """
  members = len(jax.tree.leaves(tree["metrics"])[0])
  count = max(n for n in range(1, jax.device_count() + 1) if members % n == 0)
  if count == 1:
    return jax.tree.map(jnp.asarray, tree), splits
  mesh = jax.make_mesh(
    (count,), ("members",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:count]
  )
  everywhere = jax.sharding.NamedSharding(mesh, PartitionSpec())
  split = jax.sharding.NamedSharding(mesh, PartitionSpec("members"))
  state = jax.tree.map(
    lambda axis: everywhere if axis is None else split,
    _axes(tree["state"]),
    is_leaf=lambda leaf: leaf is None,
  )
  shardings = {"state": state, "metrics": split, "best": split}, everywhere
  return jax.jit(lambda *trees: trees, out_shardings=shardings)(tree, splits)


def pack(tree: dict[str, Any]) -> dict[str, Any]:
  """Returns a copy of an `initial` tree in which every leaf has the axis of members."""
  members = len(jax.tree.leaves(tree["metrics"])[0])
  return steps.snapshot({**tree, "state": unshared(tree["state"], members)})


def unpack(packed: dict[str, Any]) -> dict[str, Any]:
  """Undoes `pack`."""
  return {**packed, "state": share(packed["state"])}


def no_metrics(members: int) -> TrainMetrics:
  """Returns the metrics of no steps at all, for each member."""
  return jax.tree.map(lambda leaf: jnp.repeat(leaf[None], members, 0), TrainMetrics.empty())


def _map(axes: Any, tree: Any, member: Callable, shared: Callable = lambda leaf: leaf) -> Any:
  """Maps the leaves that have an axis of members by one function, the others by another."""

  def is_none(leaf):
    return leaf is None

  return jax.tree.map(
    lambda axis, leaf: shared(leaf) if axis is None else member(leaf),
    jax.tree.broadcast(axes, tree, is_leaf=is_none),
    tree,
    is_leaf=is_none,
  )


@functools.partial(
  jax.jit, static_argnames=("config", "epochs", "num_steps"), donate_argnames=("state",)
)
def train_chunk(state, metrics, images, labels, *, config, epochs, num_steps):
  """`steps.train_chunk` for every member."""
  axes = _axes(state), 0
  chunk = functools.partial(
    steps.train_chunk, images=images, labels=labels, config=config, epochs=epochs, steps=num_steps
  )
  if len(jax.tree.leaves(metrics)[0]) == 1:  # Batches of one product take a sixth longer than it.
    alone = chunk(*_map(axes, (state, metrics), lambda leaf: leaf[0]))
    return _map(axes, alone, lambda leaf: leaf[None])
  return jax.vmap(chunk, in_axes=axes, out_axes=axes)(state, metrics)


def _for_each(function: Callable) -> Callable:
  """Returns a function of a split, compiled, that works on every member."""

  def for_each(state, images, labels, *, config):
    one = functools.partial(function, images=images, labels=labels, config=config)
    return jax.vmap(one, in_axes=(_axes(state),))(state)

  return jax.jit(for_each, static_argnames=("config",))


evaluate = _for_each(steps.evaluate)
evaluate_and_predict = _for_each(steps.evaluate_and_predict)
norms = _for_each(steps.norms)


@functools.partial(jax.jit, donate_argnames=("best",))
def keep_best(best, state, accuracy):
  """Returns, for each member, the later of the two states unless its accuracy is lower.

  Args:
    best: {'state': stacked throughout, 'accuracy': float32 [members]}.
    state: the members now.
    accuracy: float32 [members], of validation; NaN is never best.
  """
  better = accuracy >= best["accuracy"]

  def pick(new, old):
    return jnp.where(better.reshape(-1, *[1] * (old.ndim - 1)), new, old)

  return {
    "state": jax.tree.map(pick, unshared(state, len(better)), best["state"]),
    "accuracy": jnp.where(better, accuracy, best["accuracy"]),
  }


def unshared(state: steps.TrainState, members: int) -> steps.TrainState:
  """Returns the state with what members share repeated for each."""
  return _map(
    _axes(state),
    state,
    member=lambda leaf: leaf,
    shared=lambda leaf: jnp.repeat(leaf[None], members, 0),
  )


def take(tree: Any, rows: Sequence[int] | int) -> Any:
  """Returns some members of a stacked tree; for an int, that one, without the axis of members."""
  return jax.tree.map(lambda leaf: leaf[rows if isinstance(rows, int) else np.asarray(rows)], tree)


def share(state: steps.TrainState) -> steps.TrainState:
  """Undoes `unshared`."""
  shared_seed = len(set(np.asarray(state.seed).tolist())) == 1
  return _map(
    state_axes(state, shared_seed), state, member=lambda leaf: leaf, shared=lambda leaf: leaf[0]
  )
