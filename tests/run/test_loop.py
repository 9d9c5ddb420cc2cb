"""The loop that trains, with chunks that compute nothing."""

import signal
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mnist_mlp.core.metrics import EvalMetrics, TrainMetrics
from mnist_mlp.run.environment import StopSignals
from mnist_mlp.run.loop import Chunk, Loop, Timetable, measured
from mnist_mlp.run.team import Team

TIMETABLE = Timetable(steps_per_epoch=4, total_steps=10, eval_every=4, checkpoint_every=0)


class Device:
  """Stands for the device: notes what is dispatched."""

  def __init__(self):
    self.events = []

  def dispatch(self, step, length):
    self.events.append(f"dispatch {step} to {step + length.num_steps}")
    return Chunk(
      step + length.num_steps, length.num_steps, metrics=jnp.int32(step), snapshot=jnp.zeros(2)
    )


class Steady:
  """A pace that stays what it is, and notes what it is told."""

  def __init__(self, limit, scanned=True):
    self.limit, self.scanned, self.told = limit, scanned, []

  def adapt(self, num_steps, waited):
    self.told.append((num_steps, waited))


def loop_of(device, limit=2, step=0):
  return Loop(device.dispatch, TIMETABLE, Steady(limit), step)


def run(device, own, until=TIMETABLE.total_steps, signals=None):
  """Goes through the chunks, notes when each is yielded, and returns them."""
  chunks = []
  for chunk in own.chunks(until, signals or StopSignals()):
    device.events.append(f"results of {chunk.step}")
    chunks.append(chunk)
  return chunks


def test_the_next_chunk_is_dispatched_before_the_results_of_the_last():
  device = Device()
  own = loop_of(device, limit=4)
  chunks = run(device, own)
  assert device.events == [
    "dispatch 0 to 4",
    "dispatch 4 to 8",
    "results of 4",
    "dispatch 8 to 10",
    "results of 8",
    "results of 10",
  ]
  assert [(chunk.step, chunk.num_steps) for chunk in chunks] == [(4, 4), (8, 4), (10, 2)]
  assert own.step == 10


def test_results_are_on_the_host_and_snapshots_stay_on_the_device():
  device = Device()
  chunk, *_ = run(device, loop_of(device))
  assert isinstance(chunk.metrics, np.ndarray)
  assert not isinstance(chunk.snapshot, np.ndarray)
  assert chunk.norms is chunk.schedule is chunk.validation is None


def test_the_first_chunk_can_be_dispatched_early_and_only_once():
  device = Device()
  own = loop_of(device, limit=4)
  assert own.started == 0.0
  own.start()
  started = own.started
  own.start()
  assert device.events == ["dispatch 0 to 4"] and own.step == 4
  assert own.started == started > 0
  run(device, own)
  assert device.events[1:3] == ["dispatch 4 to 8", "results of 4"]
  assert device.events[-1] == "results of 10"


def test_a_run_that_is_at_its_end_dispatches_nothing():
  device = Device()
  own = loop_of(device, step=10)
  own.start()
  assert run(device, own) == [] == device.events


def test_the_only_chunk_of_a_run_that_was_started_early_is_yielded():
  device = Device()
  own = loop_of(device, limit=4, step=8)
  own.start()
  assert [chunk.step for chunk in run(device, own)] == [10]
  assert device.events == ["dispatch 8 to 10", "results of 10"]


def test_after_a_signal_what_is_dispatched_is_still_yielded():
  device, signals = Device(), StopSignals()
  own = loop_of(device, limit=2)
  chunks = []
  for chunk in own.chunks(10, signals):
    chunks.append(chunk.step)
    signals.received = signal.SIGTERM
  assert chunks == [2, 4] and own.step == 4
  assert device.events == ["dispatch 0 to 2", "dispatch 2 to 4"]


def test_a_signal_before_the_first_chunk_stops_at_once():
  device, signals = Device(), StopSignals()
  signals.received = signal.SIGINT
  own = loop_of(device)
  assert run(device, own, signals=signals) == [] and own.step == 0
  own.start()  # What was dispatched before is not lost.
  assert [chunk.step for chunk in run(device, own, signals=signals)] == [2]


def test_a_loop_goes_on_from_where_it_was_told_to_stop():
  device = Device()
  own = loop_of(device, limit=100)
  assert [chunk.step for chunk in run(device, own, until=4)] == [4]
  assert own.step == 4
  assert [chunk.step for chunk in run(device, own)] == [8, 10]


def test_the_pace_is_told_how_long_each_chunk_was_waited_for():
  device = Device()
  own = Loop(device.dispatch, TIMETABLE, pace := Steady(4), 0)
  run(device, own)
  assert [num_steps for num_steps, _ in pace.told] == [4, 4, 2]
  assert all(0 <= waited < 1 for _, waited in pace.told)


def test_a_dispatch_counts_if_the_steps_compute_meanwhile():
  def slowly(step, length):
    time.sleep(0.02)
    return device.dispatch(step, length)

  for scanned in (True, False):
    device, pace = Device(), Steady(2, scanned)
    with StopSignals() as signals:
      list(Loop(slowly, TIMETABLE, pace, 0).chunks(TIMETABLE.total_steps, signals))
    assert (min(waited for _, waited in pace.told) < 0.02) == scanned


NEVER_FAILED = (0.5, 1.5)


def train_metrics(losses, step=3):
  return TrainMetrics.single_from_model_output(
    loss=jnp.array(losses), accuracy=jnp.array([True, False]), step=jnp.int32(step)
  )


def evaluation(losses):
  return EvalMetrics.single_from_model_output(
    loss=jnp.array(losses), cross_entropy=jnp.array([1.0, 2.0]), accuracy=jnp.array([True, True])
  )


def stacked(*trees):
  """Returns trees of metrics as those of a population."""
  return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


def test_measured_says_what_a_chunk_of_a_run_came_to():
  chunk = Chunk(
    8,
    4,
    train_metrics(NEVER_FAILED),
    schedule=np.float32(0.75),
    norms={"parameter_norm": np.float32(2.0), "gradient_norm": np.float32(3.0)},
    validation=evaluation([0.25, 0.75]),
  )
  found = measured(chunk)
  assert found.train == {"loss": 1.0, "accuracy": 0.5}
  assert found.validation == {"loss": 0.5, "cross_entropy": 1.5, "accuracy": 1.0}
  assert found.scalars == {"parameter_norm": 2.0, "gradient_norm": 3.0, "schedule": 0.75}
  assert found.non_finite is None


def test_measured_has_nothing_to_say_of_what_was_not_computed():
  found = measured(Chunk(8, 4, train_metrics(NEVER_FAILED)))
  assert found.validation is None and found.scalars == {}


def test_measured_takes_the_row_of_a_member():
  chunk = Chunk(
    8,
    4,
    stacked(train_metrics((1.0, 2.0)), train_metrics((3.0, np.nan), step=6)),
    schedule=np.float32(0.75),
    norms={"parameter_norm": np.float32([2.0, 4.0])},
    validation=stacked(evaluation([0.25, 0.75]), evaluation([2.0, 4.0])),
  )
  first, second = (measured(chunk, row) for row in (0, 1))
  assert first.train["loss"] == 1.5 and first.non_finite is None
  assert second.non_finite == 6
  assert (first.validation["loss"], second.validation["loss"]) == (0.5, 3.0)
  assert second.scalars == {"parameter_norm": 4.0, "schedule": 0.75}


@pytest.mark.parametrize(
  ("losses", "norm", "expected"),
  [
    ((0.5, 1.5), 2.0, None),
    ((0.5, np.nan), 2.0, 3),
    ((np.inf, 1.5), 2.0, 3),
    ((0.5, 1.5), np.nan, 8),  # The last step broke the weights: no loss has seen them yet.
    ((0.5, 1.5), np.inf, 8),
    ((0.5, np.nan), np.inf, 3),
    ((0.5, np.nan), None, 3),
  ],
)
def test_a_run_diverged_at_its_first_loss_or_result_that_is_not_finite(losses, norm, expected):
  norms = None if norm is None else {"parameter_norm": np.float32(norm)}
  assert measured(Chunk(8, 4, train_metrics(losses), norms=norms)).non_finite == expected


class Other(Team):
  """Stands for two processes, of which the other one says what a test wants."""

  def __init__(self, *turns):
    self.turns = iter(turns)

  def gather(self, value):
    return [next(self.turns), value]


def test_all_processes_take_the_chunks_of_the_first_and_hear_what_any_hears():
  device, signals = Device(), StopSignals()
  team = Other([None, 2], [None, 1], [signal.SIGTERM, 2])
  own = Loop(device.dispatch, TIMETABLE, Steady(4), 0, team)
  assert [chunk.step for chunk in own.chunks(10, signals)] == [2, 3]
  assert device.events == ["dispatch 0 to 2", "dispatch 2 to 3"]
  assert signals.received == signal.SIGTERM
