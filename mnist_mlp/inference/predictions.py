"""What a net says of pictures."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from mnist_mlp.inference.nets import Committee, Net
from mnist_mlp.inference.pictures import Prepared
from mnist_mlp.inference.ways import PICTURES, STROKES, knows_strokes, oriented, way_of

_LEAST_PROBABILITY = 0.5  # With a smaller one, the likeliest class is probably not right.


@dataclasses.dataclass(frozen=True)
class Prediction:
  """What a net says of a picture."""

  label: str | None  # the name of the likeliest class; None if there is no ink
  probabilities: dict[str, float]  # by the names of the classes; empty if there is no ink
  note: str  # 'no ink', 'probably no digit: ...', what was left out or is odd, ''


def cautions(net: Net | Committee, way: str | None = None) -> list[str]:
  """Returns sentences that say why the net may be wrong about any picture.

  Args:
    net: which is asked.
    way: how pictures become images; by default that of `ways.way_of`.
  """
  way = way or way_of(net)
  found, name = [], net.facts["name"]
  shape = "x".join(map(str, net.image_shape))
  if way == STROKES and not knows_strokes(net):
    found.append(
      "pictures are made into images like MNIST's, upright digits of light ink on black; if those "
      f"of {name} are not like that, do not trust what the net says"
    )
  elif way == PICTURES and not net.config.data.files:
    found.append(
      f"pictures are resized to {shape} as they are; the net knows no others than those of {name}"
    )
  if net.facts.get("stand_in_for"):
    found.append(
      f"the net was trained on {name}, {net.facts['examples']['train']:,} images, which stood in "
      f"for {net.facts['stand_in_for']}; it is wrong more often than a net of "
      f"{net.facts['stand_in_for']}"
    )
  found += [
    f"the run {member.folder.path} is not finished: its net is that of step {member.step:,}, and "
    "how sure it is has not been calibrated"
    for member in net.members
    if member.folder.result() is None
  ]
  return found


def classify(net: Net | Committee, pictures: Sequence[Prepared]) -> list[Prediction]:
  """Returns what the net says of each picture. Digits are upright, as `prepare` gives them."""
  pictures = [oriented(net, picture) for picture in pictures]
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
  if doubt and picture.is_digit:
    doubt = f"probably no digit: {doubt}"
  notes = [doubt, *picture.remarks] if doubt else picture.remarks
  return Prediction(label, by_name, "; ".join(notes))
