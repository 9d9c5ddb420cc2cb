"""What a net says of pictures."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from mnist_mlp.errors import UsageError
from mnist_mlp.inference.fitting import SIZE
from mnist_mlp.inference.nets import Committee, Net
from mnist_mlp.inference.pictures import Prepared

LIKE_MNIST = ("mnist", "digits")  # datasets whose images are as `pictures.prepare` makes them

_LEAST_PROBABILITY = 0.5  # With a smaller one, the likeliest class is probably not right.


@dataclasses.dataclass(frozen=True)
class Prediction:
  """What a net says of a picture."""

  label: str | None  # the name of the likeliest class; None if there is no ink
  probabilities: dict[str, float]  # by the names of the classes; empty if there is no ink
  note: str  # 'no ink', 'probably no digit: ...', or ''


def check_takes_digits(net: Net | Committee) -> None:
  """Raises a UsageError unless the net was trained on images of MNIST's shape, 28x28x1."""
  if net.image_shape != (SIZE, SIZE, 1):
    shape = "x".join(map(str, net.image_shape))
    raise UsageError(
      f"the run in {net.folder.path} was trained on {net.facts['name']}, images of {shape}, but "
      f"pictures are made into images like MNIST's, {SIZE}x{SIZE}x1; give another --workdir"
    )


def classify(net: Net | Committee, pictures: Sequence[Prepared]) -> list[Prediction]:
  """Returns what the net says of each picture."""
  images = [picture.pixels for picture in pictures if picture.pixels is not None]
  rows = iter(net.probabilities(net.logits(np.stack(images))) if images else ())
  return [
    Prediction(None, {}, "no ink")
    if picture.pixels is None
    else _prediction(net.class_names, next(rows), picture.doubt)
    for picture in pictures
  ]


def _prediction(class_names: Sequence[str], row: np.ndarray, doubt: str) -> Prediction:
  by_name = dict(zip(class_names, row.tolist(), strict=True))
  label = max(by_name, key=by_name.__getitem__)
  if not doubt and by_name[label] < _LEAST_PROBABILITY:
    doubt = f"no class reaches {_LEAST_PROBABILITY:.0%}"
  return Prediction(label, by_name, doubt and f"probably no digit: {doubt}")
