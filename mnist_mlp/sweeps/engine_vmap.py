"""The engine 'vmap': one population after the other, each as one program in this process."""

import contextlib

from mnist_mlp.sweeps.plan import Options, Plan
from mnist_mlp.sweeps.sweep import Sweep


class VmapEngine(contextlib.nullcontext):
  """Trains populations in this process; see `plan.Engine`."""

  stops_early = False

  def __init__(self, options: Options):
    """Takes max_members from the options."""
    super().__init__(self)
    self._largest = options.max_members

  def largest(self, num_members: int) -> int:
    """Returns how many members a population may have."""
    del num_members
    return self._largest

  def train(self, sweep: Sweep, plan: Plan) -> None:
    """Trains the populations of a plan, one after the other."""
    for index, (path, names) in enumerate(plan.populations):
      weights = sweep.population(path, names).group.num_weights
      sweep.console.line(
        f"population {index + 1} of {len(plan.populations)}: {len(names)} runs of {weights:,} "
        "weights as one program"
      )
      plan.train(sweep, index, sweep.console)
