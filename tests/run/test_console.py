"""Numbers and durations as a line shows them."""

import pytest

from mnist_mlp.run import console


@pytest.mark.parametrize(
  ("number", "text"), [(3.0, "3"), (2.9996, "3"), (0.3007, "0.3"), (12.25, "12.25"), (120.0, "120")]
)
def test_numbers_are_rounded_as_people_read_them(number, text):
  assert console.rounded(number) == text


@pytest.mark.parametrize(
  ("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (190, "3:10"), (3790.2, "1:03:10")]
)
def test_durations_are_minutes_and_hours(seconds, text):
  assert console.clock(seconds) == text
