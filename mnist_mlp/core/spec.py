"""What the core knows of data: examples as arrays, and a few facts about a dataset."""

import dataclasses
from typing import Any, NamedTuple


class Examples(NamedTuple):
  """Examples: a whole split, or one batch of it. Arrays of NumPy or of JAX."""

  images: Any  # uint8 [N, H, W, C]
  labels: Any  # int32 [N], in 0..num_classes - 1

  @property
  def num_examples(self) -> int:
    """N."""
    return len(self.labels)


@dataclasses.dataclass(frozen=True)
class DataSpec:
  """All that a net and its training depend on of a dataset, besides the examples themselves."""

  image_shape: tuple[int, int, int]  # (H, W, C)
  num_classes: int
  num_train: int  # examples to train on
  # Mean and standard deviation of all training pixels, in 0..255. Only the initial state of a net
  # with config.model.inputs = 'standardized' needs them; a trained state holds its own.
  pixel_mean: float = 0.0
  pixel_std: float = 1.0
