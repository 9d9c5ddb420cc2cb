"""Training of a population: the loop of train.py, for many runs as one program."""

import time
from collections.abc import Mapping

import jax
import numpy as np

from mnist_mlp.core.steps import ChunkLength
from mnist_mlp.run import environment
from mnist_mlp.run.checkpoint import Checkpoints
from mnist_mlp.run.console import clock
from mnist_mlp.run.loop import Chunk, Loop, Measured, measured
from mnist_mlp.run.memory import exhaustion, fetch
from mnist_mlp.run.pace import Pace
from mnist_mlp.run.reporting import Reporter
from mnist_mlp.run.result import Ending, Logits, result_of
from mnist_mlp.run.resuming import start_rows
from mnist_mlp.run.run import Run
from mnist_mlp.sweeps import stacked
from mnist_mlp.sweeps.member import DIVERGED, Member, save
from mnist_mlp.sweeps.population import Manner, Population

_SMALLER = "lower --max_members, config.batch_size, config.eval_batch_size or config.model.features"


def train_to(population: Population, share: float, manner: Manner) -> None:
  """Trains the unfinished members of a population, from where its last checkpoint stands.

  Deletes the population's folder once nobody has to go on.

  Args:
    population: is claimed for this process.
    share: of the members' length, in (0, 1]. At 1 the members are tested and finished. Below 1 they
      train up to the first evaluation at that share or after it.
    manner: how to train.

  Raises:
    HeldError, UsageError: see `Population.claim`.
    RunError: files cannot be read or written, or the memory is full.
    Interrupted: SIGINT or SIGTERM arrived; the state is saved.
  """
  if not population.unfinished():
    return
  until = population.group.timetable.evaluation_after(share)
  with population.claim() as runs, exhaustion(_SMALLER):
    if runs:
      with population.checkpoints(manner.console) as checkpoints:
        _Training(population, runs, checkpoints, manner).train(until)
  if not population.unfinished():
    population.remove()


class _Training:
  """One start of a population."""

  def __init__(
    self, population: Population, runs: Mapping[int, Run], checkpoints: Checkpoints, manner: Manner
  ):
    self._population, self._group = population, population.group
    self._runs, self._checkpoints, self._manner = runs, checkpoints, manner
    self._size = len(population.members)
    self._step, tree = population.restore(checkpoints)
    self._saved_rows = population.rows(checkpoints, self._step)
    group = self._group
    splits = () if group.streams else (group.train, group.validation)
    self._tree, splits = stacked.spread(tree, splits)
    self._validates = group.dataset.validation.num_examples > 0
    self._examples = group.examples(population.seed(), self._size, splits)
    shardings = jax.tree.map(lambda leaf: leaf.sharding, self._tree["metrics"])
    self._no_metrics = jax.device_put(stacked.no_metrics(self._size), shardings)
    self._started = self._saved_at = time.perf_counter()
    self._reporters: dict[int, Reporter] = {}  # of the members that still train

  def train(self, until: int) -> None:
    """Trains up to a step; at the last one, tests and finishes the members."""
    try:
      for row, run in self._runs.items():
        self._reporters[row] = self._open(run, self._population.members[row])
      self._loop(until)
      if self._reporters and until == self._group.timetable.total_steps:
        self._finish()
    finally:
      for reporter in self._reporters.values():
        reporter.close(None)

  def _open(self, run: Run, member: Member) -> Reporter:
    run.folder.keep_config(member.config)
    run.folder.write_json("dataset.json", run.dataset.describe())
    start_rows(run, self._step, self._saved_rows[member.name])
    run.folder.write_json("environment.json", run.environment)
    reporter = Reporter(run, self._step, pictures=False)
    reporter.introduction(self._group.member.params)
    return reporter

  def _loop(self, until: int) -> None:
    timetable = self._group.timetable
    examples = self._group.config.batch_size * self._size
    pace = Pace(self._group.num_weights, examples, self._group.member.scanned)
    loop = Loop(self._dispatch, timetable, pace, self._step)
    saved = self._step
    with environment.StopSignals() as signals:
      for chunk in loop.chunks(until, signals):
        self._report(chunk)
        if not self._reporters:  # All of them diverged.
          return
        if chunk.snapshot:
          saved = self._save(chunk.step, chunk.snapshot)
      # At the end of the run, every member is saved by itself.
      if saved < loop.step < timetable.total_steps:
        self._save(loop.step, stacked.pack(self._tree))
      if loop.step < until:
        total = timetable.total_steps
        raise signals.interrupted(f" after step {loop.step} of {total}; the sweep is saved")

  def _save(self, step: int, packed: stacked.Tree) -> int:
    members = self._population.members
    rows = {members[row].name: run.folder.history.rows for row, run in self._runs.items()}
    for reporter in self._reporters.values():
      reporter.flush()
    self._checkpoints.save(step, packed, {"rows": rows})
    self._checkpoints.wait()
    if self._manner.saved:
      self._manner.saved(step)
    return step

  def _dispatch(self, step: int, length: ChunkLength) -> Chunk:
    """Starts the next steps on the device, then evaluation and copies. Waits for nothing."""
    group, tree, examples = self._group, self._tree, self._examples
    tree["state"], metrics = examples.train_chunk(tree["state"], tree["metrics"], step, length)
    chunk = Chunk(step + length.num_steps, length.num_steps, metrics)
    tree["metrics"] = metrics
    if group.timetable.evaluates_at(chunk.step):
      tree["metrics"] = self._no_metrics
      chunk.norms = examples.norms(tree["state"])
      chunk.schedule = group.schedule(np.int32(chunk.step))
      if self._validates:
        chunk.validation, _ = examples.validate(tree["state"])
        accuracy = chunk.validation.accuracy.compute()
        tree["best"] = stacked.keep_best(tree["best"], tree["state"], accuracy)
    if self._save_is_due(chunk.step):
      chunk.snapshot = stacked.pack(tree)
    return chunk

  def _save_is_due(self, step: int) -> bool:
    now = time.perf_counter()
    if step == self._group.timetable.total_steps or now - self._saved_at <= self._manner.save_every:
      return False
    self._saved_at = now
    return True

  def _report(self, chunk: Chunk) -> None:
    """Marks the members that diverged, and reports the evaluation of the others."""
    found = {row: measured(chunk, row) for row in self._reporters}
    for row, of_member in found.items():
      if of_member.non_finite is not None:
        self._diverged(row, of_member.non_finite)
    if self._reporters and self._group.timetable.evaluates_at(chunk.step):
      for row, reporter in self._reporters.items():
        reporter.evaluation(chunk.step, found[row], None)
      self._manner.console.line(self._line(chunk.step, found))

  def _diverged(self, row: int, step: int) -> None:
    self._reporters.pop(row).close("failure")
    member = self._population.members[row]
    member.stop(DIVERGED, step)
    self._manner.console.line(f"{member.name}: the loss became NaN or infinite at step {step}")

  def _line(self, step: int, found: Mapping[int, Measured]) -> str:
    live = list(self._reporters)
    split = "validation" if self._validates else "train"
    accuracy = np.array([getattr(found[row], split)["accuracy"] for row in live])
    best = self._population.members[live[int(accuracy.argmax())]].name
    examples = (step - self._step) * self._group.config.batch_size * self._size
    rate = examples / (time.perf_counter() - self._started)
    total = self._group.timetable.total_steps
    left = (total - step) * self._group.config.batch_size * self._size / rate
    return (
      f"{len(live)} of {self._size} runs | step {step}/{total} | "
      f"{split} accuracy {100 * np.median(accuracy):.2f}% median, {100 * accuracy.max():.2f}% best "
      f"({best}) | {rate:,.0f} examples/s in all, {clock(left)} left"
    )

  def _finish(self) -> None:
    """Tests every member, saves it, and leaves its result.json."""
    metrics, logits = fetch(self._examples.test(self._tree["state"]))
    last, of_best = self._validation_logits()
    packed = fetch(stacked.pack(self._tree))
    for row in list(self._reporters):
      run, reporter = self._runs[row], self._reporters.pop(row)
      best = save(run, packed, row)
      tested = reporter.test(stacked.take(metrics, row).compute(), logits[row], None, best)
      seconds = round(time.perf_counter() - self._started, 3)
      said = Logits(
        logits[row],
        None if last is None else last[row],
        None if of_best is None or best is None else of_best[row],
      )
      ending = Ending(tested, best, self._group.num_weights, reporter.rate, seconds, said)
      reporter.close("success")
      run.folder.write_json("result.json", {**result_of(run, ending), "population": self._size})

  def _validation_logits(self) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Returns what the last and the best weights say of validation, [members, N, classes] each."""
    if not self._validates:
      return None, None
    states = self._tree["state"], stacked.share(self._tree["best"]["state"])
    logits = [self._examples.validate(one)[1] for one in states]
    last, of_best = fetch(logits)
    return last, of_best
