"""What a net says of pictures."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from mnist_mlp.errors import UsageError
from mnist_mlp.inference.fitting import SIZE
from mnist_mlp.inference.nets import Committee, Net
from mnist_mlp.inference.pictures import Prepared

# Datasets of TFDS, and our own, whose images are as `pictures.prepare` makes them.
_LIKE_MNIST = ("mnist", "digits")

_LEAST_PROBABILITY = 0.5  # With a smaller one, the likeliest class is probably not right.


@dataclasses.dataclass(frozen=True)
class Prediction:
  """What a net says of a picture."""

  label: str | None  # the name of the likeliest class; None if there is no ink
  probabilities: dict[str, float]  # by the names of the classes; empty if there is no ink
  note: str  # 'no ink', 'probably no digit: ...', what was left out or is odd; or ''


def check_takes_digits(net: Net | Committee) -> None:
  """Raises a UsageError unless the net was trained on images of MNIST's shape, 28x28x1."""
  if net.image_shape != (SIZE, SIZE, 1):
    shape = "x".join(map(str, net.image_shape))
    raise UsageError(
      f"the run in {net.folder.path} was trained on {net.facts['name']}, images of {shape}, but "
      f"pictures are made into images like MNIST's, {SIZE}x{SIZE}x1; give another --workdir"
    )


def cautions(net: Net | Committee) -> list[str]:
  """Returns sentences that say why the net may be wrong about any picture.

  The user's own files may be called like a dataset of TFDS. The config tells them apart.
  """
  found, name = [], net.facts["name"]
  own = all(member.config.data.files for member in net.members)
  if own or name not in _LIKE_MNIST:
    found.append(
      "pictures are made into images like MNIST's, upright digits of light ink on black; if those "
      f"of {name} are not like that, do not trust what the net says"
    )
  if net.facts.get("stand_in_for"):
    found.append(
      f"the net was trained on {name}, {net.facts['examples']['train']:,} images, which stood in "
      f"for {net.facts['stand_in_for']}; it is wrong more often than a net of "
      f"{net.facts['stand_in_for']}"
    )
  return found


def classify(net: Net | Committee, pictures: Sequence[Prepared]) -> list[Prediction]:
  """Returns what the net says of each picture."""
  images = [picture.pixels for picture in pictures if picture.pixels is not None]
  rows = iter(net.probabilities(net.logits(np.stack(images))) if images else ())
  return [
    Prediction(None, {}, "no ink")
    if picture.pixels is None
    else _prediction(net.class_names, next(rows), picture)
    for picture in pictures
  ]


def _prediction(class_names: Sequence[str], row: np.ndarray, picture: Prepared) -> Prediction:
  by_name, doubt = dict(zip(class_names, row.tolist(), strict=True)), picture.doubt
  label = max(by_name, key=by_name.__getitem__)
  if not doubt and by_name[label] < _LEAST_PROBABILITY:
    doubt = f"no class reaches {_LEAST_PROBABILITY:.0%}"
  notes = [f"probably no digit: {doubt}", *picture.remarks] if doubt else picture.remarks
  return Prediction(label, by_name, "; ".join(notes))
