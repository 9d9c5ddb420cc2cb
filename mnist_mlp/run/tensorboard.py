"""CLU metric writers for TensorBoard, without TensorFlow.

CLU's own `SummaryWriter` imports TensorFlow, which takes longer than a short training run. The one
here writes the same events with TensorBoard's protocol buffers. If this module is imported before
`clu.metric_writers` and `clu.periodic_actions`, both use the writer that is here.
"""

import io
import os
import pathlib
import re
import socket
import sys
import time
import types
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.plugins.histogram import summary_v2 as histogram_summary
from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2
from tensorboard.plugins.hparams import metadata as hparams_metadata
from tensorboard.plugins.hparams import summary_v2 as hparams_summary
from tensorboard.plugins.image import metadata as image_metadata
from tensorboard.plugins.text import summary_v2 as text_summary
from tensorboard.summary.writer.record_writer import RecordWriter
from tensorboard.util import tensor_util

from mnist_mlp.run import durable
from mnist_mlp.run.hparams import hparams_of, trial_id

_STATUSES = {"success": api_pb2.STATUS_SUCCESS, "failure": api_pb2.STATUS_FAILURE}
_SESSION_END = ".session_end"
_PREFIX = "events.out.tfevents."


def create_writer(logdir: str | os.PathLike, *, first_step: int = 0, writes: bool = True) -> Any:
  """Returns a CLU writer to TensorBoard files in `logdir` that works in a background thread.

  Its errors surface as `clu.asynclib.AsyncError` at a later call, at the latest at `close`.

  Args:
    logdir: folder of this run's event files, made if missing; for one process at a time.
    first_step: the first step at which this process may write. TensorBoard no longer shows what
      earlier processes wrote to `logdir` at this step or later, nor how their session ended.
    writes: whether this process writes anything. Of several that train one run, one does.
  """
  if not writes:
    return metric_writers.MultiWriter([])
  for path in pathlib.Path(logdir).glob(f"*{_SESSION_END}"):
    path.write_bytes(b"")  # Not deleted: a TensorBoard that reads the file could not go on.
  # CLU's default writer also has a LoggingWriter, which repeats each number on the terminal and
  # fails on histograms with a NaN.
  return metric_writers.AsyncMultiWriter([SummaryWriter(logdir, first_step=first_step)])


def write_session_end(logdir: str | os.PathLike, status: str) -> None:
  """Tells TensorBoard's HParams that the run in `logdir` ended. A resumed run takes it back.

  Args:
    logdir: folder of the run's event files.
    status: 'success' or 'failure'.

  Raises:
    ValueError: any other status.
  """
  if status not in _STATUSES:
    raise ValueError(f"status is {status!r}, which is not one of {', '.join(_STATUSES)}")
  info = plugin_data_pb2.SessionEndInfo(status=_STATUSES[status], end_time_secs=time.time())
  # The end has a file of its own, which a resumed run empties. TensorBoard believes the first end
  # that it reads: a run that failed and then succeeded would stay a failure.
  events = _EventFile(logdir, _SESSION_END)
  events.write(
    summary=_tensor_summary(
      hparams_metadata.SESSION_END_INFO_TAG,
      hparams_metadata.NULL_TENSOR,
      hparams_metadata.create_summary_metadata(
        plugin_data_pb2.HParamsPluginData(session_end_info=info)
      ),
    )
  )
  events.close()


class SummaryWriter:
  """A `clu.metric_writers.MetricWriter` of TensorBoard event files.

  Every call writes through to the file, so that a killed process loses nothing. What is flushed
  outlives a loss of power.
  """

  def __init__(self, logdir: str | os.PathLike, *, first_step: int | None = None):
    """Starts a new event file in `logdir`.

    Args:
      logdir: the folder, made if missing.
      first_step: see `create_writer`. None hides nothing that other writers wrote there.
    """
    self._events = _EventFile(logdir)
    self._name = pathlib.Path(logdir).absolute().name
    if first_step is not None:
      # At step 0 too: TensorBoard discards nothing for the first such event of a run.
      start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
      self._events.write(step=first_step, session_log=start)

  def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
    """Writes numbers, or arrays of one number, as float32."""
    for tag, value in scalars.items():
      number = float(np.asarray(value, np.float32).reshape(()))
      number = summary_pb2.Summary.Value(tag=tag, simple_value=number)
      self._events.write(step=step, summary=summary_pb2.Summary(value=[number]))

  def write_images(self, step: int, images: Mapping[str, Any]) -> None:
    """Writes images [N, H, W, C] or [H, W, C] with C of 1, 3 or 4, uint8 or float in 0..1."""
    for tag, value in images.items():
      self._events.write(step=step, summary=_image_summary(tag, np.asarray(value)))

  def write_texts(self, step: int, texts: Mapping[str, str]) -> None:
    """Writes Markdown."""
    for tag, text in texts.items():
      self._events.write(step=step, summary=text_summary.text_pb(tag, text))

  def write_histograms(
    self, step: int, arrays: Mapping[str, Any], num_buckets: Mapping[str, int | None] | None = None
  ) -> None:
    """Writes the distribution of the finite entries of arrays of any shape."""
    for tag, value in arrays.items():
      entries = np.asarray(value, np.float64)
      buckets = (num_buckets or {}).get(tag)
      summary = histogram_summary.histogram_pb(tag, entries[np.isfinite(entries)], buckets)
      self._events.write(step=step, summary=summary)

  def write_hparams(self, hparams: Mapping[str, Any]) -> None:
    """Starts a session of TensorBoard's HParams, where runs of one setting make up one trial."""
    trial = trial_id(hparams, self._name)
    self._events.write(
      step=0, summary=hparams_summary.hparams_pb(hparams_of(hparams), trial_id=trial)
    )

  def _unsupported(self, *args, **kwargs):
    raise NotImplementedError("SummaryWriter writes no raw tensors, audio or videos")

  write_summaries = write_audios = write_videos = _unsupported

  def flush(self) -> None:
    """Returns once all that was written is on the disk."""
    self._events.flush()

  def close(self) -> None:
    """Flushes and closes the file; a later write raises ValueError."""
    self._events.close()


class _EventFile:
  """A new TensorBoard event file. Each event is handed to the operating system at once."""

  def __init__(self, logdir, suffix=""):
    self._folder = folder = pathlib.Path(logdir)
    folder.mkdir(parents=True, exist_ok=True)
    # TensorBoard reads the files of a run in the order of their names, so the time comes first. A
    # file that is earlier than those it has read would be passed over: a clock may be set back.
    self._earliest = max(time.time(), _latest(folder) + 1e-3)
    name = f"{_PREFIX}{self._earliest:.6f}.{socket.gethostname()}.{os.getpid()}{suffix}"
    self._file = (folder / name).open("xb")
    self._records = RecordWriter(self._file)
    self.write(file_version="brain.Event:2")

  def write(self, **fields):
    event = event_pb2.Event(wall_time=max(time.time(), self._earliest), **fields)
    self._records.write(event.SerializeToString())
    self._records.flush()

  def flush(self):
    os.fsync(self._file.fileno())
    durable.sync_folder(self._folder)

  def close(self):
    try:
      self.flush()
    finally:
      self._records.close()


def _latest(folder):
  """Returns the latest time at which an event file of a folder was begun or written, in seconds."""
  latest = 0.0
  for path in folder.glob(f"{_PREFIX}*"):
    begun = re.match(r"\d+\.\d+", path.name.removeprefix(_PREFIX))
    latest = max(latest, path.stat().st_mtime, float(begun[0]) if begun else 0.0)
  return latest


def _tensor_summary(tag, tensor, metadata):
  value = summary_pb2.Summary.Value(tag=tag, tensor=tensor, metadata=metadata)
  return summary_pb2.Summary(value=[value])


def _image_summary(tag, images):
  if images.ndim == 3:
    images = images[None]
  if images.ndim != 4 or images.shape[-1] not in (1, 3, 4):
    raise ValueError(f"image {tag!r} has shape {images.shape}, not [N, H, W, 1, 3 or 4]")
  if images.dtype != np.uint8:
    images = np.rint(np.clip(images.astype(np.float32), 0, 1) * 255).astype(np.uint8)
  _, height, width, _ = images.shape
  strings = [str(width).encode(), str(height).encode(), *map(_png, images)]
  return _tensor_summary(
    tag, tensor_util.make_tensor_proto(strings), image_metadata.create_summary_metadata("", "")
  )


def _png(image):
  buffer = io.BytesIO()
  Image.fromarray(image[:, :, 0] if image.shape[-1] == 1 else image).save(buffer, "PNG")
  return buffer.getvalue()


def _import_metric_writers():
  """Returns `clu.metric_writers`, imported with our SummaryWriter in the place of CLU's own."""
  module = types.ModuleType("clu.metric_writers.summary_writer")
  module.__dict__["SummaryWriter"] = SummaryWriter
  sys.modules.setdefault(module.__name__, module)
  from clu import metric_writers

  # Not a base class, because importing it would import the writer that needs TensorFlow.
  metric_writers.MetricWriter.register(SummaryWriter)
  return metric_writers


metric_writers = _import_metric_writers()
