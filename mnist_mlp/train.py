"""Training and evaluation of one run: the only place where steps, data, files and reports meet."""

import dataclasses
import functools
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from ml_collections import ConfigDict, FrozenConfigDict

from mnist_mlp import config as config_lib
from mnist_mlp.config import AUGMENTATIONS, duration
from mnist_mlp.core import steps
from mnist_mlp.core.metrics import NEVER, TrainMetrics
from mnist_mlp.core.optimizer import create_schedule
from mnist_mlp.data import dataset as data
from mnist_mlp.errors import Interrupted, RunError, UsageError
from mnist_mlp.run import environment
from mnist_mlp.run.checkpoint import Checkpoints
from mnist_mlp.run.console import Console, boxed
from mnist_mlp.run.workdir import Workdir

if TYPE_CHECKING:
  from mnist_mlp.run.reporting import Reporter

# A chunk should not take longer than this, so that signals and the progress bar need not wait.
_CHUNK_SECONDS = 4.0
_MOST_STEPS = 2**31 - 1  # as an int32 counts them
# Arithmetic per second that is assumed until the first chunk has been timed.
_ASSUMED_FLOPS = 1e11


def train_and_evaluate(
  config: ConfigDict, workdir: str | os.PathLike, *, profile: bool = False
) -> steps.TrainState:
  """Trains a config to its end, from where the workdir's last checkpoint stands.

  Args:
    config: `config.default()`, with what differs.
    workdir: folder of the run, created if missing; `workdir.py` says what it holds then.
    profile: writes a trace of one chunk of steps, for TensorBoard's profiler or Perfetto.

  Returns:
    The last state. A run that is finished already returns it without training.

  Raises:
    UsageError: the config is wrong, or not the one that the workdir holds.
    RunError: the workdir or the data cannot be used, or the loss became NaN or infinite.
    Interrupted: SIGINT or SIGTERM arrived; the state is saved.
  """
  config = config_lib.validate(config)
  with Workdir(workdir).claim(config) as folder, jax.set_mesh(steps.create_mesh()):
    console = Console()
    dataset = _load_data(config, folder, console)
    length = check_sizes(config, dataset)
    folder.keep_config(config)  # First: what else a folder holds counts for this config alone.
    folder.write_json("dataset.json", dataset.describe())
    with Checkpoints(folder.path / "checkpoints", report=console.line) as checkpoints:
      run = _Run(config, folder, dataset, length, checkpoints, console, profile)
      if folder.result() is None:
        run.train()
      return run.state


def _load_data(config: ConfigDict, folder: Workdir, console: Console) -> data.Dataset:
  """Loads the data; a resumed run gets those on which it was started, or an error."""
  held = folder.read_json("dataset.json")
  dataset = data.load(config.data, report=console.line, only=held["name"] if held else None)
  check_same_data(folder, dataset)
  return dataset


def check_same_data(folder: Workdir, dataset: data.Dataset) -> None:
  """Raises a RunError if the folder's run was started on other data."""
  held = folder.read_json("dataset.json")
  if held and held["fingerprint"] != dataset.fingerprint:
    raise RunError(
      f"the run in {folder.path} was started on other data of the name {dataset.name!r} "
      f"(fingerprint {held['fingerprint']}, now {dataset.fingerprint}); use another --workdir"
    )


def check_sizes(config: ConfigDict, dataset: data.Dataset) -> steps.Length:
  """Returns the run's length, once it is clear that batches fit the data and the devices.

  Raises:
    UsageError: they do not.
  """
  size, examples = config.batch_size, dataset.train.num_examples
  if size > examples:
    raise UsageError(
      f"config.batch_size is {size}, larger than the {examples} training examples of "
      f"{dataset.name!r}"
    )
  if config.optimizer.name == "lbfgs" and size != examples:
    raise UsageError(
      f"config.batch_size is {size}, but optimizer 'lbfgs' needs the full batch, {examples}"
    )
  for name in ("batch_size", "eval_batch_size"):
    if config[name] % jax.device_count():
      raise UsageError(
        f"config.{name} is {config[name]}, which the {jax.device_count()} devices cannot share "
        "evenly; use a multiple of their number"
      )
  classes, chosen = dataset.num_classes, config.augment.rotation_of
  if any(label >= classes for label in chosen):
    raise UsageError(
      f"config.augment.rotation_of is {chosen}, but the classes of {dataset.name!r} are 0 to "
      f"{classes - 1}"
    )
  length = steps.run_length(config, examples)
  if not length.total_steps:
    raise UsageError(f"config.num_epochs is {config.num_epochs}, which is less than one step")
  if length.total_steps > _MOST_STEPS:
    raise UsageError(
      f"config.num_epochs is {config.num_epochs}, which is {length.total_steps:,} "
      f"steps, but there can be {_MOST_STEPS:,} at most"
    )
  clean = duration(config.augment, "clean", length.steps_per_epoch)
  if clean >= length.total_steps and any(config.augment[name] for name in AUGMENTATIONS):
    raise UsageError(
      f"config.augment leaves the last {clean:,} steps undistorted (clean_epochs, clean_steps), "
      f"which are all {length.total_steps:,} of the run; lower that, or switch distortions off"
    )
  return length


def split_into_scans(start: int, stop: int, per_epoch: int, limit: int) -> tuple[int, int]:
  """Returns (epochs, steps): the next scan from step `start` on the way to `stop`.

  Either whole epochs from an epoch's start, or equal parts of one epoch; about `limit` steps at the
  most, but for a single step of each epoch.
  """
  offset, remaining = start % per_epoch, stop - start
  if offset == 0 and per_epoch <= min(remaining, max(limit, 1)):
    return min(remaining, limit) // per_epoch, per_epoch
  room = min(remaining, per_epoch - offset)
  parts = -(-room // max(limit, 1))
  return 1, -(-room // parts)


@dataclasses.dataclass
class _Chunk:
  """Steps that are dispatched, and what to do once they are computed; all arrays on the device."""

  step: int  # how many steps are done after it
  num_steps: int
  metrics: TrainMetrics
  evaluate: bool
  validation: Any = None  # EvalMetrics
  scalars: Any = None  # norms and learning rate
  snapshot: Any = None  # (state, metrics) to save


class _Run:
  """One start of a run: its parts, and the loop over them."""

  def __init__(self, config, folder, dataset, length, checkpoints, console, profile):
    self.config, self.static = config, FrozenConfigDict(config)
    self.folder, self.dataset, self.length = folder, dataset, length
    self.checkpoints, self.console = checkpoints, console
    self.environment = environment.describe()
    self._place()
    self.metrics = self.no_metrics
    self.first_step = self._restore()
    self.eval_every = duration(config, "eval_every", length.steps_per_epoch)
    self.checkpoint_every = duration(config, "checkpoint_every", length.steps_per_epoch)
    self.schedule = jax.jit(create_schedule(config, length.total_steps, length.steps_per_epoch))
    self.limit = self._first_limit()
    self.compiled_at = 0.0  # when the first chunk was dispatched, for rates
    self.profile = profile  # whether a trace is still to be written

  def _place(self) -> None:
    """Puts data, initial state and empty metrics on every device, as one program."""
    validation = tuple(self.dataset.validation) if self.dataset.validation.num_examples else None
    initialize = steps.initializer(self.config, self.dataset)

    @functools.partial(jax.jit, out_shardings=steps.replicated())
    def place(values, *splits):
      return initialize(values), TrainMetrics.empty(), *splits

    self.state, self.no_metrics, self.train_split, self.validation_split = place(
      steps.traced(self.config), tuple(self.dataset.train), validation
    )

  def _restore(self) -> int:
    """Goes to the last checkpoint, if there is one; returns its step."""
    restored = self.checkpoints.restore_latest((self.state, self.metrics))
    step = 0
    if restored is not None:
      step, (self.state, self.metrics) = restored
      changed = environment.changes(
        self.folder.read_json("environment.json") or {}, self.environment
      )
      if changed:
        self.console.line(f"warning: the last bits of the results may change, like {changed}")
    if self.folder.result() is None:
      self.folder.truncate_metrics(step)
      self.folder.write_json("environment.json", self.environment)
    return step

  def _first_limit(self) -> int:
    weights = sum(leaf.size for leaf in jax.tree.leaves(self.state.params))
    flops = 6 * weights * self.config.batch_size  # 2 forward, 4 backward for each weight
    return max(1, int(_CHUNK_SECONDS * _ASSUMED_FLOPS / flops))

  def train(self) -> None:
    """Trains, reports, saves and tests; leaves result.json."""
    started = time.perf_counter()
    self._warn_of_stand_in()
    if self.first_step:
      self.console.line(f"resuming at step {self.first_step} of {self.length.total_steps}")
    weights = jax.device_get(self.state.params)
    first = self._next_chunk(self.first_step) if self.first_step < self.length.total_steps else None
    # Here because all that it imports need not keep the device waiting, which works from now on.
    from mnist_mlp.run.reporting import Reporter

    with Reporter(
      self.config, self.folder, self.dataset, self.length, self.console, self.first_step
    ) as reporter:
      reporter.introduction(weights, self.environment["devices"])
      reporter.start_clock(self.compiled_at)
      self._loop(first, reporter)
      result = self._result(reporter)
      # A resumed run does not know how long the starts before it took.
      seconds = round(time.perf_counter() - started, 3)
      result["seconds"] = None if self.first_step else seconds
      self.checkpoints.wait()
    self.folder.write_json("result.json", result)
    self._warn_of_stand_in()

  def _warn_of_stand_in(self) -> None:
    d = self.dataset
    if d.stand_in_for:
      self.console.line(
        boxed(
          f"{d.stand_in_for} could not be had: this run trains on {d.name} INSTEAD.\n"
          f"Its results say nothing about {d.stand_in_for}."
        )
      )

  def _loop(self, pending: _Chunk | None, reporter: "Reporter") -> None:
    step, total = pending.step if pending else self.first_step, self.length.total_steps
    with environment.StopSignals() as signals:
      while step < total and not signals.received:
        # The next chunk is dispatched before the results of the last one are waited for, so that
        # the device always has work.
        chunk = self._next_chunk(step)
        self._complete(pending, reporter)
        step, pending = chunk.step, chunk
      if pending:
        self._complete(pending, reporter)
      if step < total:
        self._stop(step, signals.received)

  def _stop(self, step: int, received: signal.Signals) -> None:
    self.checkpoints.save(step, (self.state, self.metrics), self._about())
    self.checkpoints.wait()
    raise Interrupted(
      f"interrupted by {received.name} after step {step} of {self.length.total_steps}; "
      f"the state is saved in {self.folder.path}",
      received,
    )

  def _about(self) -> dict[str, Any]:
    return {"config": self.config.to_dict(), "environment": self.environment}

  def _next_chunk(self, step: int) -> _Chunk:
    # The first one would show little but compilation in a trace.
    only = step == self.first_step and self._next_stop(step) == self.length.total_steps
    if self.profile and (only or step > self.first_step):
      self.profile = False
      return self._traced(step)
    return self._dispatch(step)

  def _traced(self, step: int) -> _Chunk:
    """Dispatches a chunk and waits for it, under JAX's profiler."""
    jax.block_until_ready(self.state)
    with jax.profiler.trace(str(self.folder.path), create_perfetto_trace=True):
      chunk = self._dispatch(step)
      jax.block_until_ready(self.state)
    self.console.line(
      f"traced steps {step} to {chunk.step} in {self.folder.path / 'plugins' / 'profile'}"
    )
    return chunk

  def _next_stop(self, step: int) -> int:
    """Returns the next step at which there is something to do besides training."""
    everies = [every for every in (self.eval_every, self.checkpoint_every) if every]
    return min(self.length.total_steps, *((step // every + 1) * every for every in everies))

  def _dispatch(self, step: int) -> _Chunk:
    """Starts the next steps on the device, and what follows them there; waits for nothing."""
    epochs, num_steps = split_into_scans(
      step, self._next_stop(step), self.length.steps_per_epoch, self.limit
    )
    self.state, metrics = steps.train_chunk(
      self.state,
      self.metrics,
      *self.train_split,
      config=self.static,
      epochs=epochs,
      steps=num_steps,
    )
    self.compiled_at = self.compiled_at or time.perf_counter()
    step += epochs * num_steps
    evaluate = step == self.length.total_steps or step % self.eval_every == 0
    chunk = _Chunk(step, epochs * num_steps, metrics, evaluate)
    self.metrics = self.no_metrics if evaluate else metrics
    if evaluate and self.validation_split:
      chunk.validation = steps.evaluate(self.state, *self.validation_split, config=self.static)
    if evaluate or (self.checkpoint_every and step % self.checkpoint_every == 0):
      chunk.scalars = steps.norms(self.state, *self.train_split, config=self.static)
      chunk.scalars["schedule"] = self.schedule(np.int32(step))
      chunk.snapshot = steps.snapshot((self.state, self.metrics))
    return chunk

  def _complete(self, chunk: _Chunk, reporter: "Reporter") -> None:
    """Waits for a chunk; checks, reports and saves what it gave.

    It must compute nothing on the device: that would wait for the chunk that already runs there.
    """
    started = time.perf_counter()
    train, validation, scalars = jax.device_get((chunk.metrics, chunk.validation, chunk.scalars))
    self._adapt_limit(chunk, time.perf_counter() - started)
    train = train.compute()
    self._check_finite(chunk.step, int(train.pop("first_non_finite")), scalars)
    self.console.advance(chunk.num_steps * self.config.batch_size)
    accuracy = None
    if chunk.evaluate:
      row = reporter.evaluation(
        chunk.step, train, validation and validation.compute(), scalars, chunk.snapshot[0].params
      )
      accuracy = row.get("validation/accuracy")
    if chunk.snapshot:
      self.checkpoints.save(chunk.step, chunk.snapshot, self._about(), accuracy)

  def _adapt_limit(self, chunk: _Chunk, waited: float) -> None:
    """Makes chunks shorter when the host waits long for one, longer when it hardly waits."""
    if waited > _CHUNK_SECONDS:
      self.limit = max(1, chunk.num_steps // 2)
    elif waited < _CHUNK_SECONDS / 8:
      self.limit = max(self.limit, 4 * chunk.num_steps)

  def _check_finite(self, step: int, first_bad: int, scalars: Any) -> None:
    if scalars and not np.isfinite(scalars["parameter_norm"]):
      first_bad = min(first_bad, step)
    if first_bad == NEVER:
      return
    self.checkpoints.wait()
    saved = self.checkpoints.steps()
    good = f"the last good checkpoint is that of step {saved[-1]}" if saved else "nothing was saved"
    raise RunError(
      f"the loss became NaN or infinite at step {first_bad}; {good}; a smaller "
      "config.optimizer.learning_rate or a config.optimizer.clip_norm may help"
    )

  def _result(self, reporter: "Reporter") -> dict[str, Any]:
    """Tests the last state; returns what result.json holds."""
    place = jax.jit(lambda tree: tree, out_shardings=steps.replicated())
    images, labels = place(tuple(self.dataset.test))
    metrics, logits = jax.device_get(
      steps.evaluate_and_predict(self.state, images, labels, config=self.static)
    )
    params = steps.evaluation_variables(self.state, self.config)["params"]
    best = self._best()
    test = reporter.test(metrics.compute(), logits, params, best)
    last = self.folder.metrics()[-1]
    return {
      "dataset": self.dataset.describe(),
      "steps": self.length.total_steps,
      "epochs": self.length.total_steps / self.length.steps_per_epoch,
      "weights": sum(leaf.size for leaf in jax.tree.leaves(self.state.params)),
      "test": test,
      "validation": {"loss": last["validation/loss"], "accuracy": last["validation/accuracy"]}
      if self.validation_split
      else None,
      "train": {"loss": last["train/loss"], "accuracy": last["train/accuracy"]},
      "best_validation": best,
      "examples_per_second": round(reporter.rate, 1) or None,  # None: no step was left
      "environment": self.environment,
    }

  def _best(self) -> dict[str, float] | None:
    step = self.checkpoints.best_step()
    rows = {row["step"]: row for row in self.folder.metrics()}
    return step and {"step": step, "accuracy": rows[step]["validation/accuracy"]}
