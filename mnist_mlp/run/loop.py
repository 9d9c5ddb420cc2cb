"""The loop that trains, shared by a lone run and by the populations of a sweep.

The device gets its steps in chunks, each one compiled program. The next chunk is always dispatched
before the results of the last one are fetched, so that the device never waits for Python.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from mnist_mlp.config import Length, duration
from mnist_mlp.core.metrics import NEVER, EvalMetrics, TrainMetrics
from mnist_mlp.core.steps import ChunkLength
from mnist_mlp.run.environment import StopSignals
from mnist_mlp.run.memory import fetch
from mnist_mlp.run.pace import Pace
from mnist_mlp.run.team import ALONE, Team


@dataclasses.dataclass(frozen=True)
class Timetable:
  """When a run evaluates, saves and ends, in steps."""

  steps_per_epoch: int
  total_steps: int
  eval_every: int
  checkpoint_every: int  # besides evaluations; 0 is never
  # Steps of an epoch whose batches come as one block, which no chunk leaves; 0: no such blocks.
  block: int = 0

  @classmethod
  def of(cls, config: ConfigDict, length: Length) -> "Timetable":
    """Returns the timetable of a config, for a run of that length."""
    per_epoch = length.steps_per_epoch
    between = duration(config, "checkpoint_every", per_epoch)
    return cls(*length, duration(config, "eval_every", per_epoch), between)

  @property
  def length(self) -> Length:
    """How long the run is."""
    return Length(self.steps_per_epoch, self.total_steps)

  def evaluates_at(self, step: int) -> bool:
    """Returns whether the state after `step` steps is evaluated."""
    return step == self.total_steps or step % self.eval_every == 0

  def saves_at(self, step: int) -> bool:
    """Returns whether the state after `step` steps is saved."""
    between = self.checkpoint_every and step % self.checkpoint_every == 0
    return bool(between) or self.evaluates_at(step)

  def evaluation_from(self, step: int) -> int:
    """Returns the first step from `step` on, `step` included, at which the run is evaluated."""
    return min(-(-step // self.eval_every) * self.eval_every, self.total_steps)

  def evaluations_until(self, step: int) -> int:
    """Returns how many evaluations there are up to a step."""
    return step // self.eval_every + (step == self.total_steps and step % self.eval_every > 0)

  def evaluation_after(self, share: float) -> int:
    """Returns the first step at which the run is evaluated, after a share of the run."""
    return self.evaluation_from(round(share * self.total_steps))

  def next_stop(self, step: int) -> int:
    """Returns the first step after `step` at which there is something to do besides training."""
    stop = self.evaluation_from(step + 1)
    if self.checkpoint_every:
      stop = min(stop, (step // self.checkpoint_every + 1) * self.checkpoint_every)
    return stop

  def next_chunk(self, step: int, limit: int) -> ChunkLength:
    """Returns the length of the next chunk, from `step` on and at most to the next stop.

    A chunk is either a number of whole epochs or a part of one epoch. The parts of an epoch are
    equally long, give or take a step, so that few lengths have to be compiled.

    Args:
      step: how many steps are done.
      limit: how many steps the chunk may take; one step is always taken.
    """
    limit, per_epoch = max(limit, 1), self.steps_per_epoch
    offset, left = step % per_epoch, self.next_stop(step) - step
    if not self.block and offset == 0 and per_epoch <= min(left, limit):
      return ChunkLength(min(left, limit) // per_epoch, per_epoch)
    block = self.block or per_epoch
    left_of_block = min(left, per_epoch - offset, block - offset % block)
    parts = -(-left_of_block // limit)
    return ChunkLength(1, -(-left_of_block // parts))


@dataclasses.dataclass
class Chunk:
  """Steps that were dispatched, and what they give.

  The arrays are on the device at first. When the loop yields the chunk, all but the snapshot are on
  the host.
  """

  step: int  # how many steps are done after it
  num_steps: int
  metrics: TrainMetrics  # of the steps since the last evaluation
  schedule: jax.Array | None = None  # learning rate over its peak, float32 []; None: no report
  norms: dict[str, jax.Array] | None = None  # see `steps.norms`
  validation: EvalMetrics | None = None
  snapshot: Any = None  # a copy of what a checkpoint holds, if one is due
  dispatching: float = 0.0  # seconds that the dispatch took


class Measured(NamedTuple):
  """What a chunk says of one run, on the host."""

  train: dict[str, Any]  # loss and accuracy since the last evaluation
  validation: dict[str, Any] | None  # loss and accuracy, if the chunk ends with an evaluation
  scalars: dict[str, Any]  # norms and schedule, if they were computed
  non_finite: int | None  # the first step whose loss, or result, was NaN or infinite


def measured(chunk: Chunk, row: int | None = None) -> Measured:
  """Returns what a chunk says of its run, or of the member in a row of a population's arrays."""
  metrics, validation, norms = chunk.metrics, chunk.validation, chunk.norms
  if row is not None:
    metrics, validation, norms = jax.tree.map(lambda leaf: leaf[row], (metrics, validation, norms))
  train = metrics.compute()
  non_finite = int(train.pop("first_non_finite"))
  if norms and not np.isfinite(norms["parameter_norm"]):
    non_finite = min(non_finite, chunk.step)
  scalars = {**norms, "schedule": chunk.schedule} if norms else {}
  return Measured(
    train, validation and validation.compute(), scalars, None if non_finite == NEVER else non_finite
  )


class Loop:
  """Dispatches chunk after chunk, always one ahead of the chunk whose results it waits for."""

  def __init__(
    self,
    dispatch: Callable[[int, ChunkLength], Chunk],
    timetable: Timetable,
    pace: Pace,
    step: int,
    team: Team = ALONE,
  ):
    """Starts at a step.

    Args:
      dispatch: (steps done, length of the chunk) -> the chunk, started; it waits for nothing.
      timetable: that of the run.
      pace: limits the length of chunks.
      step: how many steps are done.
      team: the processes that train the run.
    """
    self._dispatch, self._timetable, self._pace, self._team = dispatch, timetable, pace, team
    self._pending: Chunk | None = None
    self.step = step  # how far steps are dispatched
    self.started = 0.0  # when the first chunk was dispatched, its program compiled

  def start(self) -> None:
    """Dispatches the first chunk, so that the device works while the host makes itself ready."""
    if self._pending is None and self.step < self._timetable.total_steps:
      self._pending = self._next()
      self.started = time.perf_counter()

  def chunks(self, until: int, signals: StopSignals) -> Iterator[Chunk]:
    """Yields chunks, each once its results are there, up to step `until` or a signal."""
    while self.step < until and not self.stopped(signals):
      chunk = self._next()
      if self._pending:
        yield self._completed(self._pending)
      self._pending = chunk
    if self._pending:
      yield self._completed(self._pending)
      self._pending = None

  def stopped(self, signals: StopSignals) -> bool:
    """Returns whether a signal has arrived, at any process; all then take equally long chunks."""
    turns = self._team.gather([signals.received, self._pace.limit])
    self._pace.limit = turns[0][1]
    heard = next((number for number, _ in turns if number), None)
    signals.note(heard)
    return heard is not None  # One that came just now is heard the next time, by all.

  def _next(self) -> Chunk:
    started = time.perf_counter()
    chunk = self._dispatch(self.step, self._timetable.next_chunk(self.step, self._pace.limit))
    chunk.dispatching = time.perf_counter() - started
    self.step = chunk.step
    return chunk

  def _completed(self, chunk: Chunk) -> Chunk:
    """Waits for a chunk. Starts no computation: the device is busy with the next chunk."""
    started = time.perf_counter()
    names = ("metrics", "schedule", "norms", "validation")
    arrays = fetch({name: getattr(chunk, name) for name in names})
    waited = time.perf_counter() - started
    self._pace.adapt(chunk.num_steps, waited if self._pace.scanned else waited + chunk.dispatching)
    return dataclasses.replace(chunk, **arrays)
