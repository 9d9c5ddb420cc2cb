"""Any TFDS image classification dataset, or one's own files, as uint8 arrays in memory.

TFDS prepares a dataset once, as ArrayRecord files, which is the only time that TensorFlow is
imported. The decoded arrays are kept beside these files, see `cache`, so that later runs only map
them into memory, without TFDS.

Another source of pictures is another class like `_Registered`, made by `_obtain`.
"""

import contextlib
import dataclasses
import hashlib
import importlib.util
import io
import os
import shutil
import threading
import time
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from mnist_mlp.data import cache, files
from mnist_mlp.data.cache import Arrays, Report, Split
from mnist_mlp.errors import RunError, UsageError, UserError, did_you_mean, listing

_EMBEDDED = {"digits": "1.0.0"}  # name: version, known without importing TFDS
_FULL_SIZE = 60_000  # train examples that `validation_examples` is meant for, before a stand-in
_PROBE_SECONDS = 6.0  # within which the hosts of a dataset's files must answer
_BATCH = 1000  # records decoded at a time, three times as fast as one by one


@dataclasses.dataclass(frozen=True)
class Dataset:
  """A dataset's three splits, and what a result must say about them."""

  name: str  # as TFDS knows it: 'mnist', 'emnist/digits'; or of one's folder
  version: str
  train: Split
  validation: Split  # the last examples of TFDS's train split; may be empty
  test: Split
  class_names: tuple[str, ...]
  fingerprint: str  # hex digest of TFDS's whole train and test splits
  stand_in_for: str  # the dataset that could not be had, or ''
  source: str  # one line: where the data came from

  @property
  def num_classes(self) -> int:
    """The number of classes."""
    return len(self.class_names)

  @property
  def image_shape(self) -> tuple[int, int, int]:
    """(H, W, C)."""
    return self.train.images.shape[1:]

  def describe(self) -> dict[str, Any]:
    """Returns what identifies the data, ready for JSON."""
    return {
      "name": self.name,
      "version": self.version,
      "fingerprint": self.fingerprint,
      "stand_in_for": self.stand_in_for,
      "num_classes": self.num_classes,
      "class_names": list(self.class_names),
      "image_shape": list(self.image_shape),
      "examples": {
        split: getattr(self, split).num_examples for split in ("train", "validation", "test")
      },
    }


class _UnavailableError(RunError):
  """The dataset is not on this machine and cannot be downloaded."""


def load(options: ConfigDict, *, report: Report = print, only: str | None = None) -> Dataset:
  """Returns the dataset that `options`, the config's `data` section, asks for, or its stand-in.

  Args:
    options: `name`, `files`, `data_dir`, `manual_dir`, `offline`, `validation_examples`.
    report: called with lines that say which data is used and what takes time.
    only: the dataset that a resumed run was started on; nothing else is then returned.

  Raises:
    UsageError: `options` name a dataset, files or a validation split that cannot be.
    RunError: the data cannot be had, prepared or read.
  """
  folder = _data_folder(options.data_dir)
  name, arrays = _obtain(options, folder, report, only)
  stand_in_for = options.name if name != options.name and not options.files else ""
  examples, total = options.validation_examples, arrays.train.num_examples
  if stand_in_for and examples:
    examples = max(1, round(examples * total / _FULL_SIZE))
    report(
      f"data: {name} stands in for {stand_in_for}, so validation_examples is {examples} "
      f"rather than {options.validation_examples}, the same share of train"
    )
  if examples >= total:
    raise UsageError(
      f"config.data.validation_examples is {options.validation_examples}, but must "
      f"be less than the {total} train examples of {name}"
    )
  cut = total - examples
  return Dataset(
    name=name,
    version=arrays.version,
    train=Split(arrays.train.images[:cut], arrays.train.labels[:cut]),
    validation=Split(arrays.train.images[cut:], arrays.train.labels[cut:]),
    test=arrays.test,
    class_names=arrays.class_names,
    fingerprint=arrays.fingerprint,
    stand_in_for=stand_in_for,
    source=arrays.source,
  )


def _data_folder(data_dir: str) -> Path:
  folder = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
  return Path(folder).expanduser().absolute()


@dataclasses.dataclass(frozen=True)
class _Registered:
  """A dataset that TFDS knows by name. `files.Source` has the same members."""

  name: str  # as people call it
  manual_dir: str

  @property
  def key(self) -> str:
    """The name that TFDS and the cache have for it."""
    return self.name

  def builder(self, folder: Path) -> Any:
    """Returns the TFDS builder for a data folder; touches no network."""
    return _open_builder(self.name, folder)

  def origin(self, folder: Path, builder: Any) -> str:
    """Returns in words what it can be prepared from, once it is clear that it can."""
    return _find_origin(self.name, folder, builder, self.manual_dir)

  def superseded(self, folder: Path) -> list[Path]:
    """Returns what a new preparation makes useless."""
    del folder
    return []


def _obtain(
  options: ConfigDict, folder: Path, report: Report, only: str | None
) -> tuple[str, Arrays]:
  """Returns the name and the arrays of the dataset asked for, or of its stand-in."""
  name = only or options.name
  try:
    if options.files:
      return _own_files(options.files, folder, report, only)
    return name, _through_tfds(_Registered(name, options.manual_dir), folder, report)
  except UserError as error:
    if only:
      raise RunError(f"this run was started on {only!r} and needs it to go on: {error}") from error
    if not (isinstance(error, _UnavailableError) and options.offline):
      raise
    report(
      f"data: {error}\ndata: going on with {options.offline!r} INSTEAD of {name!r}; "
      "--config.data.offline= makes this an error"
    )
  stand_in = _Registered(options.offline, options.manual_dir)
  return options.offline, _through_tfds(stand_in, folder, report)


def _own_files(path: str, folder: Path, report: Report, only: str | None) -> tuple[str, Arrays]:
  source = files.find(path)
  if only not in (None, source.name):
    raise RunError(f"config.data.files names another dataset, {source.name!r}")
  report(f"data: {source.name} is made of {source.origin()}")
  return source.name, _through_tfds(source, folder, report)


def _through_tfds(dataset: _Registered | files.Source, folder: Path, report: Report) -> Arrays:
  """Returns the arrays from the cache, else from the prepared files, which are made if need be."""
  name, key = dataset.name, dataset.key
  arrays = _read_cache(key, folder)
  if arrays is not None:
    report(f"data: {name} {arrays.version}, {arrays.source}")
    return arrays
  builder = dataset.builder(folder)
  if _is_prepared(builder):
    source = cache.describe(builder.data_dir)
    report(f"data: {name} {builder.version}, {source}, to be decoded once")
  else:
    origin = dataset.origin(folder, builder)
    source = f"{cache.describe(builder.data_dir)} from {origin}"
    report(f"data: preparing {name} {builder.version}, once, from {origin}")
  with cache.lock(folder, report) as obstacle:
    arrays = _read_cache(key, folder)  # Another process may have made it meanwhile.
    if arrays is not None:
      return arrays
    if not _is_prepared(builder):
      if obstacle:
        raise RunError(f"{name} must be prepared, but its folder cannot be written: {obstacle}")
      _prepare(dataset, folder, Path(builder.data_dir))
      builder = dataset.builder(folder)
    arrays = _decode(name, builder)
    obstacle = obstacle or cache.write(key, folder, arrays, Path(builder.data_dir))
    if obstacle:
      report(f"data: every start will decode {name} anew, as nothing can be kept: {obstacle}")
    else:
      arrays = _read_cache(key, folder) or arrays
  return arrays._replace(source=source)


def _read_cache(key: str, folder: Path) -> Arrays | None:
  arrays = cache.read(key, folder)
  if arrays is not None and arrays.version != _EMBEDDED.get(key, arrays.version):
    return None
  return arrays


def _open_builder(name: str, folder: Path) -> Any:
  """Returns the TFDS builder of an image classification dataset; touches no network."""
  import tensorflow_datasets as tfds

  from mnist_mlp.data import digits  # noqa: F401, registers itself

  base, slash, config = name.partition("/")
  # Not by tfds.builder's own error, which asks the network for community datasets.
  known = tfds.list_builders(with_community_datasets=False)
  if base not in known:
    raise UsageError(
      f"config.data.name is {name!r}, which is not a dataset of TFDS"
      + did_you_mean(base.lower(), known)
    )
  configs = tfds.builder_cls(base).builder_configs
  if slash and config not in configs:
    raise UsageError(
      f"config.data.name is {name!r}, but {base} has no variant {config!r}"
      + did_you_mean(config, configs)
    )
  try:
    builder = tfds.builder(name, data_dir=folder)
  except Exception as error:
    raise RunError(f"{name} in {folder} cannot be opened: {error}") from error
  _check_features(name, builder.info, tfds.features)
  return builder


def _check_features(name: str, info: Any, kinds: Any) -> None:
  keys = info.supervised_keys or ()
  image, label = [info.features[key] for key in keys] if len(keys) == 2 else (None, None)
  if not (isinstance(image, kinds.Image) and isinstance(label, kinds.ClassLabel)):
    raise UsageError(
      f"config.data.name is {name!r}, which is not image classification: "
      "its examples are not pairs of one image and one class"
    )
  if None in image.shape or image.np_dtype != np.uint8:
    raise UsageError(
      f"config.data.name is {name!r}, whose images, {np.dtype(image.np_dtype)} "
      f"{image.shape}, are not uint8 of one fixed size"
    )


def _is_prepared(builder: Any) -> bool:
  return (Path(builder.data_dir) / "dataset_info.json").is_file()


def _find_origin(name: str, folder: Path, builder: Any, manual_dir: str) -> str:
  """Returns in words what an unprepared dataset can be prepared from, within seconds."""
  files, by_hand = builder.url_infos or {}, builder.MANUAL_DOWNLOAD_INSTRUCTIONS
  if not (files or by_hand):
    return "what its own code holds"
  if manual_dir:
    _check_manual_files(name, Path(manual_dir).expanduser(), files.values())
    return f"the original files in {manual_dir}"
  problem = "they must be downloaded by hand" if by_hand else _probe(files)
  if not problem:
    return f"a download of {sum(info.size for info in files.values()) / 1e6:.1f} MB"
  names = listing(info.filename or url for url, info in list(files.items())[:6])
  raise _UnavailableError(
    f"{name} is not prepared in {folder}, and its original files cannot be had: {problem}.\n"
    f"To use it, set config.data.manual_dir to a folder with them ({names}), "
    "or config.data.data_dir to a TFDS folder in which it is prepared. "
    "To do without it, set config.data.offline to 'digits'."
  )


def _check_manual_files(name: str, folder: Path, files: Iterable[Any]) -> None:
  """Raises a UsageError unless `folder` holds the files as TFDS has registered them."""
  if not os.path.isdir(folder):
    raise UsageError(f"config.data.manual_dir is {str(folder)!r}, which is not a folder")
  for info in files:
    path = folder / (info.filename or "")
    if not os.path.isfile(path):
      raise UsageError(f"config.data.manual_dir lacks {path}, an original file of {name}")
    size = path.stat().st_size
    if size != info.size:
      raise UsageError(
        f"config.data.manual_dir: {path} is {'truncated' if size < info.size else 'too long'}: "
        f"{size} bytes, expected {int(info.size)}"
      )
    with path.open("rb") as file:
      digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != info.checksum:
      raise UsageError(
        f"config.data.manual_dir: {path} does not have the expected SHA-256: it is "
        f"damaged, or belongs to another dataset than {name}"
      )


def _probe(urls: Iterable[str]) -> str:
  """Returns '' if every host among `urls` offers its file within _PROBE_SECONDS, else why not."""
  by_host = {urllib.parse.urlsplit(url).netloc: url for url in urls}
  problems = dict.fromkeys(by_host, f"did not answer within {_PROBE_SECONDS:g} seconds")
  # Daemons: looking up a name may hang beyond any timeout, and must not hold up the exit.
  threads = [
    threading.Thread(target=_probe_host, args=(host, url, problems), daemon=True)
    for host, url in by_host.items()
  ]
  deadline = time.monotonic() + _PROBE_SECONDS
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join(max(0.0, deadline - time.monotonic()))
  return listing(f"{host} {problem}" for host, problem in problems.items() if problem)


def _probe_host(host: str, url: str, problems: dict[str, str]) -> None:
  import requests

  try:
    with requests.get(url, stream=True, timeout=_PROBE_SECONDS) as response:
      problems[host] = "" if response.ok else f"answers {response.status_code} {response.reason}"
  except requests.RequestException as error:
    problems[host] = f"cannot be reached ({type(error).__name__})"


def _prepare(dataset: _Registered | files.Source, folder: Path, target: Path) -> None:
  """Has TFDS write `target`, which appears complete or not at all; the lock must be held."""
  scratch, manual_dir = cache.scratch(folder), dataset.manual_dir
  try:
    if target.exists():
      raise FileExistsError("that folder exists, but holds no complete dataset; move it away")
    with _quiet():
      _import_tensorflow()
      import tensorflow_datasets as tfds

      tfds.disable_progress_bar()
      config = tfds.download.DownloadConfig(
        # TFDS knows extracted files by name alone, and many datasets share MNIST's file names.
        extract_dir=scratch / "extracted",
        manual_dir=Path(manual_dir).expanduser() if manual_dir else None,
        try_download_gcs=False,
      )
      builder = dataset.builder(scratch)
      builder.download_and_prepare(
        download_dir=scratch / "downloads", download_config=config, file_format="array_record"
      )
    target.parent.mkdir(parents=True, exist_ok=True)
    os.rename(builder.data_dir, target)
    for old in dataset.superseded(folder):
      shutil.rmtree(old, ignore_errors=True)
  except UserError:
    raise
  except Exception as error:
    raise RunError(f"{dataset.name} could not be prepared in {target}: {error}") from error


def _decode(name: str, builder: Any) -> Arrays:
  """Returns the arrays of a prepared dataset, read record by record and checked."""
  missing = {"train", "test"} - set(builder.info.splits)
  if missing:
    raise UsageError(
      f"config.data.name is {name!r}, which has no split "
      f"{listing(sorted(missing))}, only {listing(builder.info.splits)}"
    )
  try:
    with _quiet():
      train, test = _decode_split(builder, "train"), _decode_split(builder, "test")
  except Exception as error:
    raise RunError(
      f"{name} cannot be read from {builder.data_dir}: {error}. "
      "If you remove that folder, it is prepared anew"
    ) from error
  class_names = tuple(builder.info.features[_keys(builder)[1]].names)
  return Arrays(
    str(builder.version),
    class_names,
    train,
    test,
    cache.fingerprint(train, test),
    cache.describe(builder.data_dir),
  )


def _keys(builder: Any) -> tuple[str, str]:
  """Returns the names of the picture and of the label in an example."""
  return builder.info.supervised_keys or ("image", "label")


def _decode_split(builder: Any, split: str) -> Split:
  image_key, label_key = _keys(builder)
  feature = builder.info.features[image_key]
  num_classes = builder.info.features[label_key].num_classes
  count = builder.info.splits[split].num_examples
  images, labels = np.empty((count, *feature.shape), np.uint8), np.empty(count, np.int32)
  # strict: as many records as the dataset says that it has.
  for index, example in zip(range(count), _records(builder, split), strict=True):
    image, label = example[image_key], int(example[label_key])
    if image.shape != feature.shape or image.dtype != np.uint8:
      raise ValueError(f"{split} image {index} is {image.dtype} {image.shape}")
    if not 0 <= label < num_classes:
      raise ValueError(f"{split} label {index} is {label}, but there are {num_classes} classes")
    images[index], labels[index] = image, label
  images.flags.writeable = labels.flags.writeable = False
  return Split(images, labels)


def _records(builder: Any, split: str) -> Iterator[Mapping[str, Any]]:
  """Yields a split's examples, in their order on disk."""
  import tensorflow_datasets as tfds

  if builder.info.available_file_formats() & tfds.core.FileFormat.with_random_access():
    source = builder.as_data_source(split)
    for start in range(0, len(source), _BATCH):
      yield from source.__getitems__(range(start, min(start + _BATCH, len(source))))
  else:
    # Prepared elsewhere in TFDS's default format, TFRecord, which only TensorFlow reads.
    _import_tensorflow()
    order = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
    yield from tfds.as_numpy(builder.as_dataset(split=split, read_config=order))


def _import_tensorflow() -> None:
  """Imports TensorFlow without the messages of its C++ parts."""
  if importlib.util.find_spec("tensorflow") is None:
    raise RunError(
      "this takes TensorFlow, once, which is not installed: pip install tensorflow-cpu"
    )
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
  stderr = os.dup(2)  # Some messages precede any setting.
  with open(os.devnull, "w") as nowhere:
    os.dup2(nowhere.fileno(), 2)
  try:
    import tensorflow  # noqa: F401
  finally:
    os.dup2(stderr, 2)
    os.close(stderr)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
  """Silences what TFDS prints and logs, but for errors."""
  from absl import logging

  verbosity = logging.get_verbosity()
  logging.set_verbosity(logging.ERROR)
  try:
    with contextlib.redirect_stdout(io.StringIO()):
      yield
  finally:
    logging.set_verbosity(verbosity)
