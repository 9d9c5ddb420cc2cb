"""Trains the populations of a sweep as the trials of Ray Tune, on one machine or many.

The machines of a cluster must all see the workdir: a population's checkpoints lie there, so that a
trial whose machine is lost goes on elsewhere. With early stopping, all seeds of a config are one
trial, and ASHA decides (Li et al. 2020, "A system for massively parallel hyperparameter tuning").
"""

import functools
import math
import os
import signal
import socket
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray
from ray import tune

from mnist_mlp.errors import HeldError, Interrupted, RunError
from mnist_mlp.run import environment
from mnist_mlp.run.console import Console
from mnist_mlp.run.tensorboard import trial_id
from mnist_mlp.sweeps.engines import Options, Sweep
from mnist_mlp.sweeps.points import Point
from mnist_mlp.sweeps.trials import UNFINISHED, Member, stop_early

_ATTEMPTS = 3  # to go on with a trial, after its machine or process was lost
_LOCK_SECONDS = 60.0  # within which a lost process lets go of the folder
_ENVIRONMENT = {
  "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # each run writes its own events
  "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
}
# A trial has one core, which JAX does not know.
_ONE_THREAD = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}


def run(sweep: Sweep, members: Sequence[Member], options: Options) -> None:
  """Trains the unfinished ones of some members to their end.

  Raises:
    RunError: the cluster cannot be reached, or a trial failed for good.
    Interrupted: SIGINT or SIGTERM arrived; what was saved is kept.
  """
  os.environ.update(_ENVIRONMENT)
  previous = signal.signal(signal.SIGTERM, _interrupt)
  try:
    _connect(options)
    slots = _slots()
    sweep.console.line(f"Ray cluster with room for {slots} trials at a time")
    populations = (
      sweep.populations(members, options.max_members, trial_id)
      if options.halving
      else sweep.populations(members, options.max_members or math.ceil(len(members) / slots))
    )
    plan = [(p.path.absolute(), [m.name for m in p.members]) for p in populations]
    _fit(sweep, plan, options)
    if options.halving:
      for population in sweep.populations(members, 1):
        losers = [m for m in population.members if m.status() == UNFINISHED]
        stop_early(population, losers, sweep.console)
  except KeyboardInterrupt as error:
    raise Interrupted("interrupted by SIGINT; the sweep is saved", signal.SIGINT) from error
  finally:
    ray.shutdown()
    signal.signal(signal.SIGTERM, previous)


def _interrupt(number: int, _) -> None:
  raise Interrupted(f"interrupted by {signal.Signals(number).name}; the sweep is saved", number)


def _connect(options: Options) -> None:
  how: dict[str, Any] = (
    {"address": options.ray_address}
    if options.ray_address
    # Not None, which would join any cluster that happens to run on this machine.
    else {"address": "local", "include_dashboard": False}
  )
  _check_reachable(options.ray_address)
  try:
    with warnings.catch_warnings():
      # Ray forks to start its processes, which JAX warns of; they start other programs at once.
      warnings.simplefilter("ignore", RuntimeWarning)
      ray.init(
        **how, logging_level="ERROR", runtime_env={"env_vars": {} if _has_gpus() else _ONE_THREAD}
      )
  except (ConnectionError, ValueError) as error:
    reason = " ".join(str(error).split())
    raise RunError(f"cannot reach the Ray cluster {options.ray_address!r}: {reason}") from error


def _check_reachable(address: str) -> None:
  """Raises a RunError if nobody answers at HOST:PORT, for which Ray itself would wait minutes."""
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


def _fit(sweep: Sweep, plan: Sequence[tuple[Path, list[str]]], options: Options) -> None:
  if not plan:
    return
  resources = {"cpu": 1, **({"gpu": 1} if ray.cluster_resources().get("GPU") else {})}
  trial = functools.partial(
    _trial, points=sweep.points, folder=sweep.folder.absolute(), plan=plan, options=options
  )
  tuner = tune.Tuner(
    tune.with_resources(trial, resources),
    param_space={"population": tune.grid_search(list(range(len(plan))))},
    tune_config=tune.TuneConfig(
      metric="validation_accuracy", mode="max", scheduler=_scheduler(sweep, plan, options)
    ),
    run_config=tune.RunConfig(
      name="ray",
      storage_path=str(sweep.folder.absolute()),
      verbose=0,
      failure_config=tune.FailureConfig(max_failures=_ATTEMPTS),
    ),
  )
  results = tuner.fit()
  if results.errors:
    reason = str(results.errors[0]).strip().splitlines()[-1]
    raise RunError(
      f"{len(results.errors)} of {len(plan)} trials failed, the first with {reason}; what they "
      "saved is kept, and the same command goes on with it"
    )


def _scheduler(sweep: Sweep, plan: Sequence, options: Options) -> Any:
  if not options.halving:
    return None
  groups = [sweep.population(*one).group for one in plan]
  evaluations = max(math.ceil(g.length.total_steps / g.eval_every) for g in groups)
  return tune.schedulers.ASHAScheduler(
    time_attr="evaluations", max_t=evaluations, grace_period=1, reduction_factor=options.halving
  )


def _trial(
  config: dict[str, int],
  *,
  points: Sequence[Point],
  folder: Path,
  plan: Sequence[tuple[Path, list[str]]],
  options: Options,
) -> None:
  """Trains one population, from where its last checkpoint stands; runs in a process of Ray's."""
  environment.use_compilation_cache()
  sweep = Sweep(points, folder, Console())
  population = sweep.population(*plan[config["population"]])

  def report(step: int) -> None:
    if step == population.group.length.total_steps:
      return  # ASHA would kill it, rather than let it finish
    rows = [row for member in population.members for row in member.folder.metrics()]
    accuracies = [row.get("validation/accuracy", 0.0) for row in rows if row["step"] == step]
    if accuracies:
      tune.report(
        {
          "evaluations": math.ceil(step / population.group.eval_every),
          # Over all members: those that diverged count as 0.
          "validation_accuracy": sum(accuracies) / len(population.members),
        }
      )

  save_every = 0.0 if options.halving else options.save_every
  deadline = time.monotonic() + _LOCK_SECONDS
  while True:
    try:
      population.train_to(1.0, sweep.console, save_every, report)
      break
    except HeldError:
      if time.monotonic() > deadline:
        raise
      time.sleep(1.0)
  tune.report({"evaluations": 0, "validation_accuracy": 0.0, "done": True})
