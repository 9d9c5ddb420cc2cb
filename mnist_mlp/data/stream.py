"""Blocks of batches read from mapped arrays by Grain, while the device works on earlier ones.

A block is found by its number alone. So nothing has to be remembered but how many steps are done:
a run that goes on asks for the block of its next step.
"""

import concurrent.futures
import dataclasses
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grain
import numpy as np

from mnist_mlp.core.spec import Examples
from mnist_mlp.data import mapped

_AHEAD = 2  # blocks that are read in advance, each by a thread of its own


@dataclasses.dataclass(frozen=True)
class Blocks:
  """How training is cut into blocks. The last one of an epoch may be shorter."""

  steps_per_epoch: int
  total_steps: int
  size: int  # steps of a block

  @property
  def of_an_epoch(self) -> int:
    """How many an epoch has."""
    return -(-self.steps_per_epoch // self.size)

  def find(self, step: int) -> tuple[int, int]:
    """Returns the number of the block in which a step lies, and which of its batches it takes."""
    epoch, offset = divmod(step, self.steps_per_epoch)
    return epoch * self.of_an_epoch + offset // self.size, offset % self.size

  def steps(self, number: int) -> tuple[int, range]:
    """Returns the epoch of a block, and its steps, counted from the start of the epoch."""
    epoch, part = divmod(number, self.of_an_epoch)
    start = part * self.size
    return epoch, range(start, min(start + self.size, self.steps_per_epoch))


class TrainingBlocks:
  """The blocks of a training split, for Grain: Examples of [steps, rows of a batch, ...]."""

  def __init__(
    self,
    train: Examples,
    blocks: Blocks,
    batch_size: int,
    columns: np.ndarray,
    order_of: Callable[[int], np.ndarray],
  ):
    """Reads nothing yet.

    Args:
      train: the split.
      blocks: of the run.
      batch_size: of all devices together.
      columns: which rows of each batch to read, int; each process reads those of its own devices.
      order_of: returns the order of an epoch, int [N]. It is called in another thread.
    """
    self._train, self._blocks, self._size = train, blocks, batch_size
    self._columns, self._orders = columns, _Orders(order_of)
    mapped.read_at_random(train.images)

  def __len__(self) -> int:
    """Returns how many blocks the run has."""
    return self._blocks.find(self._blocks.total_steps - 1)[0] + 1

  def __getitem__(self, number: int) -> Examples:
    """Reads a block."""
    epoch, steps = self._blocks.steps(number)
    order, batches = self._orders[epoch], self._size
    chosen = order[steps.start * batches : steps.stop * batches].reshape(-1, batches)
    return _read(self._train, chosen[:, self._columns])


class SplitBlocks:
  """The blocks of a split in its own order, for Grain: images of [batches, rows of a batch, ...].

  The last batch repeats the last image to be full.
  """

  def __init__(self, images: np.ndarray, batch_size: int, batches: int, columns: np.ndarray):
    """Takes at most so many batches as a block; see `TrainingBlocks` for the rest."""
    self._images, self._size, self._batches, self._columns = images, batch_size, batches, columns

  def __len__(self) -> int:
    """Returns how many blocks the split has."""
    return -(-len(self._images) // (self._size * self._batches))

  def __getitem__(self, number: int) -> np.ndarray:
    """Reads a block."""
    last, size = len(self._images) - 1, self._size
    start = number * size * self._batches
    end = min(start + size * self._batches, start + -(-(last + 1 - start) // size) * size)
    chosen = np.minimum(np.arange(start, end), last).reshape(-1, size)
    return mapped.rows(self._images, chosen[:, self._columns])


def _read(split: Examples, indices: np.ndarray) -> Examples:
  return Examples(*(mapped.rows(array, indices) for array in split))


def read(source: Any, first: int = 0) -> Iterator[Any]:
  """Yields the blocks of a source from one of them on, read in advance by Grain's threads."""
  options = grain.ReadOptions(num_threads=_AHEAD, prefetch_buffer_size=_AHEAD)
  return iter(grain.MapDataset.source(source)[first:].to_iter_dataset(options))


class _Orders:
  """The orders of epochs, each computed in advance while the epoch before is read."""

  def __init__(self, order_of: Callable[[int], np.ndarray]):
    self._order_of = order_of
    self._executor = concurrent.futures.ThreadPoolExecutor(1, "order of examples")
    self._known: dict[int, concurrent.futures.Future] = {}
    self._lock = threading.Lock()

  def __getitem__(self, epoch: int) -> np.ndarray:
    """Returns the order of an epoch, and lets the next one be computed."""
    with self._lock:
      for each in (epoch, epoch + 1):
        if each not in self._known:
          self._known[each] = self._executor.submit(self._order_of, each)
      self._known = {each: order for each, order in self._known.items() if each >= epoch}
      order = self._known[epoch]
    return order.result()
