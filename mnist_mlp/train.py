"""Training and evaluation of one run. Start reading here."""

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from etils import epy
from ml_collections import ConfigDict

from mnist_mlp import config as config_lib
from mnist_mlp.core import steps
from mnist_mlp.core.metrics import TrainMetrics
from mnist_mlp.core.schedule import create_schedule
from mnist_mlp.core.sharding import create_mesh, replicated
from mnist_mlp.core.state import (
  TrainState,
  evaluation_variables,
  initializer,
  num_weights,
  snapshot,
)
from mnist_mlp.core.traced import traced
from mnist_mlp.run import environment, placement
from mnist_mlp.run.checkpoint import Checkpoints
from mnist_mlp.run.console import Console
from mnist_mlp.run.distributed import check_shared
from mnist_mlp.run.history import Row
from mnist_mlp.run.loop import Chunk, Loop, measured
from mnist_mlp.run.memory import exhaustion, fetch
from mnist_mlp.run.origin import Origin, keep
from mnist_mlp.run.pace import Pace
from mnist_mlp.run.profile import ProfiledOnce
from mnist_mlp.run.result import Ending, Logits, result_of, validation_logits
from mnist_mlp.run.resuming import resume
from mnist_mlp.run.run import Run, open_run
from mnist_mlp.run.team import current
from mnist_mlp.run.workdir import Workdir

with epy.lazy_imports():  # The device works on its first steps while this is imported.
  from mnist_mlp.run import reporting

_SMALLER = "lower config.batch_size, config.eval_batch_size or config.model.features"


def train_and_evaluate(
  config: ConfigDict,
  workdir: str | Path,
  *,
  profile: bool = False,
  origin: Origin | None = None,
  on_evaluation: Callable[[Row], Any] | None = None,
) -> TrainState:
  """Trains a config to its end, from where the workdir's last checkpoint stands.

  Several processes do it together within `run.distributed.join`: all of them call this.

  Args:
    config: `config.default()`, with what differs.
    workdir: folder of the run, made if missing; see `run/workdir.py`.
    profile: writes a trace of one chunk of steps, for TensorBoard's profiler or Perfetto.
    origin: the run from which a new run starts; see `run/origin.py`.
    on_evaluation: is called with each row of metrics.jsonl, once its state is saved. Something true
      in return stops the run there, unfinished: the same call goes on with it.

  Returns:
    The last state. If the run is finished already, nothing is trained.

  Raises:
    UsageError: the config is wrong, or not that of the workdir, or JAX is asked for what cannot be.
    RunError: the workdir or the data cannot be used, or the loss became NaN or infinite.
    Interrupted: a signal such as SIGINT or SIGTERM arrived; the state is saved.
  """
  config = config_lib.validate(config)
  environment.check_jax()
  environment.free_programs()  # of runs before, which this one cannot use
  team = current()
  place = Workdir(workdir, writes=team.leads)
  with place.claim(config) as folder, jax.set_mesh(create_mesh()), exhaustion(_SMALLER):
    check_shared(team, folder)
    keep(folder, origin)
    run = open_run(config, folder, Console(quiet=not team.leads), on_evaluation, team)
    with Checkpoints(folder.path / "checkpoints", run.console.line, team) as checkpoints:
      trainer = Trainer(run)
      new = trainer.state, trainer.metrics
      first_step, (trainer.state, trainer.metrics) = resume(run, new, checkpoints)
      if folder.result() is not None:
        run.console.line(f"the run in {folder.path} is finished: nothing is trained")
      else:
        profiled = profile and team.leads
        dispatch = ProfiledOnce(trainer.dispatch, run) if profiled else trainer.dispatch
        loop = Loop(dispatch, run.timetable, trainer.pace, first_step, team)
        _train(run, trainer, loop, checkpoints)
      return trainer.state


def _train(run: Run, trainer: "Trainer", loop: Loop, checkpoints: Checkpoints) -> None:
  """Trains, reports, saves and tests. Leaves result.json."""
  started, first_step, total_steps = time.perf_counter(), loop.step, run.timetable.total_steps
  run.warn_of_stand_in()
  if first_step:
    run.console.line(f"resuming at step {first_step} of {total_steps}")
  params = fetch(trainer.state.params)
  loop.start()  # From now on the device works.
  with reporting.Reporter(run, first_step) as reporter:
    reporter.introduction(params)
    reporter.start_clock(loop.started)
    with environment.StopSignals() as signals:
      for chunk in loop.chunks(total_steps, signals):
        found = measured(chunk)
        if found.non_finite is not None:
          raise checkpoints.diverged(found.non_finite)
        run.console.advance(chunk.num_steps * run.config.batch_size)
        row: Row = {}
        if run.timetable.evaluates_at(chunk.step):
          row = reporter.evaluation(chunk.step, found, chunk.snapshot[0].params)
        if chunk.snapshot:
          accuracy = row.get("validation/accuracy")
          reporter.flush()
          checkpoints.save(chunk.step, chunk.snapshot, run.about(), accuracy)
        if row and run.stopped_by_caller(row) and not loop.stopped(signals):
          trainer.state, trainer.metrics = chunk.snapshot
          return
      if loop.step < total_steps:
        checkpoints.save(loop.step, (trainer.state, trainer.metrics), run.about())
        checkpoints.wait()
        raise signals.interrupted(
          f" after step {loop.step} of {total_steps}; the state is saved in {run.folder.path}"
        )
    metrics, logits = trainer.test()  # Meanwhile the last checkpoint is saved.
    best = checkpoints.best()
    test = reporter.test(metrics, logits, trainer.evaluated_params(), best)
    checkpoints.wait()
    tree, validate = (trainer.state, trainer.metrics), trainer.validate
    said = Logits(logits, *validation_logits(run, tree, validate, checkpoints, best))
  # A resumed run does not know how long the starts before it took.
  seconds = None if first_step else round(time.perf_counter() - started, 3)
  ending = Ending(test, best, num_weights(trainer.state.params), reporter.rate, seconds, said)
  run.folder.write_json("result.json", result_of(run, ending))
  run.warn_of_stand_in()


class Trainer:
  """A run on the device: its state, its examples, and the dispatch of its steps."""

  def __init__(self, run: Run):
    """Puts the first state, empty metrics and small data on every device, as one program."""
    self._run = run
    validation = run.dataset.validation if run.dataset.validation.num_examples else None
    splits = () if run.timetable.block else (run.dataset.train, validation)
    initialize = initializer(run.config, run.spec)

    @functools.partial(jax.jit, out_shardings=replicated())
    def place(values, *splits):
      return initialize(values), TrainMetrics.empty(), *splits

    self.state, self._no_metrics, *placed = place(traced(run.config), *splits)
    self.metrics = self._no_metrics  # of the steps since the last evaluation
    self._examples = placement.of_run(run.static, run.dataset, run.timetable, placed)
    self.validate = self._examples.validate if validation else None
    weights = num_weights(self.state.params)
    self.pace = Pace(weights, run.config.batch_size, self.state.scanned)
    self._schedule = jax.jit(create_schedule(run.config, run.timetable.length))

  def dispatch(self, step: int, length: steps.ChunkLength) -> Chunk:
    """Starts the next steps on the device, then evaluation and copies. Waits for nothing."""
    timetable = self._run.timetable
    self.state, metrics = self._examples.train_chunk(self.state, self.metrics, step, length)
    chunk = Chunk(step + length.num_steps, length.num_steps, metrics)
    self.metrics = metrics
    if timetable.evaluates_at(chunk.step):
      self.metrics = self._no_metrics
      if self.validate:
        chunk.validation, _ = self.validate(self.state)
    if timetable.saves_at(chunk.step):
      chunk.norms = self._examples.norms(self.state)
      chunk.schedule = self._schedule(np.int32(chunk.step))
      chunk.snapshot = snapshot((self.state, self.metrics))
    return chunk

  def test(self) -> tuple[dict[str, Any], np.ndarray]:
    """Returns loss and accuracy of the state on the test split, and its logits there."""
    metrics, logits = fetch(self._examples.test(self.state))
    return metrics.compute(), logits

  def evaluated_params(self) -> Any:
    """Returns the parameters that are evaluated: the weights, or an average of them."""
    return evaluation_variables(self.state, self._run.config)["params"]
