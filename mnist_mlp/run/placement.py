"""Where the data of a run lie: on every device, or on the host, from which they are streamed.

Both offer the same: `train_chunk`, `norms`, `validate`, `test`. Both give the same bits.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from etils import epy
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict, FrozenConfigDict

from mnist_mlp import data
from mnist_mlp.core import steps, streamed
from mnist_mlp.core.metrics import EvalMetrics, TrainMetrics
from mnist_mlp.core.sharding import replicated
from mnist_mlp.core.spec import Examples
from mnist_mlp.core.state import TrainState
from mnist_mlp.core.steps import ChunkLength
from mnist_mlp.data import mapped
from mnist_mlp.run import memory
from mnist_mlp.run.loop import Timetable

with epy.lazy_imports():  # Data on the device need no Grain, which takes 0.4 s.
  from mnist_mlp.data import stream

# Of the images in a block. Some five blocks are in memory: being read, waiting, and in use.
_BLOCK_BYTES = 2**25
_UNDER_WAY = 2  # blocks of an evaluation that the device has not finished


def chosen(config: ConfigDict, dataset: data.Dataset) -> tuple[str, str]:
  """Returns where the data of a run lie, 'device' or 'host', and a line if it had to be chosen."""
  placement = config.data.placement
  if placement != "auto":
    return placement, ""
  splits = dataset.train, dataset.validation, dataset.test
  size = sum(array.nbytes for split in splits for array in split)
  free = memory.free_bytes_of_each()
  placement = "host" if size > free / 2 else "device"
  share = "more than half" if placement == "host" else "less than half"
  return placement, (
    f"data: placed on the {placement}: {_shown(size)}, {share} of the {_shown(free)} that a device "
    "has free"
  )


def _shown(number: float) -> str:
  return f"{number / 1e9:,.2f} GB"


def in_blocks(timetable: Timetable, config: ConfigDict, dataset: data.Dataset) -> Timetable:
  """Returns a timetable whose chunks are parts of blocks of batches that the host reads."""
  most = _batches_of_a_block(dataset, config.batch_size)
  blocks = -(-timetable.steps_per_epoch // most)
  return dataclasses.replace(timetable, block=-(-timetable.steps_per_epoch // blocks))


def _batches_of_a_block(dataset: data.Dataset, batch_size: int) -> int:
  return max(1, _BLOCK_BYTES // (batch_size * math.prod(dataset.image_shape)))


class Programs(NamedTuple):
  """The functions that train and evaluate from the host: those of a lone run, or of a population.

  In a population, all members get the same batches.
  """

  train_chunk: Callable[..., Any] = streamed.train_chunk
  predict_logits: Callable[..., Any] = streamed.predict_logits
  measure_logits: Callable[..., Any] = streamed.measure_logits
  norms: Callable[..., Any] = steps.norms


class Layout(NamedTuple):
  """How what the host gives lies on the devices, and which programs take it."""

  mesh: Mesh | None  # None: the default device alone
  axis: str | None  # of the mesh, over which each batch is split; None: every device has all of it
  programs: Programs = Programs()

  def place(self, rows: Any, num_rows: int, before: tuple[int, ...] = ()) -> Any:
    """Puts arrays of batches on the devices.

    Args:
      rows: arrays whose axis after `before` has the rows of `own_rows` alone.
      num_rows: of a batch, over all devices.
      before: the leading axes.
    """
    if self.mesh is None:
      return jax.tree.map(jnp.asarray, rows)
    spec = PartitionSpec(*(None for _ in before), self._axis_of(num_rows, self.mesh))
    sharding = NamedSharding(self.mesh, spec)
    return jax.tree.map(
      lambda array: jax.make_array_from_process_local_data(
        sharding, array, (*before, num_rows, *array.shape[len(before) + 1 :])
      ),
      rows,
    )

  def own_rows(self, num_rows: int) -> np.ndarray:
    """Returns which rows of a batch the devices of this process need, int, in ascending order."""
    if self.mesh is None:
      return np.arange(num_rows)
    sharding = NamedSharding(self.mesh, PartitionSpec(self._axis_of(num_rows, self.mesh)))
    parts = sharding.addressable_devices_indices_map((num_rows,)).values()
    bounds = sorted({part[0].indices(num_rows) for part in parts if part})
    return np.concatenate([np.arange(*bound) for bound in bounds])

  def _axis_of(self, num_rows: int, mesh: Mesh) -> str | None:
    return self.axis if num_rows % mesh.size == 0 else None


def of_run(
  config: FrozenConfigDict, dataset: data.Dataset, timetable: Timetable, splits: Sequence[Any]
) -> "Placed":
  """Returns the examples of a lone run, whose batches all devices of the current mesh share.

  Args:
    config: of the run.
    dataset: of the run.
    timetable: of the run; if it has blocks, the examples stay on the host.
    splits: else train and validation, as they lie on the devices.
  """
  if timetable.block:
    layout = Layout(jax.sharding.get_mesh(), "data")
    return OnHost(config, dataset, timetable, layout, config.seed)
  return OnDevice(config, splits, dataset.test)


def _on_every_device(split: Examples) -> Examples:
  return jax.jit(lambda split: split, out_shardings=replicated())(split)


class OnDevice:
  """Splits that lie on every device in full."""

  def __init__(
    self,
    config: FrozenConfigDict,
    splits: Sequence[Any],
    test: Examples,
    programs: Any = steps,
    place: Callable[[Examples], Examples] = _on_every_device,
  ):
    """Takes the splits.

    Args:
      config: that the programs get.
      splits: train and validation, as they lie on the devices. Without a validation split, None.
      test: the test split, as it lies on the host.
      programs: the module with `train_chunk`, `norms` and `evaluate_and_predict`.
      place: puts the test split on the devices, where it is used once.
    """
    self._config, self._programs, self._place = config, programs, place
    self._train, self._validation = splits
    self._test = test

  def train_chunk(
    self, state: TrainState, metrics: TrainMetrics, step: int, length: ChunkLength
  ) -> tuple[TrainState, TrainMetrics]:
    """Starts the next steps after so many; see `steps.train_chunk`."""
    del step  # The state knows it, and nothing has to be read.
    train = self._programs.train_chunk
    return train(state, metrics, self._train, config=self._config, length=length)

  def norms(self, state: TrainState) -> dict[str, jax.Array]:
    """Starts `steps.norms`."""
    return self._programs.norms(state, self._train, config=self._config)

  def validate(self, state: TrainState) -> tuple[EvalMetrics, jax.Array]:
    """Starts to evaluate the validation split: metrics, and logits float32 [N, classes]."""
    return self._programs.evaluate_and_predict(state, self._validation, config=self._config)

  def test(self, state: TrainState) -> tuple[EvalMetrics, jax.Array]:
    """Does the same with the test split."""
    test = self._place(self._test)
    return self._programs.evaluate_and_predict(state, test, config=self._config)


class OnHost:
  """Splits that stay on the host. The device gets blocks of batches."""

  def __init__(
    self,
    config: FrozenConfigDict,
    dataset: data.Dataset,
    timetable: Timetable,
    layout: Layout,
    seed: int,
  ):
    """Reads the first batch.

    Args:
      config: that the programs get.
      dataset: what is trained and evaluated.
      timetable: of `in_blocks`.
      layout: of the batches on the devices.
      seed: from which the order of the examples follows.
    """
    self._config, self._dataset, self._layout, self._seed = config, dataset, layout, seed
    self._size = config.batch_size
    self._blocks = stream.Blocks(timetable.steps_per_epoch, timetable.total_steps, timetable.block)
    self._reader: Iterator[Examples] = iter(())
    self._number = -1  # of the block that the device has
    self._block: Any = None  # Examples
    own = layout.own_rows(self._size)
    first = Examples(*(mapped.rows(array, own) for array in dataset.train))
    self._first_batch = layout.place(first, self._size)

  def train_chunk(
    self, state: TrainState, metrics: TrainMetrics, step: int, length: ChunkLength
  ) -> tuple[TrainState, TrainMetrics]:
    """Starts the next steps after so many, which lie in one block."""
    number, first = self._blocks.find(step)
    if number != self._number:
      self._block = self._read(number)
    return self._layout.programs.train_chunk(
      state, metrics, (self._block, first), config=self._config, num_steps=length.num_steps
    )

  def _read(self, number: int) -> Examples:
    if self._block is None or number != self._number + 1:
      source = stream.TrainingBlocks(
        self._dataset.train,
        self._blocks,
        self._size,
        self._layout.own_rows(self._size),
        self._order_of,
      )
      self._reader = stream.read(source, number)
    self._number, rows = number, next(self._reader)
    return self._layout.place(rows, self._size, (len(rows.labels),))

  def _order_of(self, epoch: int) -> np.ndarray:
    num_examples = self._dataset.train.num_examples
    if self._size == num_examples:  # The full batch needs no order.
      return np.arange(num_examples)
    return epoch_order(self._seed, epoch, num_examples)

  def norms(self, state: TrainState) -> dict[str, jax.Array]:
    """Starts `steps.norms`."""
    return self._layout.programs.norms(state, self._first_batch, config=self._config)

  def validate(self, state: TrainState) -> tuple[EvalMetrics, jax.Array]:
    """Evaluates the validation split: metrics, and logits float32 [N, classes].

    Waits only if the split is large, and then for the device to finish all but its last blocks.
    """
    return self._evaluate(state, self._dataset.validation)

  def test(self, state: TrainState) -> tuple[EvalMetrics, jax.Array]:
    """Does the same with the test split."""
    return self._evaluate(state, self._dataset.test)

  def _evaluate(self, state: TrainState, split: Examples) -> tuple[EvalMetrics, jax.Array]:
    parts, programs = [], self._layout.programs
    for images in _blocks_of(split.images, self._config, self._layout):
      parts.append(programs.predict_logits(state, images, config=self._config))
      if len(parts) > _UNDER_WAY:
        jax.block_until_ready(parts[-1 - _UNDER_WAY])
    return programs.measure_logits(state, parts, np.asarray(split.labels), config=self._config)


def _blocks_of(images: np.ndarray, config: FrozenConfigDict, layout: Layout) -> Iterator[jax.Array]:
  """Yields a split on the devices, in blocks of batches: uint8 [batches, size, H, W, C]."""
  size = min(config.eval_batch_size, len(images))
  batches = max(1, _BLOCK_BYTES // (size * images[0].nbytes))
  source = stream.SplitBlocks(images, size, batches, layout.own_rows(size))
  for block in stream.read(source):
    yield layout.place(block, size, (len(block),))


Placed = OnDevice | OnHost


def logits_of(state: TrainState, images: np.ndarray, config: FrozenConfigDict) -> np.ndarray:
  """Returns `steps.predict_logits` of images on the host, which may not fit on the device."""
  if images.nbytes <= _BLOCK_BYTES:
    return memory.fetch(steps.predict_logits(state, images, config=config))
  blocks = _blocks_of(images, config, Layout(None, None))
  parts = [memory.fetch(streamed.predict_logits(state, one, config=config)) for one in blocks]
  return np.concatenate(parts)[: len(images)]


def epoch_order(seed: int, epoch: int, num_examples: int) -> np.ndarray:
  """Returns the order of `steps.epoch_order`, int [N], computed on the host.

  The device has other things to do. Each thread has its own mesh, so that this function must be
  called in a thread without one.
  """
  try:
    processor = jax.local_devices(backend="cpu")[0]
  except RuntimeError:  # JAX was told to use nothing but a GPU.
    processor = jax.local_devices()[0]
  with jax.default_device(processor):
    bits = np.asarray(streamed.order_bits(np.uint32(seed), np.int32(epoch), num_examples))
  # Together with its place, each number occurs once, and the fastest sort will do.
  keys = bits.astype(np.uint64)
  del bits  # Memory is scarce if examples are many.
  keys <<= 32
  keys |= np.arange(num_examples, dtype=np.uint32)
  keys.sort()
  return keys.astype(np.uint32)
