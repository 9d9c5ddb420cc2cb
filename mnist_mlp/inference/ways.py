"""How a picture becomes an image for a net: as NIST made MNIST, or as training read its files.

What a net was trained on decides. A net that knows pen strokes gets a digit as MNIST would have it,
whatever the paper, the pen and the light. Any other net gets the whole picture, resized as own
files are for training.
"""

from collections.abc import Callable

from PIL import Image

from mnist_mlp.data import pictures
from mnist_mlp.errors import UsageError, did_you_mean, listing
from mnist_mlp.inference.fitting import SIZE
from mnist_mlp.inference.nets import Committee, Net
from mnist_mlp.inference.pictures import Prepared, prepare

STROKES, PICTURES = WAYS = ("strokes", "pictures")

# Datasets of TFDS, and our own, that are pen strokes. A run of an earlier version does not say so.
_OF_STROKES = ("mnist", "digits", "emnist")

Prepare = Callable[[Image.Image, str], Prepared]  # of a picture and its name for messages


def way_of(net: Net | Committee, given: str | None = None) -> str:
  """Returns the way of pictures to a net, STROKES or PICTURES.

  Args:
    net: whose members were all trained on the same data.
    given: the way that the user wants; by default what the net was trained on decides.

  Raises:
    UsageError: there is no such way, or a net of this shape cannot have it.
  """
  if given is None:
    return STROKES if _takes_strokes(net) else PICTURES
  if given not in WAYS:
    raise UsageError(
      f"--as is {given!r}, which is not one of {listing(WAYS)}{did_you_mean(given, WAYS)}"
    )
  if given == STROKES:
    check_takes_digits(net)
  return given


def _takes_strokes(net: Net | Committee) -> bool:
  if net.image_shape != (SIZE, SIZE, 1):
    return False
  # Runs on own files of an earlier version do not say what they show; digits were assumed.
  return knows_strokes(net) or (_measured(net) is None and bool(net.config.data.files))


def knows_strokes(net: Net | Committee) -> bool:
  """Returns whether it is sure that the net was trained on pen strokes, as MNIST's are."""
  measured = _measured(net)
  if measured is None:
    return _base_name(net) in _OF_STROKES
  return measured


def _measured(net: Net | Committee) -> bool | None:
  """Returns what dataset.json says of the images; None if an earlier version wrote it.

  The members of a committee were trained on the same images, but maybe by several versions.
  """
  found = [member.facts.get("pen_strokes") for member in net.members]
  return next((one for one in found if isinstance(one, bool)), None)


def _base_name(net: Net | Committee) -> str:
  """Returns 'emnist' of 'emnist/letters'; '' for own files, which may be called like that."""
  return "" if net.config.data.files else net.facts["name"].partition("/")[0]


def check_takes_digits(net: Net | Committee) -> None:
  """Raises a UsageError unless the net was trained on images of MNIST's shape, 28x28x1."""
  if net.image_shape != (SIZE, SIZE, 1):
    shape = "x".join(map(str, net.image_shape))
    raise UsageError(
      f"the run in {net.folder.path} was trained on {net.facts['name']}, images of {shape}, but "
      f"pen strokes are made into images like MNIST's, {SIZE}x{SIZE}x1; give another --workdir"
    )


def preparer(net: Net | Committee, way: str) -> Prepare:
  """Returns the function that makes of a picture, and its name for messages, what the net sees.

  Raises:
    UsageError: pictures have no such channels as the net's images have.
  """
  if way == STROKES:
    return _strokes
  if net.image_shape[-1] not in (1, 3):
    raise UsageError(
      f"the run in {net.folder.path} was trained on images of {net.image_shape[-1]} channels, but "
      "pictures are made gray or RGB; give another --workdir"
    )
  return Whole(net.image_shape)


def oriented(net: Net | Committee, prepared: Prepared) -> Prepared:
  """Returns an upright digit as the images lie that the net was trained on.

  TFDS leaves EMNIST's images as they were published: rows and columns are swapped.
  """
  if prepared.pixels is None or not prepared.is_digit or _base_name(net) != "emnist":
    return prepared
  return prepared._replace(pixels=prepared.pixels.swapaxes(0, 1))


def _strokes(image: Image.Image, name: str) -> Prepared:
  del name  # Every picture can be prepared.
  return prepare(image)


class Whole:
  """Makes of whole pictures what training makes of own files."""

  def __init__(self, image_shape: tuple[int, int, int]):
    """Takes the shape, (H, W, C), that pictures are brought to."""
    self._shape = image_shape

  def __call__(self, image: Image.Image, name: str) -> Prepared:
    """Returns a picture of any size; raises a RunError for modes that training refuses."""
    plain = pictures.plain(image, name)
    return Prepared(pictures.shaped(plain, *self._shape), "", is_digit=False)
