"""The way from a source to arrays: the cache, else the prepared files, else preparing."""

from pathlib import Path

from etils import epy

from mnist_mlp.data import cache
from mnist_mlp.data.cache import Arrays, Report
from mnist_mlp.data.decode import decode
from mnist_mlp.data.prepare import is_prepared, prepare
from mnist_mlp.data.source import Source
from mnist_mlp.errors import RunError
from mnist_mlp.waiting import said_if_slow

with epy.lazy_imports():  # A run on cached data needs no TFDS.
  import tensorflow_datasets as tfds


def obtain(source: Source, folder: Path, report: Report) -> Arrays:
  """Returns the arrays of a source, and keeps them in the cache.

  Args:
    source: the dataset.
    folder: the TFDS data folder.
    report: called with lines that say which data is used and what takes time.

  Raises:
    UsageError: the config names data that cannot be used.
    RunError: the data cannot be had (UnavailableError), prepared or read.
  """
  with said_if_slow(report, f"data: checking the arrays of {source.name}, kept in {folder}"):
    arrays = _read_cache(source, folder)
  if arrays is not None:
    report(f"data: {source.name} {arrays.version}, {arrays.origin}")
    return _remarked(arrays, report)
  with said_if_slow(report, f"data: reading what {source.name} consists of"):
    builder = source.builder(folder)
  origin = _announce(source, folder, builder, report)
  with cache.lock(folder, report) as obstacle:
    arrays = _read_cache(source, folder)  # The process that held the lock may have written it.
    if arrays is not None:
      return _remarked(arrays, report)
    if not is_prepared(builder):
      if obstacle:
        raise RunError(
          f"{source.name} must be prepared, but its folder cannot be written: {obstacle}"
        )
      prepare(source, folder, Path(builder.data_dir))
      builder = source.builder(folder)
    arrays = decode(source.name, builder, source.splits)._replace(remarks=source.remarks)
    obstacle = obstacle or cache.write(source.key, folder, arrays, Path(builder.data_dir))
    if obstacle:
      report(
        f"data: every start will decode {source.name} anew, as nothing can be kept: {obstacle}"
      )
    else:
      arrays = _read_cache(source, folder) or arrays
  return _remarked(arrays._replace(origin=origin), report)


def _remarked(arrays: Arrays, report: Report) -> Arrays:
  for remark in arrays.remarks:
    report(f"data: {remark}")
  return arrays


def _announce(
  source: Source, folder: Path, builder: "tfds.core.DatasetBuilder", report: Report
) -> str:
  """Reports what has to be done; returns in words where the data comes from."""
  prepared = cache.describe(builder.data_dir)
  if is_prepared(builder):
    report(f"data: {source.name} {builder.version}, {prepared}, to be decoded once")
    return prepared
  origin = source.origin(folder, builder)
  report(f"data: preparing {source.name} {builder.version}, once, from {origin}")
  return f"{prepared} from {origin}"


def _read_cache(source: Source, folder: Path) -> Arrays | None:
  arrays = cache.read(source.key, folder)
  if arrays is not None and source.version not in ("", arrays.version):
    return None
  return arrays
