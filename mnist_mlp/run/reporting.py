"""What a run reports, to the terminal, to TensorBoard and to metrics.jsonl; it decides nothing."""

import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from clu import parameter_overview
from clu.asynclib import AsyncError
from ml_collections import ConfigDict, FrozenConfigDict

from mnist_mlp import config as config_lib
from mnist_mlp.core import steps
from mnist_mlp.data.dataset import Dataset
from mnist_mlp.errors import Interrupted, RunError
from mnist_mlp.run import tensorboard as summaries
from mnist_mlp.run.console import Console
from mnist_mlp.run.workdir import Workdir

# A run writes weight histograms about so many times, since each takes as long as many a step.
_HISTOGRAMS = 5


class Reporter:
  """The reports of one start of a run. Use as a context manager: leaving it flushes and closes."""

  def __init__(
    self,
    config: ConfigDict,
    folder: Workdir,
    dataset: Dataset,
    length: steps.Length,
    console: Console,
    first_step: int,
    *,
    pictures: bool = True,
  ):
    """Opens TensorBoard's writer.

    Args:
      config: that of the run, like `folder`, `dataset` and `length`.
      folder: gets the events and metrics.jsonl.
      dataset: what is trained on.
      length: of the run.
      console: gets the lines.
      first_step: the step from which this start of the run goes on.
      pictures: whether to write histograms and figures, as costly as many a step.
    """
    self._config, self._folder, self._dataset = config, folder, dataset
    self._length, self.console = length, console
    self._first_step = self._last_step = first_step
    self._last_time = time.perf_counter()
    self._last_histogram = 0
    self._pictures_wanted = pictures
    self.rate = 0.0  # examples per second, between the last two evaluations
    # What was reported at the step from which the run goes on is not reported again.
    self._writer = summaries.create_writer(
      folder.path, first_step=first_step + 1 if first_step else 0
    )

  def __enter__(self) -> "Reporter":
    """Returns itself."""
    return self

  def __exit__(self, kind, error, _) -> None:
    """Closes the writer; tells TensorBoard how it ended, unless the run will go on.

    Raises:
      RunError: TensorBoard's events could not be written.
    """
    if isinstance(error, AsyncError):
      self.console.stop_bar()
      raise self._cannot_write(error) from error
    goes_on = kind is not None and (
      issubclass(kind, Interrupted) or not issubclass(kind, Exception)
    )
    self.close(None if goes_on else "failure" if kind else "success")

  def close(self, status: str | None) -> None:
    """Closes the writer; 'success' or 'failure' tell TensorBoard how the run ended.

    Raises:
      RunError: TensorBoard's events could not be written.
    """
    self.console.stop_bar()
    try:
      self._writer.close()
    except AsyncError as error:
      raise self._cannot_write(error) from error
    if status:
      summaries.write_session_end(self._folder.path, status)

  def _cannot_write(self, error: AsyncError) -> RunError:
    return RunError(f"cannot write TensorBoard's events in {self._folder.path}: {error.__cause__}")

  def introduction(self, params: Any, devices: str) -> None:
    """Says what is trained; in TensorBoard only at a run's first start.

    Args:
      params: at the first start those before the first step, for the histograms.
      devices: in words.
    """
    overview = parameter_overview.get_parameter_overview(params, include_stats=False)
    d = self._dataset
    self.console.line(overview)
    self.console.line(
      f"{d.name}: {d.train.num_examples:,} training, {d.validation.num_examples:,} validation, "
      f"{d.test.num_examples:,} test examples; on {devices}; in {self._folder.path}"
    )
    if self._first_step == 0:
      self._writer.write_hparams(summaries.hparams_of(self._config))
      self._writer.write_texts(
        0,
        {
          "config": f"```\n{config_lib.to_json(self._config)}\n```",
          "parameters": f"```\n{overview}\n```",
        },
      )
      self._histograms(0, params)
    size = self._config.batch_size
    self.console.start_bar(self._length.total_steps * size, self._first_step * size)

  def start_clock(self, now: float) -> None:
    """Makes rates count from `now`, a `time.perf_counter()`: not from before compilation."""
    self._last_time = now

  def evaluation(
    self, step: int, train: Mapping, validation: Mapping | None, scalars: Mapping, params: Any
  ) -> dict[str, float]:
    """Reports an evaluation.

    Args:
      step: how many steps are done.
      train: averages over the steps since the last evaluation.
      validation: loss and accuracy of the validation split, if there is one.
      scalars: what `steps.norms` gives, and the schedule's value.
      params: for the histograms.

    Returns:
      The row of metrics.jsonl: a function of config and data alone, without times.
    """
    row = {"step": step, "epoch": step / self._length.steps_per_epoch}
    row.update({f"train/{name}": float(value) for name, value in train.items()})
    row.update({f"validation/{name}": float(value) for name, value in (validation or {}).items()})
    row.update({f"train/{name}": float(value) for name, value in scalars.items()})
    row["train/learning_rate"] = self._config.optimizer.learning_rate * row.pop("train/schedule")
    self._folder.append_metrics(row)
    self._measure_rate(step)
    scalars = {name: value for name, value in row.items() if name not in ("step", "epoch")}
    self._writer.write_scalars(step, {**scalars, "train/examples_per_second": self.rate})
    if step - self._last_histogram >= self._length.total_steps / _HISTOGRAMS:
      self._histograms(step, params)
    self.console.line(self._evaluation_line(row))
    return row

  def _measure_rate(self, step: int) -> None:
    now = time.perf_counter()
    self.rate = (step - self._last_step) * self._config.batch_size / (now - self._last_time)
    self._last_step, self._last_time = step, now

  def _evaluation_line(self, row: Mapping[str, float]) -> str:
    total = self._length.total_steps
    epochs = total / self._length.steps_per_epoch
    parts = [f"epoch {row['epoch']:>4.4g}/{epochs:.4g}  step {row['step']}/{total}"]
    for split in ("train", "validation"):
      if f"{split}/loss" in row:
        loss, accuracy = row[f"{split}/loss"], 100 * row[f"{split}/accuracy"]
        parts.append(f"{split} loss {loss:.4f} accuracy {accuracy:.2f}%")
    left = round((total - row["step"]) * self._config.batch_size / self.rate)
    parts.append(f"{self.rate:,.0f} examples/s  {left // 60}:{left % 60:02} left")
    return " | ".join(parts)

  def _histograms(self, step: int, params: Any) -> None:
    if not self._pictures_wanted:
      return
    flat = jax.tree_util.tree_leaves_with_path(params)
    # TensorBoard opens the first groups of tags by name, which are then those of test and train.
    self._writer.write_histograms(
      step,
      {
        "/".join(["weights", *(str(key.key) for key in path)]): np.asarray(leaf)
        for path, leaf in flat
      },
    )
    self._last_histogram = step

  def test(
    self, metrics: Mapping, logits: np.ndarray, params: Any, best: Mapping | None
  ) -> dict[str, float]:
    """Reports the test result, with pictures; returns it as result.json holds it."""
    step, d = self._length.total_steps, self._dataset
    result = {name: float(value) for name, value in metrics.items()}
    self._writer.write_scalars(step, {f"test/{name}": value for name, value in result.items()})
    if self._pictures_wanted:
      self._pictures(step, logits, params)
    self.console.stop_bar()
    if best:
      self.console.line(
        f"best validation accuracy {100 * best['accuracy']:.2f}%, at step {best['step']}"
      )
    wrong = int((logits.argmax(-1) != d.test.labels).sum())
    self.console.line(
      f"test: {100 * wrong / d.test.num_examples:.2f}% error, {wrong} of all "
      f"{d.test.num_examples:,} images of {d.name} wrong; loss {result['loss']:.4f}"
    )
    return {
      **result,
      "error_percent": 100 * wrong / d.test.num_examples,
      "examples": d.test.num_examples,
    }

  def _pictures(self, step: int, logits: np.ndarray, params: Any) -> None:
    # Here because matplotlib is needed only now, and costs half a second.
    from mnist_mlp.run import figures

    test, names = self._dataset.test, self._dataset.class_names
    drawn = {
      "test/confusion_matrix": figures.confusion_matrix(test.labels, logits.argmax(-1), names),
      "test/worst_mistakes": figures.worst_mistakes(test.images, test.labels, logits, names),
      "weights/first_layer": figures.first_layer_weights(
        np.asarray(params["Dense_0"]["kernel"]), self._dataset.image_shape
      ),
    }
    if self._config.loss.name == "softmax_cross_entropy":
      drawn["test/reliability"] = figures.reliability_diagram(
        test.labels, np.asarray(jax.nn.softmax(logits))
      )
    if any(self._config.augment[name] for name in config_lib.AUGMENTATIONS):
      drawn["train/distortions"] = distortions(self._config, self._dataset)
    self._writer.write_images(
      step, {tag: figures.to_image(figure)[None] for tag, figure in drawn.items()}
    )


def distortions(config: ConfigDict, dataset: Dataset, count: int = 16) -> Any:
  """Returns a figure of the first training image and `count` distortions of it, as the run's."""
  from mnist_mlp.core import augment
  from mnist_mlp.run import figures

  images, labels = dataset.train
  batch = np.repeat(images[:1], count, 0), np.repeat(labels[:1], count)
  strengths = {name: config.augment[name] for name in config_lib.AUGMENTATIONS}
  # As one program: operation by operation it would be dozens to compile.
  distort = jax.jit(augment.distort, static_argnames="config")
  distorted = distort(
    jax.random.key(config.seed),
    *batch,
    config=FrozenConfigDict(config.augment),
    strengths=strengths,
  )
  return figures.distortions(images[0], np.asarray(distorted))
