"""The engine 'ray': populations are trials of Ray Tune, on one machine or on many.

All machines of a cluster must see the workdir. The checkpoints of a population lie there, so that a
trial goes on elsewhere if its machine is lost. With early stopping, a trial has members of one
setting only, and ASHA decides which trials go on (Li et al., "A system for massively parallel
hyperparameter tuning", 2020).
"""

import dataclasses
import functools
import logging
import math
import os
import secrets
import signal
import socket
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from etils import epy

from mnist_mlp.errors import HeldError, Interrupted, RunError
from mnist_mlp.run import environment
from mnist_mlp.run.console import Console
from mnist_mlp.sweeps.plan import Options, Plan
from mnist_mlp.sweeps.population import Population
from mnist_mlp.sweeps.sweep import Sweep

with epy.lazy_imports():  # Ray is an extra.
  import ray
  from ray import tune

_ATTEMPTS = 3  # to go on with a trial after its machine or process was lost
_LOCK_SECONDS = 60.0  # within which a lost process lets go of the folder
_ENVIRONMENT = {
  "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # each run writes its own events
  "TUNE_DISABLE_SIGINT_HANDLER": "1",  # after which a sweep would end as if nothing had happened
  "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
}
# Of a cluster of our own, set before Ray is imported. Who reaches its ports could run code on it.
_PRIVATE = {
  "RAY_AUTH_MODE": "token",
  # Ray listens on the loopback alone where it expects no cluster of several machines.
  "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}
# A trial has one core. JAX does not know that, and would start a thread for each core.
_ONE_THREAD = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}


class RayEngine:
  """Trains populations on a Ray cluster; see `plan.Engine`."""

  stops_early = True

  def __init__(self, options: Options):
    """Takes ray_address, max_members and halving from the options."""
    self._options = options
    self._previous: dict[signal.Signals, Any] = {}  # handlers
    self._received: int | None = None  # the signal at which the trials end
    self._end_trials: Any = None  # while Tune runs, its own handler, which ends all trials

  def __enter__(self) -> "RayEngine":
    """Connects to the cluster; raises a RunError if that cannot be."""
    os.environ.update(_ENVIRONMENT)
    if not self._options.ray_address:
      os.environ.update(_PRIVATE, RAY_AUTH_TOKEN=secrets.token_hex(32))
    self._previous = {number: signal.getsignal(number) for number in environment.STOPPING}
    try:
      self._handle_signals()
      _connect(self._options.ray_address)
      self._handle_signals()  # Ray has put handlers of its own there, which abort.
    except BaseException:
      self.__exit__(None, None, None)
      raise
    return self

  def __exit__(self, *_: Any) -> None:
    """Disconnects."""
    ray.shutdown()
    for number, handler in self._previous.items():
      signal.signal(number, handler)

  def _handle_signals(self) -> None:
    for number, previous in self._previous.items():
      if number != signal.SIGHUP or previous != signal.SIG_IGN:  # nohup wants it ignored.
        signal.signal(number, self._interrupt)

  def _tune_runs(self) -> None:
    """Takes SIGUSR1 back from Tune, which would end as if all trials were done."""
    handler = signal.getsignal(signal.SIGUSR1)
    if handler != self._interrupt:
      self._end_trials = handler
      signal.signal(signal.SIGUSR1, self._interrupt)

  def _interrupt(self, number: int, frame: Any) -> None:
    """Makes Tune end its trials. A second signal ends all at once."""
    again, self._received = self._received is not None, number
    if again or self._end_trials is None:
      self._check_interrupted()
    else:
      self._end_trials(number, frame)

  def _check_interrupted(self) -> None:
    if self._received is not None:
      name = signal.Signals(self._received).name
      raise Interrupted(f"interrupted by {name}; the sweep is saved", self._received)

  def largest(self, num_members: int) -> int:
    """Returns how many members a population may have, so that all slots have work."""
    return self._options.max_members or math.ceil(num_members / _slots())

  def train(self, sweep: Sweep, plan: Plan) -> None:
    """Trains the populations of a plan as trials, at most one for each GPU or core at a time."""
    sweep.console.line(f"Ray cluster with room for {_slots()} trials at a time")
    if not plan.populations:
      return
    results = _fit(sweep, plan, self._options.halving, _told_when_tune_runs(self._tune_runs))
    self._end_trials = None
    self._check_interrupted()
    if results.errors:
      reason = str(results.errors[0]).strip().splitlines()[-1]
      raise RunError(
        f"{len(results.errors)} of {len(plan.populations)} trials failed, the first with {reason}; "
        "what they saved is kept, and the same command goes on with it"
      )


def _connect(address: str) -> None:
  # Not None, which would join any cluster that happens to run on this machine.
  local: dict[str, Any] = {"address": "local", "include_dashboard": False}
  _check_reachable(address)
  try:
    with warnings.catch_warnings():
      # Ray forks to start its processes, which JAX warns of; they start other programs at once.
      warnings.simplefilter("ignore", RuntimeWarning)
      ray.init(
        **({"address": address} if address else local),
        logging_level=logging.ERROR,
        runtime_env={"env_vars": {} if _has_gpus() else _ONE_THREAD},
      )
  except (ConnectionError, ValueError) as error:
    reason = " ".join(str(error).split())
    raise RunError(f"cannot reach the Ray cluster {address!r}: {reason}") from error


def _check_reachable(address: str) -> None:
  """Raises a RunError if nobody answers at HOST:PORT. Ray itself would wait for minutes."""
  host, colon, port = address.rpartition("://")[2].rpartition(":")
  if not colon:
    return
  try:
    socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
  except (OSError, ValueError) as error:
    raise RunError(f"cannot reach a Ray cluster at --ray_address={address}: {error}") from error


def _has_gpus() -> bool:
  return Path("/dev/nvidiactl").exists()


def _slots() -> int:
  """Returns how many trials can train at once: one for each GPU, or for each core without one."""
  resources = ray.cluster_resources()
  return max(1, int(resources.get("GPU", 0) or resources.get("CPU", 1)))


def _told_when_tune_runs(function: Callable[[], None]) -> Any:
  """Returns a callback of Tune. Its class is made here, because Ray may not be installed."""

  class Told(tune.Callback):
    def on_step_begin(self, iteration: int, trials: Any, **info: Any) -> None:
      del iteration, trials, info
      function()

  return Told()


def _fit(sweep: Sweep, plan: Plan, halving: int, callback: Any) -> Any:
  """Trains the populations of a plan as trials; returns Tune's results."""
  resources = {"cpu": 1.0, **({"gpu": 1.0} if ray.cluster_resources().get("GPU") else {})}
  if halving:  # ASHA goes by every evaluation, and each one is reported once it is saved.
    plan = dataclasses.replace(plan, save_every=0.0)
  trial = functools.partial(_trial, plan=plan)
  tuner = tune.Tuner(
    tune.with_resources(trial, resources),
    param_space={"population": tune.grid_search(list(range(len(plan.populations))))},
    tune_config=tune.TuneConfig(
      metric="validation_accuracy", mode="max", scheduler=_scheduler(sweep, plan, halving)
    ),
    run_config=tune.RunConfig(
      name="ray",
      storage_path=str(plan.folder),
      verbose=0,
      callbacks=[callback],
      failure_config=tune.FailureConfig(max_failures=_ATTEMPTS),
    ),
  )
  return tuner.fit()


def _scheduler(sweep: Sweep, plan: Plan, halving: int) -> Any:
  if not halving:
    return None
  timetables = [sweep.population(*one).group.timetable for one in plan.populations]
  return tune.schedulers.ASHAScheduler(
    time_attr="evaluations",
    max_t=max(math.ceil(t.total_steps / t.eval_every) for t in timetables),
    grace_period=1,
    reduction_factor=halving,
  )


def _trial(config: dict[str, int], *, plan: Plan) -> None:
  """Trains the population whose index is in `config`, in a process of Ray's."""
  environment.use_compilation_cache()
  sweep, index = plan.open(Console()), config["population"]
  report = functools.partial(_report, sweep.population(*plan.populations[index]))
  deadline = time.monotonic() + _LOCK_SECONDS
  while True:
    try:
      plan.train(sweep, index, sweep.console, report)
      break
    except HeldError:
      if time.monotonic() > deadline:
        raise
      time.sleep(1.0)
  tune.report({"evaluations": 0, "validation_accuracy": 0.0, "done": True})


def _report(population: Population, step: int) -> None:
  """Tells Ray how good a population is at a step, as the mean over its members."""
  timetable = population.group.timetable
  if step == timetable.total_steps:
    return  # ASHA would kill the trial, rather than let it finish.
  rows = [row for member in population.members for row in member.folder.metrics()]
  accuracies = [row.get("validation/accuracy", 0.0) for row in rows if row["step"] == step]
  if accuracies:
    tune.report(
      {
        "evaluations": math.ceil(step / timetable.eval_every),
        # Over all members: those that diverged count as 0.
        "validation_accuracy": sum(accuracies) / len(population.members),
      }
    )
