"""When a run evaluates, saves and ends, and how its steps are cut into chunks."""

import itertools

import pytest
import small

from mnist_mlp.config import Length
from mnist_mlp.run.loop import Timetable


def timetables():
  """Yields timetables of short runs in which epochs and stops fall together in many ways."""
  for per_epoch, total, eval_every, checkpoint_every in itertools.product(
    (1, 5, 6), (1, 11, 24, 30), (1, 4, 6, 12, 100), (0, 3, 7)
  ):
    yield Timetable(per_epoch, total, eval_every, checkpoint_every)


def test_a_timetable_is_that_of_its_config():
  c = small.config_of(eval_every_epochs=0.5, checkpoint_every_steps=4)
  timetable = Timetable.of(c, Length(6, 30))
  assert timetable == Timetable(steps_per_epoch=6, total_steps=30, eval_every=3, checkpoint_every=4)
  assert timetable.length == Length(6, 30)
  assert Timetable.of(small.config_of(), Length(6, 30)) == Timetable(6, 30, 6, 0)


def test_a_run_is_evaluated_regularly_and_at_its_end():
  timetable = Timetable(6, 20, eval_every=6, checkpoint_every=0)
  assert [step for step in range(1, 21) if timetable.evaluates_at(step)] == [6, 12, 18, 20]
  assert [step for step in range(1, 21) if timetable.saves_at(step)] == [6, 12, 18, 20]


def test_a_run_is_saved_at_evaluations_and_between():
  timetable = Timetable(6, 20, eval_every=8, checkpoint_every=5)
  assert [step for step in range(1, 21) if timetable.evaluates_at(step)] == [8, 16, 20]
  assert [step for step in range(1, 21) if timetable.saves_at(step)] == [5, 8, 10, 15, 16, 20]
  assert timetable.saves_at(5) is True and timetable.saves_at(6) is False


@pytest.mark.parametrize(
  ("step", "expected"), [(0, 0), (1, 8), (7, 8), (8, 8), (9, 16), (17, 20), (20, 20)]
)
def test_the_first_evaluation_from_a_step_on(step, expected):
  assert Timetable(6, 20, eval_every=8, checkpoint_every=0).evaluation_from(step) == expected


@pytest.mark.parametrize(
  ("share", "expected"),
  [(1 / 9, 4), (1 / 3, 8), (0.42, 8), (0.43, 12), (0.5, 12), (0.9, 20), (1.0, 20)],
)
def test_the_first_evaluation_after_a_share_of_the_run(share, expected):
  """A share is rounded to steps, then taken up to an evaluation: 0.43 of 20 is 9, hence 12."""
  assert Timetable(6, 20, eval_every=4, checkpoint_every=0).evaluation_after(share) == expected


def test_the_next_stop_is_the_first_step_with_something_to_do():
  for timetable in timetables():
    for step in range(timetable.total_steps):
      later = range(step + 1, timetable.total_steps + 1)
      expected = next(stop for stop in later if timetable.saves_at(stop))
      assert timetable.next_stop(step) == expected, (timetable, step)


@pytest.mark.parametrize("limit", [0, 1, 2, 5, 6, 7, 13, 1000])
def test_chunks_reach_every_stop_and_cross_no_epoch_in_parts(limit):
  """From any step on, as a run goes on that a signal stopped in the midst of an epoch."""
  for timetable in timetables():
    for first in range(min(timetable.total_steps, 8)):
      step, case = first, (timetable, first)
      while step < timetable.total_steps:
        length = timetable.next_chunk(step, limit)
        assert 1 <= length.num_steps <= max(limit, 1), case
        assert step + length.num_steps <= timetable.next_stop(step), case
        offset = step % timetable.steps_per_epoch
        if length.epochs > 1:
          assert (offset, length.steps) == (0, timetable.steps_per_epoch), case
        else:
          assert offset + length.steps <= timetable.steps_per_epoch, case
        step += length.num_steps
      assert step == timetable.total_steps, case


def test_a_chunk_is_as_many_whole_epochs_as_there_may_be():
  timetable = Timetable(6, 600, eval_every=60, checkpoint_every=0)
  assert timetable.next_chunk(0, 1000) == (10, 6)
  assert timetable.next_chunk(12, 1000) == (8, 6)
  assert timetable.next_chunk(0, 20) == (3, 6)
  assert timetable.next_chunk(0, 6) == (1, 6)
  assert timetable.next_chunk(2, 1000) == (1, 4)


def test_parts_of_an_epoch_have_few_lengths():
  """Each length is a program to compile."""
  for per_epoch, limit in itertools.product((7, 100, 469), (1, 3, 50, 120)):
    timetable = Timetable(per_epoch, per_epoch, per_epoch, 0)
    step, lengths = 0, []
    while step < per_epoch:
      lengths.append(timetable.next_chunk(step, limit).steps)
      step += lengths[-1]
    assert max(lengths) - min(lengths) <= 1
    assert len(lengths) == -(-per_epoch // limit)
