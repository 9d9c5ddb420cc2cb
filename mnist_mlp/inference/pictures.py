"""Any picture of a digit -> what MNIST would have made of it -> label and probabilities.

MNIST's digits were cropped to their ink, fitted into 20x20 pixels with their aspect ratio kept and
their edges smoothed, and put with the centre of their mass in the centre of 28x28 (LeCun et al.
1998, section III.A). A net trained on MNIST knows nothing else, so that a picture has to go the
same way: `load_picture`, `prepare`, `classify`.
"""

import dataclasses
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict, FrozenConfigDict
from PIL import Image, ImageFilter, ImageOps, UnidentifiedImageError
from scipy import ndimage

from mnist_mlp.core import losses, steps
from mnist_mlp.core.metrics import TrainMetrics
from mnist_mlp.data.dataset import Dataset, Split
from mnist_mlp.errors import RunError, UsageError, listing
from mnist_mlp.run import checkpoint
from mnist_mlp.run.workdir import Workdir

LIKE_MNIST = ("mnist", "digits")  # datasets whose images are as `prepare` makes them

_SIZE, _BOX = 28, 20  # pixels: a side of an image, and of the square that a digit fills
_CENTRE = 14  # row and column, counted from 0, on which MNIST puts the centre of mass
_ZOOM = 8  # strokes are measured and mended at so many times the final resolution
_MOST_PIXELS = 512**2  # larger pictures are reduced to about this
_LEAST_SIDE = 5  # pixels, of anything that could be a digit
_LEAST_CONTRAST = 0.08  # of ink, as the share of the paper's light that it takes away
_DOTS = 1.5  # pixels, the blur's standard deviation that makes dots a gray
_LEAST_DOTTED = 56  # pixels, the shorter side of pictures that may be dithered
_LEAST_DOTS = 0.02  # share of their pixels that none of the four around is like
_PAPER_SIDE = 32  # pixels, at which the paper's brightness is measured
_THINNEST = 2.0  # pixels; the strokes of four in five MNIST images are wider

# What 'probably no digit' means. By its shape, it is one of MNIST's 60,000 training images.
_LEAST_PROBABILITY = 0.5
_WIDEST = 2.5  # width over height
_FULLEST = 0.85  # share of the box that is ink, unless the box is as narrow as a one
_MOST_PARTS = 6  # strokes that do not touch


class Prepared(NamedTuple):
  """A picture as a net is shown it."""

  pixels: np.ndarray | None  # uint8 [28, 28, 1], light ink on black; None without ink
  doubt: str  # why this is probably no digit, as far as its shape tells, or ''


@dataclasses.dataclass(frozen=True)
class Prediction:
  """What a net says of a picture."""

  label: str | None  # the name of the likeliest class; None without ink
  probabilities: dict[str, float]  # by class name; empty without ink
  note: str  # 'no ink', 'probably no digit: ...', or ''


@dataclasses.dataclass(frozen=True)
class Run:
  """A run's net, as one of its checkpoints holds it."""

  folder: Workdir
  config: ConfigDict
  facts: dict[str, Any]  # dataset.json
  state: steps.TrainState
  step: int

  @property
  def class_names(self) -> list[str]:
    """The names of the classes, in the order of the logits."""
    return self.facts["class_names"]

  @property
  def image_shape(self) -> tuple[int, int, int]:
    """(H, W, C)."""
    return tuple(self.facts["image_shape"])

  def logits(self, images: np.ndarray) -> np.ndarray:
    """Returns float32 [N, classes] for uint8 [N, H, W, C]; of averaged weights, if evaluated so."""
    return np.asarray(
      steps.predict_logits(self.state, images, config=FrozenConfigDict(self.config))
    )

  def probabilities(self, logits: np.ndarray) -> np.ndarray:
    """Returns float64 [N, classes], rows that sum to 1, as the run's loss reads its logits."""
    logits = np.asarray(logits, np.float64)
    if self.config.loss.name == "squared_error":  # Its logits estimate the probabilities.
      scores = np.clip(logits, 1e-6, None)
    elif self.config.loss.name == "sigmoid_cross_entropy":
      scores = 1 / (1 + np.exp(-np.clip(logits, -500, 500)))
    else:
      scores = np.exp(logits - logits.max(-1, keepdims=True))
    return scores / scores.sum(-1, keepdims=True)

  def losses(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns float32 [N], the run's loss of each example."""
    return np.asarray(
      losses.configured(self.config.loss, logits, labels, self.state.scalars["label_smoothing"])
    )

  @property
  def members(self) -> tuple["Run"]:
    """Itself, as if it were a committee."""
    return (self,)


@dataclasses.dataclass(frozen=True)
class Committee:
  """Several runs' nets, whose probabilities are averaged (Meier et al. 2011); used like a run."""

  members: tuple[Run, ...]

  @property
  def first(self) -> Run:
    """The member whose data and folder stand for those of all."""
    return self.members[0]

  def logits(self, images: np.ndarray) -> np.ndarray:
    """Returns float64 [N, classes], logarithms of the mean probabilities."""
    members = [member.probabilities(member.logits(images)) for member in self.members]
    return np.log(np.maximum(np.mean(members, axis=0), np.finfo(np.float64).tiny))

  def probabilities(self, logits: np.ndarray) -> np.ndarray:
    """Returns float64 [N, classes], rows that sum to 1."""
    return np.exp(logits)

  def losses(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns float64 [N], the cross-entropy of each example, whatever the members' loss is."""
    return -logits[np.arange(len(labels)), labels]

  folder = property(lambda self: self.first.folder)
  config = property(lambda self: self.first.config)
  facts = property(lambda self: self.first.facts)
  class_names = property(lambda self: self.first.class_names)
  image_shape = property(lambda self: self.first.image_shape)


def load_nets(workdirs: Sequence[str | os.PathLike], *, best: bool = False) -> Run | Committee:
  """Returns the net of a run, or the committee of several.

  Args:
    workdirs: the folders of the runs, at least one.
    best: takes the checkpoints of the best validation accuracy rather than the last.

  Raises:
    UsageError, RunError: as `load_run`; or the runs were trained on different data.
  """
  members = tuple(load_run(workdir, best=best) for workdir in workdirs)
  for member in members[1:]:
    if member.facts["fingerprint"] != members[0].facts["fingerprint"]:
      raise UsageError(
        f"a committee needs runs on the same data, but {member.folder.path} was trained on other "
        f"data ({member.facts['name']}) than {members[0].folder.path} "
        f"({members[0].facts['name']})"
      )
  return Committee(members) if len(members) > 1 else members[0]


def load_run(workdir: str | os.PathLike, *, best: bool = False) -> Run:
  """Returns the net of a run, finished or not, without its data; writes nothing.

  Args:
    workdir: the run's folder.
    best: takes the checkpoint of the best validation accuracy rather than the last.

  Raises:
    UsageError: the folder is not there, or not a run's.
    RunError: the run has no checkpoint yet, or its files are damaged.
  """
  folder = Workdir(workdir)
  config = folder.config()
  if config is None:
    raise UsageError(_no_run(folder.path))
  facts = folder.read_json("dataset.json")
  checkpoints = folder.path / "checkpoints"
  if facts is None or not os.path.isdir(checkpoints):
    raise RunError(f"the run in {folder.path} has no checkpoint yet; train it first")
  try:
    state = jax.eval_shape(steps.initializer(config, _placeholder(facts)), steps.traced(config))
  except (KeyError, TypeError, ValueError) as error:
    raise RunError(
      f"{folder.path / 'dataset.json'} is damaged: it does not describe a dataset"
    ) from error
  step, (state, _) = checkpoint.read(checkpoints, (state, TrainMetrics.empty()), best=best)
  return Run(folder, config, facts, state, step)


def _no_run(path: Path) -> str:
  if not os.path.isdir(path):
    return f"the workdir {path} does not exist; give the --workdir of a run"
  files = [*path.glob("*/config.json"), *path.glob("*/*/config.json")]  # A sweep's lie deeper.
  runs = sorted(str(file.parent) for file in files)
  hint = f"; there are {listing(runs[:5])}" if runs else ""
  return f"the workdir {path} holds no run: it has no config.json{hint}"


def _placeholder(facts: dict[str, Any]) -> Dataset:
  """Returns a dataset of the run's sizes, all zeros that take no memory."""

  def split(name):
    count = facts["examples"][name]
    return Split(
      np.broadcast_to(np.uint8(0), (count, *facts["image_shape"])),
      np.broadcast_to(np.int32(0), (count,)),
    )

  return Dataset(
    name=facts["name"],
    version=facts["version"],
    train=split("train"),
    validation=split("validation"),
    test=split("test"),
    class_names=tuple(facts["class_names"]),
    fingerprint=facts["fingerprint"],
    stand_in_for=facts["stand_in_for"],
    source="",
  )


def check_takes_digits(run: Run | Committee) -> None:
  """Raises a UsageError unless the run was trained on images like MNIST's, 28x28x1."""
  if run.image_shape != (_SIZE, _SIZE, 1):
    shape = "x".join(map(str, run.image_shape))
    raise UsageError(
      f"the run in {run.folder.path} was trained on {run.facts['name']}, images of {shape}, but "
      "pictures are made into images like MNIST's, 28x28x1; give another --workdir"
    )


def classify(run: Run | Committee, pictures: Sequence[Prepared]) -> list[Prediction]:
  """Returns what the net says of each picture."""
  images = [picture.pixels for picture in pictures if picture.pixels is not None]
  rows = iter(run.probabilities(run.logits(np.stack(images))) if images else ())
  return [
    _read(run, next(rows), picture.doubt)
    if picture.pixels is not None
    else Prediction(None, {}, "no ink")
    for picture in pictures
  ]


def _read(run: Run | Committee, row: np.ndarray, doubt: str) -> Prediction:
  by_name = dict(zip(run.class_names, row.tolist(), strict=True))
  label = max(by_name, key=by_name.get)
  if not doubt and by_name[label] < _LEAST_PROBABILITY:
    doubt = f"no class reaches {_LEAST_PROBABILITY:.0%}"
  return Prediction(label, by_name, doubt and f"probably no digit: {doubt}")


def load_picture(source: str | os.PathLike | BinaryIO, name: str = "") -> Image.Image:
  """Returns a picture, of any mode, the way up that its EXIF data say; an animation's first frame.

  Args:
    source: a path, or a file that is open for reading bytes.
    name: what to call it in messages; by default its path.

  Raises:
    RunError: it is not there or cannot be read, is no picture, is damaged, or has more pixels than
      Pillow takes for safe.
  """
  name = name or str(source)
  if isinstance(source, str | os.PathLike):
    if os.path.exists(source) and not os.path.isfile(source):
      raise RunError(f"{name} is not a file")
    try:
      with open(source, "rb") as file:
        return load_picture(file, name)
    except FileNotFoundError as error:
      raise RunError(f"{name} does not exist") from error
    except OSError as error:
      raise RunError(f"{name} cannot be read: {error.strerror}") from error
  if not source.read(1):
    raise RunError(f"{name} is empty")
  source.seek(0)
  try:
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")  # About odd metadata.
      warnings.simplefilter("error", Image.DecompressionBombWarning)
      image = Image.open(source)
      image.load()
      return ImageOps.exif_transpose(image)
  except UnidentifiedImageError as error:
    raise RunError(f"{name} is not a picture of a known format") from error
  except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
    raise RunError(
      f"{name} has more than {Image.MAX_IMAGE_PIXELS:,} pixels; make it smaller"
    ) from error
  except Exception as error:  # Whatever a decoder trips over.
    raise RunError(f"{name} is damaged: {error}") from error


def prepare(image: Image.Image) -> Prepared:
  """Returns what MNIST would have made of a picture, whatever its mode, size and polarity.

  An image that looks like MNIST's already, or like their negative, is left as it is.
  """
  gray = _to_gray(to_rgb(_undithered(image)))
  if max(gray.shape) < _LEAST_SIDE:
    return Prepared(None, "")
  pixels = _like_mnist(gray)
  if pixels is None:
    ink = _find_ink(gray)
    if ink is None:
      return Prepared(None, "")
    pixels = _centred(_reduced(_mended(_enlarged(ink))))
  return Prepared(pixels[:, :, None], _doubt(pixels))


def _undithered(image: Image.Image) -> Image.Image:
  """Returns a picture of any mode; where dots of two colours show gray, they are blended."""
  if (
    image.mode not in ("1", "L", "P", "RGB")
    or image.has_transparency_data
    or min(image.size) < _LEAST_DOTTED
    or image.getcolors(2) is None
  ):
    return image
  light = np.asarray(image.convert("L")) > 127
  lit = ndimage.convolve(light.astype(np.uint8), ndimage.generate_binary_structure(2, 1))
  dots = np.where(light, lit == 1, lit == 4)
  if dots.mean() < _LEAST_DOTS:
    return image
  return image.convert("RGB").filter(ImageFilter.GaussianBlur(_DOTS))


def to_rgb(image: Image.Image) -> Image.Image:
  """Returns a picture of any mode as RGB, or RGBA if parts are transparent, about 512x512 at most.

  16 and 32 bit values, whose range nothing tells, are stretched to the full one.
  """
  if image.mode[0] in "IF":
    values = np.nan_to_num(np.asarray(image, np.float64), posinf=0.0, neginf=0.0)
    span = values.max() - values.min()
    image = Image.fromarray(np.round(255 * (values - values.min()) / (span or 1)).astype(np.uint8))
  if image.mode == "LAB":
    image = image.getchannel("L")
  image = image.convert("RGBA" if image.has_transparency_data else "RGB")
  factor = int(np.ceil(np.sqrt(image.width * image.height / _MOST_PIXELS)))
  return image.reduce(factor) if factor > 1 else image


def _to_gray(image: Image.Image) -> np.ndarray:
  """Returns the brightness of an RGB or RGBA picture, float32 [H, W] in [0, 1].

  Colours are projected on the direction in which they vary most, so that red ink on a green wall
  shows as well as black ink on paper.
  """
  colors = np.asarray(image, np.float32) / 255
  if colors.shape[-1] == 4:
    colors = _on_paper(colors)
  flat = colors.reshape(-1, 3)
  deviations = flat - flat.mean(0)
  direction = np.linalg.eigh(deviations.T @ deviations)[1][:, -1]
  direction = direction * (np.sign(direction.sum()) or 1.0) / np.abs(direction).sum()
  return colors @ direction - np.minimum(direction, 0).sum(dtype=np.float32)


def _on_paper(colors: np.ndarray) -> np.ndarray:
  """Returns [H, W, 3] for [H, W, 4]: what is transparent shows the paper."""
  colors, opacity = colors[:, :, :3], colors[:, :, 3:]
  opaque = colors[opacity[:, :, 0] > 0.5]
  if not len(opaque):
    paper = np.zeros(3, np.float32)
  elif opaque.mean(-1).std() > 0.1:  # The opaque part holds ink and paper.
    paper = np.median(opaque, axis=0)
  else:  # It holds ink only.
    paper = np.full(3, float(opaque.mean() < 0.5), np.float32)
  return colors * opacity + paper * (1 - opacity)


def _like_mnist(gray: np.ndarray) -> np.ndarray | None:
  """Returns the image, uint8 [28, 28], if it or its negative is fitted and centred like MNIST's."""
  if gray.shape != (_SIZE, _SIZE):
    return None
  for candidate in (gray, 1 - gray):
    ink = np.where(candidate > 0.1, candidate, 0)  # Compressed pictures are not quite black.
    if ink.max() < 0.9 or np.median(ink):
      continue
    side = max(part.stop - part.start for part in _box(ink > 0))
    if (
      _BOX - 2 <= side <= _BOX
      and np.abs(np.subtract(ndimage.center_of_mass(ink), _CENTRE)).max() < 0.7
    ):
      return np.round(255 * candidate).astype(np.uint8)
  return None


def _find_ink(gray: np.ndarray) -> np.ndarray | None:
  """Returns the digit's ink, float32 in [0, 1], cropped; None if there is none.

  Ink is what takes light from the paper around it, by more than noise can explain.
  """
  paper = _paper(gray)
  if ((gray - paper) ** 3).sum() > 0:  # Light ink: the cube makes its few, strong pixels decide.
    gray, paper = 1 - gray, 1 - paper
  ink = (paper - gray) / np.maximum(paper, 0.1)
  # The standard deviation, were it normal; by a quartile, since up to half may be ink.
  noise = np.quantile(np.abs(ink), 0.25) / 0.319
  darkest = min(max(8, ink.size // 5000), ink.size)
  full = np.partition(ink, -darkest, axis=None)[-darkest]
  if full < max(_LEAST_CONTRAST, 4 * noise):
    return None
  strokes = _strokes(ink, max(0.15 * full, 3 * noise), 0.6 * full)
  if strokes is None:
    return None
  low = max(0.12 * full, 2 * noise)
  near = ndimage.binary_dilation(strokes, iterations=2)
  ink = np.where(near, np.clip((ink - low) / (0.8 * full - low), 0, 1), 0).astype(np.float32)
  return ink[_box(ink > 0.35)]


def _paper(gray: np.ndarray) -> np.ndarray:
  """Returns the brightness that each pixel would have without ink, like `gray`.

  A median over four fifths of the picture: fat strokes hardly move it, and it follows shadows.
  """
  height, width = gray.shape
  scale = min(1.0, _PAPER_SIDE / max(height, width))
  small = _resize(
    gray, max(1, round(height * scale)), max(1, round(width * scale)), Image.Resampling.BOX
  )
  window = [2 * (2 * side // 5) + 1 for side in small.shape]
  paper = ndimage.median_filter(small, size=window, mode="nearest")
  return _resize(paper, height, width, Image.Resampling.BILINEAR)


def _strokes(ink: np.ndarray, low: float, high: float) -> np.ndarray | None:
  """Returns the mask, bool [H, W], of the digit's strokes; None if there are none.

  A stroke is connected ink above `low`, somewhere above `high`, and no mere speck. What touches the
  picture's edge, like the edge of the paper, does not count beside something large that does not.
  """
  labels, count = ndimage.label(ink > low, np.ones((3, 3)))
  if not count:
    return None
  strong = np.isin(np.arange(count + 1), labels[ink > high])
  mass = (strong * np.bincount(labels.ravel(), np.clip(ink, 0, None).ravel()))[1:]
  boxes = ndimage.find_objects(labels)
  inner = np.array(
    [
      all(part.start > 0 and part.stop < side for part, side in zip(box, ink.shape, strict=True))
      for box in boxes
    ]
  )
  heights = np.array([box[0].stop - box[0].start for box in boxes])
  if (inner & (mass > 0) & (heights >= ink.shape[0] / 4)).any():
    mass = mass * inner
  heaviest = boxes[mass.argmax()]
  if not mass.any() or max(part.stop - part.start for part in heaviest) < _LEAST_SIDE:
    return None
  return np.concatenate([[False], mass >= 0.03 * mass.max()])[labels]


def _enlarged(ink: np.ndarray) -> np.ndarray:
  """Returns the ink as black or white, bool, its longer side _ZOOM * _BOX pixels."""
  ink = np.pad(ink, 1)
  scale = _ZOOM * _BOX / max(ink.shape)
  mask = (
    _resize(ink, *(max(1, round(side * scale)) for side in ink.shape), Image.Resampling.BICUBIC)
    > 0.35
  )
  return mask[_box(mask)]


def _mended(mask: np.ndarray) -> np.ndarray:
  """Returns the mask with strokes as wide as MNIST's at the least, since pens differ."""
  padded = np.pad(mask, _ZOOM * _BOX // 8)
  # Distances are to the nearest pixel outside, half a pixel beyond the edge; to the edge itself, a
  # stroke's are a quarter of its width on average.
  width = 4 * (ndimage.distance_transform_edt(padded)[padded].mean() - 0.5) / _ZOOM
  if width >= _THINNEST:
    return mask
  wider = ndimage.distance_transform_edt(~padded) <= _ZOOM * (_THINNEST - width) / 2
  return wider[_box(wider)]


def _reduced(mask: np.ndarray) -> np.ndarray:
  """Returns the mask with its longer side reduced to 20 pixels, float32 in [0, 1]."""
  scale = _BOX / max(mask.shape)
  return _resize(mask, *(max(1, round(side * scale)) for side in mask.shape), Image.Resampling.BOX)


def _centred(digit: np.ndarray) -> np.ndarray:
  """Returns the digit, its longer side 20 pixels, in the middle of a uint8 [28, 28] image."""
  corner = [
    int(np.clip(round(_CENTRE - centre), 0, _SIZE - side))
    for centre, side in zip(ndimage.center_of_mass(digit), digit.shape, strict=True)
  ]
  pixels = np.zeros((_SIZE, _SIZE), np.uint8)
  (top, left), (height, width) = corner, digit.shape
  pixels[top : top + height, left : left + width] = np.round(255 * np.clip(digit, 0, 1))
  return pixels


def _doubt(pixels: np.ndarray) -> str:
  """Returns why an image, uint8 [28, 28], has not the shape of a digit, or ''."""
  mask = pixels > 127
  if not mask.any():
    return "too little ink"
  rows, columns = _box(mask)
  height, width = rows.stop - rows.start, columns.stop - columns.start
  parts = ndimage.label(mask, np.ones((3, 3)))[1]
  if width > _WIDEST * height:
    return f"it is {width / height:.1f} times as wide as high"
  if width > height / 2 and mask[rows, columns].mean() > _FULLEST:
    return "it is solid"
  if parts > _MOST_PARTS:
    return f"it is in {parts} pieces"
  return ""


def _box(mask: np.ndarray) -> tuple[slice, slice]:
  """Returns the rows and columns of the smallest box around a mask that is not empty."""
  rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
  return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _resize(array: np.ndarray, height: int, width: int, how: Image.Resampling) -> np.ndarray:
  picture = Image.fromarray(np.ascontiguousarray(array, np.float32))
  return np.asarray(picture.resize((width, height), how))
