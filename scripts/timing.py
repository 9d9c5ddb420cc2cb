"""How `benchmark.py` times: contestants in processes of their own that take turns."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from contestants import Case

from mnist_mlp.errors import RunError

SCRIPTS = Path(__file__).resolve().parent


class Worker:
  """A contestant in a process of its own."""

  def __init__(self, name: str, case: Case):
    """Starts it, and waits until it is ready, its data in memory."""
    started = time.perf_counter()
    self._process = subprocess.Popen(
      (sys.executable, str(SCRIPTS / "contestants.py"), name, json.dumps(case._asdict())),
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
      # All are there at once: none may take the memory of a GPU for itself.
      env={**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"},
    )
    self.name = name
    if self._read() != "ready":
      raise RunError(f"{name} did not start; see above")
    self.start = time.perf_counter() - started  # seconds

  def _read(self) -> str:
    return self._process.stdout.readline().strip()

  def epoch(self) -> dict[str, float]:
    """Returns the seconds of an epoch, and the process's peak memory in MiB."""
    time.sleep(0.3)  # until the threads of the one before have gone to sleep
    self._process.stdin.write("go\n")
    self._process.stdin.flush()
    line = self._read()
    if not line:
      raise RunError(f"{self.name} ended before its time; see above")
    return json.loads(line)

  def close(self) -> None:
    """Ends the process."""
    self._process.communicate()


def turns(contestants: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, dict[str, Any]]:
  """Lets the contestants take turns.

  Returns:
    For each its seconds, and its ratio: the median over the turns of its seconds over the first
    one's.
  """
  seconds = {name: [] for name in contestants}
  for turn in range(rounds):
    for name, run in contestants.items():
      seconds[name].append(run())
      print(f"turn {turn + 1}: {name}: {seconds[name][-1]:.3f} s", flush=True)
  first = next(iter(seconds.values()))
  return {
    name: {
      "seconds": [round(value, 4) for value in values],
      "ratio": round(statistics.median([a / b for a, b in zip(values, first, strict=True)]), 3),
    }
    for name, values in seconds.items()
  }


def epochs(case: Case, names: Sequence[str], rounds: int, warm_up: int) -> dict[str, Any]:
  """Times epochs of a case by the contestants named, all of which run at the same time, idle.

  Returns:
    As `turns`, and for each its peak memory in MiB and, measured once, the seconds of its process
    to the end of the epochs before the turns, with imports, data and compilation.
  """
  workers, whole = [], {}
  try:
    for name in names:
      workers.append(Worker(name, case))
      first = [workers[-1].epoch()["seconds"] for _ in range(warm_up)]
      whole[name] = round(workers[-1].start + sum(first), 2)
      print(f"{name}: {whole[name]} s to the end of epoch {warm_up}", flush=True)
    memory = {}

    def timed(worker: Worker) -> Callable[[], float]:
      def run() -> float:
        measured = worker.epoch()
        memory[worker.name] = round(measured["memory"])
        return measured["seconds"]

      return run

    found = turns({worker.name: timed(worker) for worker in workers}, rounds)
  finally:
    for worker in workers:
      worker.close()
  return {
    name: {**values, "memory": memory[name], "whole_process": whole[name]}
    for name, values in found.items()
  }


def process(command: Sequence[str | Path], **variables: str) -> float:
  """Returns the seconds of a whole process; raises a RunError if it fails."""
  started = time.perf_counter()
  done = subprocess.run(
    [str(part) for part in command],
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    env={**os.environ, **variables},
    check=False,
  )
  if done.returncode:
    raise RunError(f"{command} failed:\n{done.stdout}")
  return time.perf_counter() - started
