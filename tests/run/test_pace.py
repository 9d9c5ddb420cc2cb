"""How long chunks are."""

import pytest

from mnist_mlp.run import pace as pace_lib
from mnist_mlp.run.pace import Pace


def test_steps_that_are_dispatched_one_by_one_begin_with_a_few():
  assert Pace(10, 1, scanned=False).limit == pace_lib._FIRST_STEPS


@pytest.mark.parametrize(("weights", "examples"), [(7850, 128), (669_706, 128), (12_000_000, 512)])
def test_the_first_guess_of_a_pace_is_by_the_operations_of_a_step(weights, examples):
  seconds = Pace(weights, examples).limit * 6 * weights * examples / pace_lib._ASSUMED_FLOPS
  assert 0.9 * pace_lib._CHUNK_SECONDS < seconds <= pace_lib._CHUNK_SECONDS


def test_a_step_that_takes_longer_than_a_chunk_should_is_a_chunk_of_its_own():
  assert Pace(10**12, 1000).limit == 1


def test_chunks_become_shorter_if_the_host_waits_long_and_longer_if_it_hardly_waits():
  pace = Pace(1000, 100)
  pace.limit = 100
  pace.adapt(60, waited=1.01 * pace_lib._CHUNK_SECONDS)
  assert pace.limit == 30  # half of what took so long
  pace.adapt(30, waited=pace_lib._CHUNK_SECONDS / 2)
  assert pace.limit == 30
  pace.adapt(30, waited=pace_lib._CHUNK_SECONDS / 9)
  assert pace.limit == 120
  pace.adapt(2, waited=0.0)  # A short chunk, before a stop, is no reason to become shorter.
  assert pace.limit == 120
  pace.adapt(1, waited=2 * pace_lib._CHUNK_SECONDS)
  assert pace.limit == 1
