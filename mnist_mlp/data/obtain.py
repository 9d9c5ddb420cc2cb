"""The way from a source to arrays: the cache, else the prepared files, else preparing."""

from pathlib import Path

from etils import epy

from mnist_mlp.data import cache, memory
from mnist_mlp.data.cache import Arrays, Report
from mnist_mlp.data.decode import decode, num_bytes
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
    size = num_bytes(source.name, builder, source.splits)
    if not obstacle:
      arrays, obstacle = _decode_into_cache(source, folder, builder, size)
    if arrays is None:
      kept = f"nothing can be kept in {folder}: {obstacle}"
      memory.check_fits(f"{source.name}, decoded,", size, f", and {kept}")
      report(f"data: every start will decode {source.name} anew, as {kept}")
      arrays = decode(source.name, builder, source.splits)._replace(remarks=source.remarks)
  return _remarked(arrays._replace(origin=origin), report)


def _decode_into_cache(
  source: Source, folder: Path, builder: "tfds.core.DatasetBuilder", size: int
) -> tuple[Arrays | None, str]:
  """Returns the arrays, mapped from the cache, or None and in words why it cannot be written."""
  try:
    with cache.unfinished(source.key, folder, size) as new:
      arrays = decode(source.name, builder, source.splits, new)
      arrays = arrays._replace(remarks=source.remarks)
      cache.finish(source.key, folder, arrays, new, Path(builder.data_dir))
  except OSError as error:
    return None, str(error)
  return _read_cache(source, folder), "what was written cannot be read back"


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
