"""A member: one run of a sweep, and its folder.

The folder holds what run/workdir.py says, or instead of result.json

    stopped.json    why the run ended before its end, and at which step
"""

from pathlib import Path
from typing import Any

import numpy as np

from mnist_mlp.core.metrics import TrainMetrics
from mnist_mlp.run.checkpoint import Checkpoints
from mnist_mlp.run.console import Console
from mnist_mlp.run.memory import fetch
from mnist_mlp.run.run import Run, fitted
from mnist_mlp.run.workdir import Workdir
from mnist_mlp.sweeps import stacked
from mnist_mlp.sweeps.group import Group
from mnist_mlp.sweeps.points import Point

FINISHED, DIVERGED, STOPPED, UNFINISHED = "finished", "diverged", "stopped early", "unfinished"


class Member:
  """One point of a sweep and its folder."""

  def __init__(self, point: Point, sweep_folder: Path, name: str = ""):
    """Names the folder, without touching it; by default, as the point is called."""
    self.point, self.config, self.name = point, point.config, name or point.name
    self.folder = Workdir(sweep_folder / "members" / self.name)

  def status(self) -> str:
    """Returns FINISHED, DIVERGED, STOPPED or UNFINISHED."""
    if self.folder.result() is not None:
      return FINISHED
    return (self.folder.read_json("stopped.json") or {"status": UNFINISHED})["status"]

  def stop(self, status: str, step: int) -> None:
    """Notes that the training ended before its end."""
    self.folder.write_json("stopped.json", {"status": status, "step": step})

  def run(self, group: Group, environment: dict[str, Any]) -> Run:
    """Returns the member as a Run with a quiet console: all members would print at once."""
    return Run(
      config=fitted(self.config, group.dataset, devices=1)[0],
      dataset=group.dataset,
      folder=self.folder,
      console=Console(quiet=True),
      timetable=group.timetable,
      environment=environment,
    )


def save(run: Run, packed: stacked.Tree, row: int) -> dict[str, Any] | None:
  """Saves the last and the best state of a member in its own folder, as a lone run has them.

  Args:
    run: the member's.
    packed: the tree of its population, as `stacked.pack` gives it.
    row: which one of the population is the member.

  Returns:
    Step and accuracy of the best validation, if there was one.
  """
  state, none = stacked.take(packed["state"], row), fetch(TrainMetrics.empty())
  step, about = int(state.step), run.about()
  rows = {line["step"]: line for line in run.folder.history.rows}
  accuracy = rows.get(step, {}).get("validation/accuracy")
  folder = run.folder.path / "checkpoints"
  best = packed["best"]
  has_best = best and np.isfinite(best["accuracy"][row])
  best_validation = None
  with Checkpoints(folder, report=run.console.line) as checkpoints:
    if has_best:
      best_state = stacked.take(best["state"], row)
      best_step, as_float32 = int(best_state.step), float(best["accuracy"][row])
      validated = rows.get(best_step, {}).get("validation/accuracy", as_float32)
      best_validation = {"step": best_step, "accuracy": validated}
      if best_step < step:
        checkpoints.save(best_step, (best_state, none), about, validated)
    checkpoints.save(step, (state, none), about, accuracy)
  return best_validation
