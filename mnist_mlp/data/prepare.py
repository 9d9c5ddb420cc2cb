"""Preparing a dataset: TFDS writes it to disk as ArrayRecord files, once.

Only this step needs TensorFlow.
"""

import os
import resource
import shutil
import sys
from pathlib import Path

from etils import epy

from mnist_mlp import cgroup
from mnist_mlp.data import cache
from mnist_mlp.data.quiet import import_tensorflow, silence
from mnist_mlp.data.source import Source
from mnist_mlp.errors import RunError, UserError
from mnist_mlp.paths import expand

with epy.lazy_imports():  # A run on cached data needs no TFDS.
  import tensorflow_datasets as tfds
  from tensorflow_datasets.core import shuffle

_MOST_SORTED = 2**30  # bytes of examples that TFDS sorts in memory, as by default
_SHARE_SORTED = 1 / 4  # of the memory that is free, if that is less
_OPEN_FILES = 4096  # more than TFDS opens to sort on disk


def is_prepared(builder: "tfds.core.DatasetBuilder") -> bool:
  """Returns whether the builder's prepared files are there."""
  # `builder.is_prepared()` says the same, but logs a warning if they are not.
  return (Path(builder.data_dir) / "dataset_info.json").is_file()


def prepare(source: Source, folder: Path, target: Path) -> None:
  """Has TFDS write the prepared files; they appear complete or not at all.

  The caller must hold the lock of `folder`.

  Args:
    source: the dataset.
    folder: the TFDS data folder.
    target: where the prepared files belong: the `data_dir` of the source's builder for `folder`.

  Raises:
    UserError: the source's own error, if its data is not right.
    RunError: anything else that went wrong, such as a failed download or a full disk.
  """
  try:
    if target.exists():
      raise FileExistsError("that folder exists, but holds no complete dataset; move it away")
    with silence():
      unfinished = _prepare_in_scratch(source, cache.scratch(folder))
    target.parent.mkdir(parents=True, exist_ok=True)
    os.rename(unfinished, target)
    for old in source.superseded(folder):
      shutil.rmtree(old, ignore_errors=True)
  except UserError:
    raise
  except Exception as error:
    raise RunError(f"{source.name} could not be prepared in {target}: {error}") from error


def _prepare_in_scratch(source: Source, scratch: Path) -> Path:
  """Returns the folder of the prepared files."""
  import_tensorflow()
  _bound_sorting()
  tfds.display_progress_bar(sys.stderr.isatty())
  manual_dir = source.manual_dir
  config = tfds.download.DownloadConfig(
    # TFDS recognizes extracted files by their names alone, and many datasets have files of the
    # same names as MNIST. A folder of their own keeps the datasets apart.
    extract_dir=scratch / "extracted",
    manual_dir=expand(manual_dir) if manual_dir else None,
    try_download_gcs=False,
  )
  builder = source.builder(scratch)
  builder.download_and_prepare(
    download_dir=scratch / "downloads", download_config=config, file_format="array_record"
  )
  return Path(builder.data_dir)


def _bound_sorting() -> None:
  """Has TFDS sort on disk what would not fit in memory; the order is the same."""
  free = cgroup.available()
  if free is not None:
    shuffle.MAX_MEM_BUFFER_SIZE = min(_MOST_SORTED, int(free * _SHARE_SORTED))
  soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
  enough = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
  resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, enough), hard))
