"""The engine 'processes': one process for each core, each with one thread.

Nobody deals out the populations. Every process goes through all of them, and passes over those that
another process holds.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

import jax

from mnist_mlp.errors import HeldError, Interrupted, RunError, UsageError
from mnist_mlp.run import cli, environment
from mnist_mlp.run.console import Console
from mnist_mlp.sweeps.member import UNFINISHED
from mnist_mlp.sweeps.plan import Options, Plan
from mnist_mlp.sweeps.population import Population
from mnist_mlp.sweeps.sweep import Sweep


def num_processes(options: Options) -> int:
  """Returns how many processes the options ask for: by default one for each core."""
  return options.processes or environment.cpu_cores()


class ProcessesEngine(contextlib.nullcontext):
  """Trains populations in processes of one thread; see `plan.Engine`."""

  stops_early = False

  def __init__(self, options: Options):
    """Takes max_members and processes from the options."""
    super().__init__(self)
    self._largest, self._processes = options.max_members or 1, num_processes(options)

  def largest(self, num_members: int) -> int:
    """Returns how many members a population may have."""
    del num_members
    return self._largest

  def train(self, sweep: Sweep, plan: Plan) -> None:
    """Trains the populations of a plan in parallel."""
    if jax.default_backend() != "cpu":
      raise UsageError("--engine=processes is for CPUs; use --engine=vmap with this device")
    count = min(self._processes, len(plan.populations))
    sweep.console.line(
      f"{len(plan.populations)} populations in {count} processes of one thread each"
    )
    _run_workers(plan, count)
    for path, names in plan.populations:
      _check_reached(sweep.population(path, names), plan.share)


def _run_workers(plan: Plan, count: int) -> None:
  context = multiprocessing.get_context("spawn")
  workers = [context.Process(target=_work, args=(i, plan)) for i in range(count)]
  with environment.StopSignals() as signals, _ended(workers):
    with _sigint_blocked():
      for worker in workers:
        worker.start()
    forwarded = False
    while running := [worker for worker in workers if worker.is_alive()]:
      wait([worker.sentinel for worker in running], timeout=0.2)
      if signals.received and not forwarded:
        forwarded = True
        for worker in running:
          worker.terminate()
  if signals.received:
    raise signals.interrupted("; the sweep is saved")
  failed = [worker.exitcode for worker in workers if worker.exitcode]
  if failed:
    raise RunError(
      f"{len(failed)} of {count} processes ended with exit code {failed[0]}; what they saved is "
      "kept, and the same command goes on with it"
    )


@contextlib.contextmanager
def _ended(workers: Sequence[BaseProcess]) -> Iterator[None]:
  """Kills those that still run when the block is left, as by a second Ctrl-C."""
  try:
    yield
  finally:
    for worker in workers:
      if worker.is_alive():
        worker.kill()


@contextlib.contextmanager
def _sigint_blocked() -> Iterator[None]:
  """Blocks SIGINT, also for ever in the processes that are started within the block.

  A terminal sends it to every process. This one alone heeds it, and passes it on as SIGTERM.
  """
  resource_tracker.ensure_running()  # Else the first start does, and unblocks SIGINT.
  previous = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
  try:
    yield
  finally:
    signal.pthread_sigmask(signal.SIG_SETMASK, previous)


def _check_reached(population: Population, share: float) -> None:
  """Raises a HeldError if members are not as far as they should be: they were passed over."""
  step = population.group.timetable.evaluation_after(share)
  for member in population.members:
    evaluated = {row["step"] for row in member.folder.metrics()}
    if member.status() == UNFINISHED and (share == 1.0 or step not in evaluated):
      raise HeldError(
        f"{member.folder.path} is in use by another process; wait for it, then start this sweep "
        "again"
      )


def _work(number: int, plan: Plan) -> None:
  """Trains, in a process of its own, the populations that no other process holds."""
  cli.collect_garbage_rarely()
  environment.use_compilation_cache()
  _use_one_core(number)
  threading.Thread(target=_end_with_parent, daemon=True).start()
  with cli.user_errors():
    sweep = plan.open(Console(quiet=True))
    try:
      for index in range(len(plan.populations)):
        with contextlib.suppress(HeldError):
          plan.train(sweep, index, Console())
    except Interrupted as error:
      sys.exit(error.exit_code)  # Whoever started it says so.


def _use_one_core(number: int) -> None:
  """Restricts this process to one core. It must happen before JAX starts its threads."""
  if hasattr(os, "sched_setaffinity"):
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[number % len(cores)]})
  else:
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false"


def _end_with_parent() -> None:
  """Ends this process when its parent is gone. What came after its last checkpoint is redone."""
  parent = multiprocessing.parent_process()
  if parent:
    wait([parent.sentinel])
    os._exit(1)
