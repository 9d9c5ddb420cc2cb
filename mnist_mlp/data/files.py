"""One's own files as a TFDS dataset: a folder in one of three formats, told apart by what it holds.

    IDX files      train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and
                   t10k-labels-idx1-ubyte, each as it is or with .gz, '.idx' as good as '-idx'
    Parquet files  *.parquet, with 'train' or 'test' in the name or that of a sub folder; column
                   'image', PNG or JPEG as bytes or as a struct with 'bytes', and 'label', integers
    pictures       train/CLASS/*.png and test/CLASS/*.png, or JPEG

Labels are 0 to n - 1, all of which train must have; picture folders are sorted for that, by number
if all their names are numbers. All pictures have one size, and are all grayscale or all RGB.
"""

import dataclasses
import functools
import glob
import gzip
import hashlib
import io
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mnist_mlp.errors import RunError, UsageError, listing

_VERSION = "1.0.0"  # goes up when the same files would give other examples
_SPLITS = ("train", "test")
_COLUMNS = ("image", "label")
_IDX_NAME = re.compile(r"(train|t10k)-(images[-.]idx3|labels[-.]idx1)-ubyte(\.gz)?")
_SPLIT_NAME = re.compile(r"(?<![a-z])(train|test)(?:ing)?(?![a-z])")
_MODES = {"1": "L", "L": "L", "P": "RGB", "RGB": "RGB"}  # Pillow's; and as what they are kept
_BATCH = 1000  # rows of a Parquet file in memory

_Row = tuple[str, Any, int]  # where it is; uint8 [H, W, C], or the bytes of a picture file; label


@dataclasses.dataclass(frozen=True)
class Source:
  """A folder with files of a known format, whose content has not been looked at yet."""

  root: Path  # absolute
  kind: str  # a key of _FORMATS
  files: dict[str, list[Path]]  # by split
  key: str  # TFDS's name for it; another one whenever a file changes
  manual_dir = ""  # TFDS downloads nothing for it.

  @property
  def name(self) -> str:
    """The name of the folder."""
    return self.root.name or "files"

  def origin(self, *unused: Any) -> str:
    """Returns in words what the dataset is made of."""
    del unused
    return f"the {self.kind} in {self.root}"

  @functools.cached_property
  def class_names(self) -> tuple[str, ...]:
    """What the labels 0 to n - 1 are called.

    Raises:
      RunError: the labels, or the files that hold them, are not as they must be.
    """
    return _FORMATS[self.kind][1](self)

  @functools.cached_property
  def image_shape(self) -> tuple[int, int, int]:
    """(H, W, C) of train's first picture."""
    return next(self.examples("train", None))[1]["image"].shape

  def examples(
    self, split: str, shape: tuple[int, int, int] | None
  ) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields (0, {'image': uint8 [H, W, C], 'label': int}), (1, ...), ..., in the files' order.

    Raises:
      RunError: a row's picture cannot be decoded, or is not of the shape, unless that is None.
    """
    for index, (where, picture, label) in enumerate(_FORMATS[self.kind][2](self, split)):
      image = picture if isinstance(picture, np.ndarray) else _decode(picture, where)
      if shape not in (None, image.shape):
        raise RunError(
          f"{where} is {_size(image.shape)}, but the first one of train is {_size(shape)}, "
          "height x width x channels; all pictures must be alike"
        )
      yield index, {"image": image, "label": label}

  def builder(self, folder: Path) -> Any:
    """Returns the TFDS builder for a data folder.

    Raises:
      RunError: the files are not as they must be, as far as that shows without reading all of them.
    """
    import tensorflow_datasets as tfds

    names, shape = list(self.class_names), self.image_shape
    return tfds.dataset_builders.AdhocBuilder(
      name=self.key,
      version=_VERSION,
      features=tfds.features.FeaturesDict(
        {"image": tfds.features.Image(shape=shape), "label": tfds.features.ClassLabel(names=names)}
      ),
      split_datasets={split: self.examples(split, shape) for split in _SPLITS},
      data_dir=folder,
      description=f"Made of {self.origin()}.",
    )

  def superseded(self, folder: Path) -> list[Path]:
    """Returns what was prepared, here or in `folder`'s cache, from earlier states of the files."""
    pattern = self.key.rpartition("_")[0] + "_*"
    found = [*folder.glob(pattern), *(folder / "mnist_mlp").glob(pattern)]
    return [path for path in found if path.name != self.key]


def find(folder: str) -> Source:
  """Returns the source that `config.data.files` names; reads no file.

  Raises:
    UsageError: it is not a folder, or not one of exactly one known format with both splits.
    RunError: it cannot be read.
  """
  root = Path(os.path.abspath(Path(folder).expanduser()))
  if not os.path.isdir(root):
    raise UsageError(f"config.data.files is {folder!r}, which is not a folder")
  try:
    found = {kind: files for kind, (search, *_) in _FORMATS.items() if (files := search(root))}
    if not found:
      raise UsageError(
        f"config.data.files: {root} holds neither IDX files (train-images-idx3-ubyte, ...), nor "
        "Parquet files (*.parquet), nor folders of pictures (train/CLASS/*.png)"
      )
    if len(found) > 1:
      raise UsageError(
        f"config.data.files: {root} holds {' as well as '.join(found)}; "
        "move those that are not meant"
      )
    ((kind, files),) = found.items()
    for split, other in (_SPLITS, _SPLITS[::-1]):
      if not files.get(split):
        raise UsageError(
          f"config.data.files: {root} has {kind} for {other}, but none for {split}; "
          "a run needs both"
        )
    _check_names(root, files)
    return Source(root, kind, files, _key(root, kind, files))
  except OSError as error:
    raise RunError(
      f"config.data.files: {error.filename} cannot be read: {error.strerror}"
    ) from error


def _check_names(root: Path, files: dict[str, list[Path]]) -> None:
  """Raises a UsageError for a folder whose name is no text: TFDS writes down some of them."""
  for folder in sorted({root, *(path.parent for paths in files.values() for path in paths)}):
    try:
      str(folder).encode()
    except UnicodeEncodeError as error:
      raise UsageError(
        f"config.data.files: the name of the folder {str(folder)!r} is not in UTF-8; rename it"
      ) from error


def _key(root: Path, kind: str, files: dict[str, list[Path]]) -> str:
  """Returns own_files_ROOT_STATE: digests of where the files are, and of all that may change."""
  state = [_VERSION, kind]
  for split in _SPLITS:
    for path in files[split]:
      stat = path.stat()
      state.append((split, str(path), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))
  digests = (hashlib.sha256(repr(part).encode()).hexdigest()[:12] for part in (str(root), state))
  return "_".join(("own_files", *digests))


def _visible(folder: Path) -> list[Path]:
  paths = (path for path in folder.iterdir() if not path.name.startswith("."))
  return sorted(paths, key=lambda path: path.name)  # Paths themselves compare slowly.


def _check_labels(labels: dict[str, list[tuple[str, np.ndarray]]]) -> tuple[str, ...]:
  """Returns '0', '1', ... for labels that are what they must be.

  Args:
    labels: for each split, where labels are, and these labels, whole numbers.

  Raises:
    RunError: names the first label that is not.
  """
  count = len(np.unique(np.concatenate([some for _, some in labels["train"]])))
  for split, rule in (
    ("train", f"but the {count} different labels of train must be 0 to {count - 1}"),
    ("test", f"which train has not; its labels are 0 to {count - 1}"),
  ):
    for where, some in labels[split]:
      wrong = (some < 0) | (some >= count)
      if wrong.any():
        index = int(wrong.argmax())
        raise RunError(f"{where} {index} has label {some[index]}, {rule}")
  return tuple(map(str, range(count)))


# IDX files, as described with MNIST's original files: http://yann.lecun.com/exdb/mnist


def _find_idx(root: Path) -> dict[str, list[Path]]:
  """Returns each split's [images, labels]."""
  found = {}
  for path in _visible(root):  # sorted: of X and X.gz, the first
    match = _IDX_NAME.fullmatch(path.name)
    if match and path.is_file():  # Some archives unpack to a folder of the file's name.
      found.setdefault((match[1], match[2][:6]), path)
  files = {}
  for split, prefix in zip(_SPLITS, ("train", "t10k"), strict=True):
    paths = [found.get((prefix, part)) for part in ("images", "labels")]
    if any(paths) and None in paths:
      missing = f"{prefix}-images-idx3-ubyte" if paths[1] else f"{prefix}-labels-idx1-ubyte"
      raise UsageError(f"config.data.files: {root} lacks {missing}")
    if any(paths):
      files[split] = paths
  return files


def _idx_classes(source: Source) -> tuple[str, ...]:
  labels = {}
  for split in _SPLITS:
    path, images = source.files[split][1], _read_idx(source.files[split][0], 3)
    labels[split] = [(f"{path}: item", _read_idx(path, 1))]
    if len(images) != len(labels[split][0][1]):
      raise RunError(
        f"{source.files[split][0]} holds {len(images)} images, but {path} "
        f"{len(labels[split][0][1])} labels"
      )
  return _check_labels(labels)


def _idx_rows(source: Source, split: str) -> Iterator[_Row]:
  path, labels = source.files[split]
  pairs = zip(_read_idx(path, 3), _read_idx(labels, 1), strict=True)
  for index, (image, label) in enumerate(pairs):
    yield f"{path}: image {index}", image[..., np.newaxis], int(label)


def _read_idx(path: Path, rank: int) -> np.ndarray:
  """Returns a file's uint8 array of `rank` dimensions, none of which is 0."""
  try:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
      content = file.read()
  except (OSError, EOFError, zlib.error) as error:
    raise RunError(f"{path} is damaged or cannot be read: {error}") from error
  magic, header = 0x800 + rank, 4 + 4 * rank  # 8: unsigned bytes
  if len(content) < header or int.from_bytes(content[:4], "big") != magic:
    raise RunError(f"{path} is not such an IDX file: it does not begin with the number {magic}")
  shape = tuple(map(int, np.frombuffer(content[4:header], ">u4")))
  expected = header + int(np.prod(shape, dtype=object))
  if len(content) != expected:
    raise RunError(
      f"{path} is {'truncated' if len(content) < expected else 'too long'}: it holds "
      f"{len(content)} bytes, but {expected} are those of its dimensions {shape}"
    )
  if 0 in shape:
    raise RunError(f"{path} is empty: its dimensions are {shape}")
  return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


# Parquet files.


def _find_parquet(root: Path) -> dict[str, list[Path]]:
  files = {}
  names = sorted(glob.glob("**/*.parquet", root_dir=root, recursive=True))
  for path in filter(Path.is_file, (root / name for name in names)):
    # The file's own name counts more than those of its folders.
    for part in reversed(path.relative_to(root).parts):
      splits = set(_SPLIT_NAME.findall(part.lower()))
      if splits:
        break
    if len(splits) != 1:
      raise UsageError(
        f"config.data.files: whether {path} belongs to train or to test does not "
        "show in its name; rename it or move it away"
      )
    files.setdefault(splits.pop(), []).append(path)
  return files


def _parquet_classes(source: Source) -> tuple[str, ...]:
  labels = {
    split: [(f"{path}: row", _parquet_labels(path)) for path in source.files[split]]
    for split in _SPLITS
  }
  for split in _SPLITS:
    if not any(len(some) for _, some in labels[split]):
      raise RunError(f"{source.files[split][0]} has no rows, nor has any other file of {split}")
  return _check_labels(labels)


def _parquet_labels(path: Path) -> np.ndarray:
  """Returns the labels of a file, once it is clear that both columns have the right types."""
  (batch,) = _parquet_batches(path, ["label"], None)
  return batch["label"].to_numpy()


def _parquet_rows(source: Source, split: str) -> Iterator[_Row]:
  for path in source.files[split]:
    index = 0
    for batch in _parquet_batches(path, list(_COLUMNS), _BATCH):
      for image, label in zip(*(batch[key].to_pylist() for key in _COLUMNS), strict=True):
        content = image.get("bytes") if isinstance(image, dict) else image
        if content is None:
          raise RunError(f"{path}: row {index} has no image: it is null")
        yield f"{path}: the picture of row {index}", content, label
        index += 1


def _parquet_batches(path: Path, columns: list[str], size: int | None) -> Iterator[Any]:
  """Yields Arrow tables of `size` rows, or one of all of them if that is None."""
  try:
    import pyarrow
    import pyarrow.parquet
  except ImportError as error:
    raise RunError(
      "reading Parquet files takes pyarrow, which is not installed: "
      "pip install 'mnist_mlp[parquet]'"
    ) from error
  try:
    with pyarrow.parquet.ParquetFile(path) as file:
      _check_schema(path, file.schema_arrow)
      if size is None:
        table = file.read(columns)
        _check_nulls(path, table["label"])
        yield table
      else:
        yield from file.iter_batches(size, columns=columns)
  except (OSError, pyarrow.ArrowException) as error:
    raise RunError(
      f"{path} is not a Parquet file, or is damaged: {str(error).splitlines()[0]}"
    ) from error


def _check_schema(path: Path, schema: Any) -> None:
  from pyarrow import types

  missing = set(_COLUMNS) - set(schema.names)
  if missing:
    raise RunError(
      f"{path} has no column {listing(map(repr, sorted(missing)))}, only "
      f"{listing(map(repr, schema.names))}"
    )
  image, label = (schema.field(key).type for key in _COLUMNS)
  if not types.is_integer(label):
    raise RunError(f"{path}: column 'label' is of type {label}, but must be of integers")
  content = image
  if types.is_struct(image) and image.get_field_index("bytes") >= 0:
    content = image.field("bytes").type
  if not any(is_kind(content) for is_kind in (types.is_binary, types.is_large_binary)):
    raise RunError(
      f"{path}: column 'image' is of type {image}, but must be binary, or a struct "
      "with a binary field 'bytes'"
    )


def _check_nulls(path: Path, labels: Any) -> None:
  if labels.null_count:
    index = int(labels.is_null().to_numpy().argmax())
    raise RunError(f"{path}: row {index} has no label: it is null")


# Folders of pictures.


def _find_pictures(root: Path) -> dict[str, list[Path]]:
  """Returns each split's pictures, class by class."""
  files = {}
  for split in _SPLITS:
    if not (root / split).is_dir():
      continue
    inside = _visible(root / split)
    folders = [path for path in inside if path.is_dir()]
    if not folders:
      continue
    for path in inside:
      if path not in folders:
        raise UsageError(f"config.data.files: {path} is not in the folder of a class; move it")
    for folder in folders:
      pictures = _visible(folder)
      if not pictures:
        raise UsageError(f"config.data.files: the folder of a class, {folder}, is empty")
      files.setdefault(split, []).extend(pictures)
  return files


def _picture_classes(source: Source) -> tuple[str, ...]:
  names = {path.parent.name for path in source.files["train"]}
  for path in source.files["test"]:
    if path.parent.name not in names:
      raise RunError(f"{path} is of the class {path.parent.name!r}, which train does not have")
  numbers = all(name.isdecimal() for name in names)
  return tuple(sorted(names, key=(lambda name: (int(name), name)) if numbers else None))


def _picture_rows(source: Source, split: str) -> Iterator[_Row]:
  labels = {name: label for label, name in enumerate(source.class_names)}
  for path in source.files[split]:
    try:
      content = path.read_bytes()
    except OSError as error:
      raise RunError(f"{path} cannot be read: {error.strerror}") from error
    yield str(path), content, labels[path.parent.name]


# Pictures.


def _decode(content: bytes, where: str) -> np.ndarray:
  """Returns a picture file's content as uint8 [H, W, 1] or [H, W, 3]."""
  from PIL import Image

  try:
    with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as picture:
      picture.verify()  # A PNG's checksums, of which decoding ignores some.
    with Image.open(io.BytesIO(content)) as picture:
      mode, transparent = picture.mode, "transparency" in picture.info
      pixels = np.asarray(picture.convert(_MODES.get(mode, mode)))
  except Exception as error:  # Pillow raises whatever its decoders come across.
    raise RunError(f"{where} is not a PNG or JPEG picture, or is damaged") from error
  if mode not in _MODES or transparent:
    raise RunError(
      f"{where} is neither grayscale nor RGB, of 8 bits and without transparency: "
      f"its mode is {mode}"
    )
  return pixels.reshape(*pixels.shape[:2], -1)


def _size(shape: tuple[int, ...]) -> str:
  return "x".join(map(str, shape))


# How the files of a kind are found in a folder, what classes they have, and their content.
_FORMATS = {
  "IDX files": (_find_idx, _idx_classes, _idx_rows),
  "Parquet files": (_find_parquet, _parquet_classes, _parquet_rows),
  "pictures": (_find_pictures, _picture_classes, _picture_rows),
}
