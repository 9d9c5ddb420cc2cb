"""Trains a population, and leaves for each of its members a folder like that of any run.

A member's folder holds what `workdir.py` says, or instead of result.json

    stopped.json    why the run ended before its end, and at which step

A population's folder, from which it goes on after it was interrupted, and which is gone in the end:

    members.json    who is in it, in the order of the arrays' first axis
    checkpoints/    Orbax: all that the population has to remember, as one tree
"""

import contextlib
import dataclasses
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mnist_mlp.core.metrics import NEVER, TrainMetrics
from mnist_mlp.errors import Interrupted
from mnist_mlp.run import environment
from mnist_mlp.run import tensorboard as summaries
from mnist_mlp.run.checkpoint import Checkpoints
from mnist_mlp.run.console import Console
from mnist_mlp.run.reporting import Reporter
from mnist_mlp.run.workdir import Workdir
from mnist_mlp.sweeps import population
from mnist_mlp.sweeps.points import Point
from mnist_mlp.sweeps.population import Group
from mnist_mlp.train import check_same_data, split_into_scans

FINISHED, DIVERGED, STOPPED, UNFINISHED = "finished", "diverged", "stopped early", "unfinished"


class Member:
  """One point of a sweep and its folder."""

  def __init__(self, point: Point, sweep_folder: Path):
    """Names the folder, without touching it."""
    self.point, self.config, self.name = point, point.config, point.name
    self.folder = Workdir(sweep_folder / "members" / point.name)

  def status(self) -> str:
    """Returns FINISHED, DIVERGED, STOPPED or UNFINISHED."""
    if self.folder.result() is not None:
      return FINISHED
    return (self.folder.read_json("stopped.json") or {"status": UNFINISHED})["status"]

  def stop(self, status: str, step: int) -> None:
    """Notes that the training ended before its end."""
    self.folder.write_json("stopped.json", {"status": status, "step": step})


class Silent(Console):
  """For the members, which would all talk at once."""

  def start_bar(self, examples: int, done: int) -> None:
    """Shows nothing."""

  def line(self, text: str) -> None:
    """Prints nothing."""


@dataclasses.dataclass
class Population:
  """Some members of a group, in the order of the arrays' first axis, and their common folder."""

  path: Path
  group: Group
  members: list[Member]

  def template(self) -> Any:
    """Returns shapes and dtypes of the tree in its checkpoints."""
    configs = [member.config for member in self.members]
    return jax.eval_shape(lambda: population.pack(population.initial(self.group, configs)))

  def checkpoints(self, console: Console) -> Checkpoints:
    """Opens its checkpoints."""
    return Checkpoints(self.path / "checkpoints", report=console.line)

  def unfinished(self) -> list[int]:
    """Returns the rows of the members that have to train on."""
    return [row for row, m in enumerate(self.members) if m.status() == UNFINISHED]

  def train(
    self,
    until: int,
    console: Console,
    save_every: float,
    saved: Callable[[int], None] = lambda step: None,
  ) -> None:
    """Trains its unfinished members up to step `until`, from where its last checkpoint stands.

    Args:
      until: a step at which members are evaluated; the last one finishes them.
      console: for the population as a whole.
      save_every: seconds between two checkpoints.
      saved: is called with the step of each checkpoint, once that is on disk.

    Raises:
      HeldError: another process trains it, or one of its unfinished members.
      UsageError: a member's folder holds a run of another config.
      RunError: files cannot be read or written.
      Interrupted: SIGINT or SIGTERM arrived; the state is saved.
    """
    with contextlib.ExitStack() as stack:
      stack.enter_context(Workdir(self.path).lock())
      rows = self.unfinished()
      if not rows:
        return
      for row in rows:
        member = self.members[row]
        stack.enter_context(member.folder.claim(member.config))
        check_same_data(member.folder, self.group.dataset)
      _write_members(self)
      checkpoints = stack.enter_context(self.checkpoints(console))
      _Run(self, rows, checkpoints, console, save_every, saved).train(until)

  def train_to(
    self,
    share: float,
    console: Console,
    save_every: float,
    saved: Callable[[int], None] = lambda step: None,
  ) -> None:
    """Like `train`, up to a share of its length; deletes its folder if nobody has to go on."""
    if self.unfinished():
      self.train(self.group.step_at(share), console, save_every, saved)
      if not self.unfinished():
        self.remove()

  def remove(self) -> None:
    """Deletes its folder."""
    shutil.rmtree(self.path, ignore_errors=True)


def _write_members(p: Population) -> None:
  Workdir(p.path).write_json("members.json", {"members": [member.name for member in p.members]})


@dataclasses.dataclass
class _Chunk:
  """Steps that are dispatched, and what they gave; arrays on the device, stacked over members."""

  step: int  # how many steps are done after it
  metrics: TrainMetrics
  evaluate: bool
  validation: Any = None  # EvalMetrics
  scalars: Any = None  # norms, float32 [members], and the schedule, float32 []


class _Run:
  """One start of a population."""

  def __init__(self, p: Population, rows, checkpoints, console, save_every, saved):
    self.p, self.group, self.checkpoints, self.console = p, p.group, checkpoints, console
    self.save_every, self.saved = save_every, saved
    self.environment = environment.describe()
    self.step, tree = self._restore()
    self.tree, (self.train_split, self.validation_split) = population.spread(
      tree, (p.group.train, p.group.validation)
    )
    self.saved_at, self.saved_step = time.perf_counter(), self.step
    self.started, self.started_at = time.perf_counter(), self.step
    self.size = len(p.members)
    self.no_metrics = jax.device_put(
      population.no_metrics(self.size),
      jax.tree.map(lambda leaf: leaf.sharding, self.tree["metrics"]),
    )
    self.limit = self.group.scan_limit(self.size)
    self.rows = rows
    self.reporters: dict[int, Reporter] = {}

  def _restore(self) -> tuple[int, dict[str, Any]]:
    if self.checkpoints.exist():
      step, packed = self.checkpoints.restore_latest(self.p.template())
      return step, population.unpack(packed)
    return 0, population.initial(self.group, [member.config for member in self.p.members])

  def train(self, until: int) -> None:
    """Trains up to a step; at the last one, tests and finishes the members."""
    try:
      for row in self.rows:
        self.reporters[row] = self._open(row)
      self._loop(until)
      if self.reporters and until == self.group.length.total_steps:
        _Finish(self).all()
    finally:
      for reporter in self.reporters.values():
        reporter.close(None)

  def _open(self, row: int) -> Reporter:
    member, dataset = self.p.members[row], self.group.dataset
    folder = member.folder
    folder.keep_config(member.config)
    folder.write_json("dataset.json", dataset.describe())
    folder.truncate_metrics(self.step)
    folder.write_json("environment.json", self.environment)
    reporter = Reporter(
      member.config, folder, dataset, self.group.length, Silent(), self.step, pictures=False
    )
    reporter.introduction(self.group.member.params, self.environment["devices"])
    return reporter

  def _loop(self, until: int) -> None:
    pending = None
    with environment.StopSignals() as signals:
      while self.step < until and self.reporters and not signals.received:
        # As in a lone run, the device works on the next chunk while the last one is reported.
        chunk = self._dispatch()
        if pending:
          self._complete(pending)
        pending = chunk
        if time.perf_counter() - self.saved_at > self.save_every:
          self._complete(pending)
          pending = None
          self._save()
      if pending:
        self._complete(pending)
      if not (self.reporters or signals.received):  # All of them diverged.
        return
      if self.step < self.group.length.total_steps:  # At its end, every member is saved by itself.
        self._save()
      if self.step < until:
        raise Interrupted(
          f"interrupted by {signals.received.name} after step {self.step} of "
          f"{self.group.length.total_steps}; the sweep is saved",
          signals.received,
        )

  def _save(self) -> None:
    if self.step > self.saved_step:
      self.checkpoints.save(self.step, population.pack(self.tree), {})
      self.checkpoints.wait()
      self.saved(self.step)
      self.saved_at, self.saved_step = time.perf_counter(), self.step

  def _dispatch(self) -> _Chunk:
    """Starts the next steps on the device, and what follows them there; waits for nothing."""
    group, tree, config = self.group, self.tree, self.group.static
    epochs, num_steps = split_into_scans(
      self.step, group.next_evaluation(self.step), group.length.steps_per_epoch, self.limit
    )
    tree["state"], metrics = population.train_chunk(
      tree["state"],
      tree["metrics"],
      *self.train_split,
      config=config,
      epochs=epochs,
      num_steps=num_steps,
    )
    self.step += epochs * num_steps
    chunk = _Chunk(self.step, metrics, self.step == group.evaluation_step(self.step))
    tree["metrics"] = metrics
    if chunk.evaluate:
      tree["metrics"] = self.no_metrics
      chunk.scalars = population.norms(tree["state"], *self.train_split, config=config)
      chunk.scalars["schedule"] = group.schedule(np.int32(self.step))
      if self.validation_split:
        chunk.validation = population.evaluate(tree["state"], *self.validation_split, config=config)
        tree["best"] = population.keep_best(
          tree["best"], tree["state"], chunk.validation.accuracy.compute()
        )
    return chunk

  def _complete(self, chunk: _Chunk) -> None:
    """Waits for a chunk; marks the members that diverged, reports the others."""
    metrics, validation, scalars = jax.device_get((chunk.metrics, chunk.validation, chunk.scalars))
    train, validation = _by_member(metrics), validation and _by_member(validation)
    for row in list(self.reporters):
      first_bad = int(train[row]["first_non_finite"])
      if scalars and not np.isfinite(scalars["parameter_norm"][row]):
        first_bad = min(first_bad, chunk.step)
      if first_bad != NEVER:
        self._diverged(row, first_bad)
    if chunk.evaluate:
      self._report(chunk.step, train, validation, scalars)

  def _diverged(self, row: int, step: int) -> None:
    self.reporters.pop(row).close("failure")
    self.p.members[row].stop(DIVERGED, step)
    self.console.line(f"{self.p.members[row].name}: the loss became NaN or infinite at step {step}")

  def _report(self, step: int, train: Sequence, validation: Sequence | None, scalars) -> None:
    schedule = float(scalars.pop("schedule"))
    for row, reporter in self.reporters.items():
      own = {name: float(values[row]) for name, values in scalars.items()}
      counted = {name: v for name, v in train[row].items() if name != "first_non_finite"}
      reporter.evaluation(
        step, counted, validation and validation[row], {**own, "schedule": schedule}, None
      )
    self.console.line(
      self._line(step, validation, "validation") if validation else self._line(step, train, "train")
    )

  def _line(self, step: int, measured: Sequence[Mapping[str, float]], split: str) -> str:
    length, live = self.group.length, list(self.reporters)
    rate = (
      (step - self.started_at)
      * self.group.config.batch_size
      * self.size
      / (time.perf_counter() - self.started)
    )
    parts = [f"{len(live)} of {self.size} runs", f"step {step}/{length.total_steps}"]
    if live:
      accuracy = np.array([measured[row]["accuracy"] for row in live])
      best = self.p.members[live[int(accuracy.argmax())]].name
      parts.append(
        f"{split} accuracy {100 * np.median(accuracy):.2f}% median, "
        f"{100 * accuracy.max():.2f}% best ({best})"
      )
    return " | ".join([*parts, f"{rate:,.0f} examples/s in all"])


def _by_member(metrics: Any) -> list[dict[str, Any]]:
  """Returns what each member's metrics come to, given a collection on the host, stacked."""
  members = len(jax.tree.leaves(metrics)[0])
  return [population.take(metrics, row).compute() for row in range(members)]


class _Finish:
  """The end of a population: what its members leave."""

  def __init__(self, run: _Run):
    self.run, self.p, self.group = run, run.p, run.group
    state, config = run.tree["state"], run.group.static
    test = tuple(map(np.asarray, self.group.dataset.test))
    metrics, self.logits = jax.device_get(
      population.evaluate_and_predict(state, *test, config=config)
    )
    self.metrics = _by_member(metrics)
    self.tree = jax.device_get(population.pack(run.tree))

  def all(self) -> None:
    """Tests every member, and saves it."""
    for row in list(self.run.reporters):
      member = self.p.members[row]
      best = save_member(member, self.tree, row, self.run.environment, self.group)
      reporter = self.run.reporters.pop(row)
      result = self._result(row, reporter, best)
      reporter.close("success")
      member.folder.write_json("result.json", result)

  def _result(self, row: int, reporter: Reporter, best: Mapping | None) -> dict[str, Any]:
    length, member = self.group.length, self.p.members[row]
    test = reporter.test(self.metrics[row], self.logits[row], None, best)
    last = member.folder.metrics()[-1]
    return {
      "dataset": self.group.dataset.describe(),
      "steps": length.total_steps,
      "epochs": length.total_steps / length.steps_per_epoch,
      "weights": self.group.num_weights,
      "test": test,
      "validation": {"loss": last["validation/loss"], "accuracy": last["validation/accuracy"]}
      if self.group.validation
      else None,
      "train": {"loss": last["train/loss"], "accuracy": last["train/accuracy"]},
      "best_validation": best,
      "examples_per_second": round(reporter.rate, 1) or None,
      "environment": self.run.environment,
      "seconds": round(time.perf_counter() - self.run.started, 3),
      "population": self.run.size,
    }


def save_member(
  member: Member, packed: Mapping[str, Any], row: int, about_environment: Mapping, group: Group
) -> dict[str, float] | None:
  """Saves the last and the best state of a member in its own folder, as a lone run has them.

  Args:
    member: the member.
    packed: the population's tree, as `population.pack` gives it.
    row: which one of it is the member.
    about_environment: kept beside the state.
    group: the member's group.

  Returns:
    Step and accuracy of the best validation, if there was one.
  """
  state, none = population.take(packed["state"], row), jax.device_get(TrainMetrics.empty())
  about = {"config": member.config.to_dict(), "environment": dict(about_environment)}
  step, best = int(state.step), None
  rows = {line["step"]: line for line in member.folder.metrics()}
  accuracy = rows.get(step, {}).get("validation/accuracy")
  with Checkpoints(member.folder.path / "checkpoints", report=lambda line: None) as checkpoints:
    if packed["best"] and np.isfinite(packed["best"]["accuracy"][row]):
      best_state = population.take(packed["best"]["state"], row)
      best_step = int(best_state.step)
      best = {"step": best_step, "accuracy": rows[best_step]["validation/accuracy"]}
      if best["step"] < step:
        checkpoints.save(best["step"], (best_state, none), about, best["accuracy"])
    checkpoints.save(step, (state, none), about, accuracy)
  return best


def stop_early(p: Population, losers: Sequence[Member], console: Console) -> Population | None:
  """Ends some members of a population whose last checkpoint is up to date.

  Their states stay in their folders, so that each could be trained to its end alone. As long as
  more than half of the population goes on, the others are only passed over; then the rest becomes
  a smaller population, which is worth another compilation.

  Returns:
    The population that goes on, or None if nobody is left.
  """
  with p.checkpoints(console) as checkpoints:
    step, packed = checkpoints.restore_latest(p.template())
    packed = jax.device_get(packed)
  about = environment.describe()
  for member in losers:
    if member.status() != UNFINISHED:
      continue
    member.folder.truncate_metrics(step)
    save_member(member, packed, p.members.index(member), about, p.group)
    summaries.write_session_end(member.folder.path, "success")
    member.stop(STOPPED, step)
  rows = p.unfinished()
  if not rows:
    p.remove()
    return None
  if 2 * len(rows) > len(p.members):
    return p
  name = p.path.name.partition("-")[0]
  smaller = Population(
    p.path.with_name(f"{name}-{step}"), p.group, [p.members[row] for row in rows]
  )
  with smaller.checkpoints(console) as checkpoints:
    checkpoints.save(step, population.take(packed, rows), {})
  _write_members(smaller)
  p.remove()
  return smaller
