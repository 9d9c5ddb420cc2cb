"""Drawings as the page sends them."""

import numpy as np


def one(size=140):
  """Returns the ink of a 1, uint8 [size, size]."""
  ink = np.zeros((size, size), np.uint8)
  ink[size // 7 : -size // 7, size * 9 // 20 : size * 11 // 20] = 255
  return ink
