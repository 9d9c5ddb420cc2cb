"""What a run reports, to the terminal, to TensorBoard and to metrics.jsonl. It decides nothing."""

import functools
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import numpy as np
from clu import parameter_overview
from clu.asynclib import AsyncError
from etils import epy
from ml_collections import ConfigDict, FrozenConfigDict

from mnist_mlp import config as config_lib
from mnist_mlp import data
from mnist_mlp.core import augment
from mnist_mlp.core.metrics import METRICS
from mnist_mlp.core.spec import Examples
from mnist_mlp.errors import Interrupted, RunError
from mnist_mlp.run import origin, tensorboard
from mnist_mlp.run.console import clock, rounded
from mnist_mlp.run.hparams import hparams_of
from mnist_mlp.run.loop import Measured
from mnist_mlp.run.run import Run

with epy.lazy_imports():  # matplotlib is needed at the end, and takes half a second.
  from mnist_mlp.run import figures

# How often a run writes weight histograms, which take as long as many steps.
_HISTOGRAMS = 5

_Method = TypeVar("_Method", bound=Callable[..., Any])


def _writes(method: _Method) -> _Method:
  """Makes a method of Reporter raise a RunError if TensorBoard's events cannot be written."""

  @functools.wraps(method)
  def wrapped(self, *args, **kwargs):
    try:
      return method(self, *args, **kwargs)
    except (AsyncError, OSError) as error:
      cause: BaseException | None = error
      while isinstance(cause, AsyncError):  # Each of CLU's writers adds one.
        cause = cause.__cause__
      folder = self._run.folder.path
      raise RunError(f"cannot write TensorBoard's events in {folder}: {cause}") from error

  return wrapped  # type: ignore[return-value]


class Reporter:
  """The reports of one start of a run. Use as a context manager: leaving it flushes and closes."""

  @_writes
  def __init__(self, run: Run, first_step: int, *, pictures: bool = True):
    """Opens TensorBoard's writer.

    Args:
      run: what is reported on.
      first_step: the step from which this start of the run goes on.
      pictures: whether to write histograms and figures, which cost as much as many steps.
    """
    self._run, self._config, self._console = run, run.config, run.console
    self._first_step = self._last_step = first_step
    self._last_time = time.perf_counter()
    self._last_histogram = 0
    self._pictures_wanted = pictures and run.team.leads
    self.rate = 0.0  # examples a second, between the last two evaluations
    # What was reported at the step from which the run goes on is not reported again.
    first = first_step + 1 if first_step else 0
    self._writer = tensorboard.create_writer(
      run.folder.path, first_step=first, writes=run.team.leads
    )

  def __enter__(self) -> "Reporter":
    """Returns itself."""
    return self

  def __exit__(self, kind: Any, *_: Any) -> None:
    """Closes the writer; tells TensorBoard how the run ended, unless it will go on.

    Raises:
      RunError: TensorBoard's events could not be written.
    """
    goes_on = kind is not None and (
      issubclass(kind, Interrupted) or not issubclass(kind, Exception)
    )
    self.close(None if goes_on else "failure" if kind else "success")

  @_writes
  def close(self, status: str | None) -> None:
    """Closes the writer; 'success' or 'failure' tell TensorBoard how the run ended.

    Raises:
      RunError: TensorBoard's events could not be written.
    """
    self._console.stop_bar()
    self._writer.close()
    if status and self._run.team.leads:
      tensorboard.write_session_end(self._run.folder.path, status)

  @_writes
  def flush(self) -> None:
    """Returns once TensorBoard's events are on the disk."""
    self._writer.flush()

  @_writes
  def introduction(self, params: Any) -> None:
    """Says what is trained. TensorBoard is told only at the first start of a run.

    Args:
      params: the parameters now. At the first start their histograms are written.
    """
    overview = parameter_overview.get_parameter_overview(params, include_stats=False)
    run, d = self._run, self._run.dataset
    self._console.line(overview)
    self._console.line(
      f"{d.name}: {d.train.num_examples:,} training, {d.validation.num_examples:,} validation, "
      f"{d.test.num_examples:,} test examples; on {run.environment['devices']}; in "
      f"{run.folder.path}"
    )
    if self._first_step == origin.first_step(run.folder):
      # A run on the stand-in is no seed of the same setting on the dataset that it stands in for.
      data_trained_on = {"data.fingerprint": d.fingerprint}
      self._writer.write_hparams(hparams_of(self._config) | data_trained_on)
      texts = {"config": config_lib.to_json(self._config), "parameters": overview}
      blocks = {tag: f"```\n{text}\n```" for tag, text in texts.items()}
      self._writer.write_texts(self._first_step, blocks)
      self._histograms(self._first_step, params)
    size = self._config.batch_size
    self._console.start_bar(run.timetable.total_steps * size, self._first_step * size)

  def start_clock(self, now: float) -> None:
    """Makes rates count from `now`, a `time.perf_counter()`: not from before compilation."""
    self._last_time = now

  @_writes
  def evaluation(self, step: int, measured: Measured, params: Any) -> dict[str, float]:
    """Reports an evaluation.

    Args:
      step: how many steps are done.
      measured: the results of the chunk that ends at that step.
      params: for the histograms.

    Returns:
      The row of metrics.jsonl: a function of config and data alone, without times.
    """
    row: dict[str, float] = {"step": step, "epoch": step / self._run.timetable.steps_per_epoch}
    for split, values in (
      ("train", measured.train),
      ("validation", measured.validation or {}),
      ("train", measured.scalars),
    ):
      row.update({f"{split}/{name}": float(value) for name, value in values.items()})
    peak = self._config.optimizer.learning_rate
    row["train/learning_rate"] = peak * row.pop("train/schedule")
    self._run.folder.history.add(row)
    self._measure_rate(step)
    scalars = {name: value for name, value in row.items() if name not in ("step", "epoch")}
    self._writer.write_scalars(step, {**scalars, "train/examples_per_second": self.rate})
    if step - self._last_histogram >= self._run.timetable.total_steps / _HISTOGRAMS:
      self._histograms(step, params)
    self._console.line(self._evaluation_line(row))
    return row

  def _measure_rate(self, step: int) -> None:
    now = time.perf_counter()
    self.rate = (step - self._last_step) * self._config.batch_size / (now - self._last_time)
    self._last_step, self._last_time = step, now

  def _evaluation_line(self, row: Mapping[str, float]) -> str:
    total = self._run.timetable.total_steps
    epochs = rounded(total / self._run.timetable.steps_per_epoch)
    epoch = f"{rounded(row['epoch']):>{len(epochs)}}"
    parts = [f"epoch {epoch} of {epochs}, step {row['step']} of {total}"]
    for split in ("train", "validation"):
      shown = [
        f"{name} {metric.text.format(row[f'{split}/{name}'])}"
        for name, metric in METRICS.items()
        if metric.text and f"{split}/{name}" in row
      ]
      if shown:
        parts.append(f"{split} {' '.join(shown)}")
    left = (total - row["step"]) * self._config.batch_size / self.rate
    parts.append(f"{self.rate:,.0f} examples/s, {clock(left)} left")
    return " | ".join(parts)

  def _histograms(self, step: int, params: Any) -> None:
    if not self._pictures_wanted:
      return
    flat = jax.tree_util.tree_leaves_with_path(params)
    # TensorBoard opens the first groups of tags by name: test and train come before weights.
    self._writer.write_histograms(
      step,
      {"/".join(["weights", *(str(key.key) for key in path)]): np.asarray(x) for path, x in flat},
    )
    self._last_histogram = step

  @_writes
  def test(
    self, metrics: Mapping[str, Any], logits: np.ndarray, params: Any, best: Mapping | None
  ) -> dict[str, float]:
    """Reports the test result, with pictures; returns the result as result.json holds it.

    Args:
      metrics: loss and accuracy on the test split.
      logits: float32 [N, classes], those of the test split.
      params: the parameters that were tested, for the pictures.
      best: step and accuracy of the best validation, if there was one.
    """
    step, d = self._run.timetable.total_steps, self._run.dataset
    result = {name: float(value) for name, value in metrics.items()}
    self._writer.write_scalars(step, {f"test/{name}": value for name, value in result.items()})
    if self._pictures_wanted:
      self._pictures(step, logits, params)
    self._console.stop_bar()
    if best:
      self._console.line(
        f"best validation accuracy {100 * best['accuracy']:.2f}%, at step {best['step']}"
      )
    examples = d.test.num_examples
    wrong = int((logits.argmax(-1) != d.test.labels).sum())
    self._console.line(
      f"test: {100 * wrong / examples:.2f}% error, {wrong} of all {examples:,} images of {d.name} "
      f"wrong; {_others(result)}"
    )
    return {**result, "error_percent": 100 * wrong / examples, "examples": examples}

  def _pictures(self, step: int, logits: np.ndarray, params: Any) -> None:
    d, test = self._run.dataset, self._run.dataset.test
    predictions = logits.argmax(-1)
    drawn = {
      "test/confusion_matrix": figures.confusion_matrix(test.labels, predictions, d.class_names),
      "test/worst_mistakes": figures.worst_mistakes(test, logits, d.class_names),
    }
    if self._config.model.name == "mlp":  # Other nets have no weight for each pixel of an image.
      kernel = np.asarray(params["Dense_0"]["kernel"])
      drawn["weights/first_layer"] = figures.first_layer_weights(kernel, d.image_shape)
    if self._config.loss.name == "softmax_cross_entropy":
      probabilities = np.asarray(jax.nn.softmax(logits))
      drawn["test/reliability"] = figures.reliability_diagram(test.labels, probabilities)
    if any(self._config.augment[name] for name in config_lib.AUGMENTATIONS):
      drawn["train/distortions"] = distortions(self._config, d)
    images = {tag: figures.to_image(figure)[None] for tag, figure in drawn.items()}
    self._writer.write_images(step, images)


def _others(result: Mapping[str, float]) -> str:
  """Returns what the terminal shows of a test besides its errors: 'loss 0.0812'."""
  shown = {name: metric.text for name, metric in METRICS.items() if name != "accuracy"}
  return "; ".join(f"{name} {text.format(result[name])}" for name, text in shown.items() if text)


def distortions(config: ConfigDict, dataset: data.Dataset, count: int = 16) -> Any:
  """Returns a figure of the first training image and `count` distortions, drawn as the run does."""
  batch = Examples(*(np.repeat(array[:1], count, 0) for array in dataset.train))
  strengths = {name: config.augment[name] for name in config_lib.AUGMENTATIONS}
  # As one program: operation by operation it would be dozens to compile.
  distort = jax.jit(augment.distort, static_argnames="config")
  distorted = distort(
    jax.random.key(config.seed), batch, config=FrozenConfigDict(config.augment), strengths=strengths
  )
  return figures.distortions(dataset.train.images[0], np.asarray(distorted))
