"""Intervals as in mathematics, '[0, 1)': what a number of the config may be."""

import array
import math


def inside(value: float, interval: str) -> bool:
  """Returns whether a number lies in an interval; '[' includes its bound and '(' excludes it."""
  low, high = (float(bound) for bound in interval[1:-1].split(","))
  above = value >= low if interval[0] == "[" else value > low
  below = value <= high if interval[-1] == "]" else value < high
  return above and below


def as_float32(value: float) -> float:
  """Returns the number as the program will hold it: 0.99999999 becomes 1."""
  try:
    return array.array("f", [value])[0]
  except OverflowError:  # an int beyond any float
    return math.inf
