"""The states of a population's members as one: arrays whose first axis is the member's.

All functions here are pure: `jax.vmap` over the very same step that a lone run takes.

Some parts have no axis of members, because all members share them: the step, the statistics of the
data, and the seed if it is the same for all. With a shared seed, batches and the random numbers of
dropout are shared too, for which XLA makes faster programs.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from ml_collections import FrozenConfigDict

from mnist_mlp.core import steps, streamed
from mnist_mlp.core.metrics import EvalMetrics, TrainMetrics
from mnist_mlp.core.spec import Examples
from mnist_mlp.core.state import TrainState, snapshot
from mnist_mlp.core.steps import ChunkLength

# All that a population has to remember: 'state'; 'metrics', of the steps since the last evaluation;
# and 'best', {'state', 'accuracy'} of the best validation, empty without a validation split.
Tree = dict[str, Any]


def state_axes(state: TrainState, shared_seed: bool) -> TrainState:
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


def _axes(state: TrainState) -> TrainState:
  return state_axes(state, shared_seed=state.seed.ndim == 0)


def num_members(stacked: Any) -> int:
  """Returns the number of members in stacked metrics or parameters."""
  return len(jax.tree.leaves(stacked)[0])


def no_metrics(members: int) -> TrainMetrics:
  """Returns the metrics of no steps at all, for each member."""
  return jax.tree.map(lambda leaf: jnp.repeat(leaf[None], members, 0), TrainMetrics.empty())


def no_best(state: TrainState, members: int) -> dict[str, Any]:
  """Returns what is 'best' before the first evaluation; see `keep_best`."""
  return {
    "state": snapshot(unshared(state, members)),
    "accuracy": jnp.full((members,), -jnp.inf, jnp.float32),
  }


def mesh_of(members: int) -> Mesh | None:
  """Returns as many devices as can share so many members evenly, along an axis 'members'.

  None if that is one device.
  """
  count = max(n for n in range(1, jax.device_count() + 1) if members % n == 0)
  if count == 1:
    return None
  auto, devices = (jax.sharding.AxisType.Auto,), jax.devices()[:count]
  return jax.make_mesh((count,), ("members",), axis_types=auto, devices=devices)


def spread(tree: Tree, splits: Any) -> tuple[Tree, Any]:
  """Lays the members along the devices of `mesh_of`.

  Members need nothing of each other, so that each device trains its own as if they were alone.

  Args:
    tree: of a population.
    splits: a pytree of arrays, which go to each of these devices in full.

  Returns:
    The tree, and the splits.
  """
  mesh = mesh_of(num_members(tree["metrics"]))
  if mesh is None:
    return jax.tree.map(jnp.asarray, tree), splits
  everywhere = NamedSharding(mesh, PartitionSpec())
  apart = NamedSharding(mesh, PartitionSpec("members"))
  state = _map(_axes(tree["state"]), tree["state"], lambda leaf: apart, lambda leaf: everywhere)
  shardings = {"state": state, "metrics": apart, "best": apart}, everywhere
  return jax.jit(lambda *trees: trees, out_shardings=shardings)(tree, splits)


def pack(tree: Tree) -> Tree:
  """Returns a copy of a tree in which every leaf has the axis of members."""
  return snapshot({**tree, "state": unshared(tree["state"], num_members(tree["metrics"]))})


def unpack(packed: Tree) -> Tree:
  """Undoes `pack`."""
  return {**packed, "state": share(packed["state"])}


def _map(axes: Any, tree: Any, member: Callable[[Any], Any], shared: Callable[[Any], Any]) -> Any:
  """Maps the leaves that have an axis of members by one function, the others by another."""

  def is_none(leaf):
    return leaf is None

  return jax.tree.map(
    lambda axis, leaf: shared(leaf) if axis is None else member(leaf),
    jax.tree.broadcast(axes, tree, is_leaf=is_none),
    tree,
    is_leaf=is_none,
  )


def _same(leaf: Any) -> Any:
  return leaf


def train_chunk(
  state: TrainState,
  metrics: TrainMetrics,
  train: Examples,
  *,
  config: FrozenConfigDict,
  length: ChunkLength,
) -> tuple[TrainState, TrainMetrics]:
  """Does for every member what `steps.train_chunk` does for a lone run."""
  if state.scanned:
    return scan_steps(state, metrics, train, config=config, length=length)
  own = {"train": train, "config": config}
  take = functools.partial(_step, **own)
  return steps.one_by_one(functools.partial(_order, **own), take, (state, metrics), length)


@functools.partial(jax.jit, static_argnames=("config", "length"), donate_argnames=("state",))
def scan_steps(
  state: TrainState,
  metrics: TrainMetrics,
  train: Examples,
  *,
  config: FrozenConfigDict,
  length: ChunkLength,
) -> tuple[TrainState, TrainMetrics]:
  """Does for every member what `steps.scan_steps` does for a lone run."""
  chunk = functools.partial(steps.scan_steps, train=train, config=config, length=length)
  axes = _axes(state), 0
  return _of_members(chunk, axes, axes, (state, metrics))


@functools.partial(jax.jit, static_argnames=("config",))
def _order(state, train, *, config):
  order_of = functools.partial(steps.order_of, train=train, config=config)
  return _of_members(order_of, (_axes(state),), _axes(state).seed, (state,))


@functools.partial(jax.jit, static_argnames=("config",), donate_argnames=("state",))
def _step(state, metrics, order, train, *, config):
  take_step = functools.partial(steps.take_step, train=train, config=config)
  axes = _axes(state)
  return _of_members(take_step, (axes, 0, axes.seed), (axes, 0), (state, metrics, order))


def train_streamed_chunk(
  state: TrainState,
  metrics: TrainMetrics,
  block: tuple[Examples, int],
  *,
  config: FrozenConfigDict,
  num_steps: int,
) -> tuple[TrainState, TrainMetrics]:
  """Does for every member what `streamed.train_chunk` does for a lone run."""
  if state.scanned:
    return _scan_streamed(state, metrics, block, config=config, num_steps=num_steps)
  take = functools.partial(_streamed_step, config=config)
  return streamed.one_by_one(take, (state, metrics), block, num_steps)


@functools.partial(jax.jit, static_argnames=("config", "num_steps"), donate_argnames=("state",))
def _scan_streamed(state, metrics, block, *, config, num_steps):
  own = {"block": block, "config": config, "num_steps": num_steps}
  axes = _axes(state), 0
  return _of_members(functools.partial(streamed.scan_steps, **own), axes, axes, (state, metrics))


@functools.partial(jax.jit, static_argnames=("config",), donate_argnames=("state",))
def _streamed_step(state, metrics, batches, index, *, config):
  own = {"batches": batches, "index": index, "config": config}
  axes = _axes(state), 0
  return _of_members(functools.partial(streamed.take_step, **own), axes, axes, (state, metrics))


def _of_members(function: Callable, in_axes: Any, out_axes: Any, arguments: Any) -> Any:
  """Maps a function over members. The only one goes without an axis.

  A batch of one matrix product takes a sixth longer than the product.
  """
  if num_members(arguments[0].params) > 1:
    return jax.vmap(function, in_axes=in_axes, out_axes=out_axes)(*arguments)
  alone = function(*_map(in_axes, arguments, lambda leaf: leaf[0], _same))
  return _map(out_axes, alone, lambda leaf: leaf[None], _same)


def _for_each(function: Callable) -> Callable:
  """Returns a compiled function of a state, a split and a config that works on every member."""

  def for_each(state, split, *, config):
    return jax.vmap(lambda one: function(one, split, config=config), in_axes=(_axes(state),))(state)

  return jax.jit(for_each, static_argnames=("config",))


evaluate_and_predict = _for_each(steps.evaluate_and_predict)
norms = _for_each(steps.norms)
predict_logits = _for_each(streamed.predict_logits)


@functools.partial(jax.jit, static_argnames=("config",))
def measure_logits(
  state: TrainState, parts: Sequence[jax.Array], labels: jax.Array, *, config: FrozenConfigDict
) -> tuple[EvalMetrics, jax.Array]:
  """Does for every member what `streamed.measure_logits` does for a lone run."""
  own = functools.partial(streamed.measure_logits, labels=labels, config=config)
  return jax.vmap(own, in_axes=(_axes(state), 0))(state, parts)


@functools.partial(jax.jit, donate_argnames=("best",))
def keep_best(best: dict[str, Any], state: TrainState, accuracy: jax.Array) -> dict[str, Any]:
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


def unshared(state: TrainState, members: int) -> TrainState:
  """Returns the state with what members share repeated for each."""
  return _map(_axes(state), state, _same, lambda leaf: jnp.repeat(leaf[None], members, 0))


def share(state: TrainState) -> TrainState:
  """Undoes `unshared`."""
  shared_seed = len(set(np.asarray(state.seed).tolist())) == 1
  return _map(state_axes(state, shared_seed), state, _same, lambda leaf: leaf[0])


def take(tree: Any, rows: Sequence[int] | int) -> Any:
  """Returns some members of a stacked tree; for an int, that one, without the axis of members."""
  return jax.tree.map(lambda leaf: leaf[rows if isinstance(rows, int) else np.asarray(rows)], tree)
