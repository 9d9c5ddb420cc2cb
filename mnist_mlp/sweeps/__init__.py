"""Many runs: sweeps over points, trained side by side, in processes or on a cluster.

    points        what a sweep is: dicts of overrides, sampled and checked
    group         runs that share a compiled program
    stacked       the states of several runs as one, for `jax.vmap`
    folders       which folder each point has
    member        one run of a sweep, and its folder
    population    members of a group that train together, and their loop
    sweep         all members, groups and populations of a sweep
    halving       early stopping
    plan          what an engine has to do
    engines       which engine does it: engine_vmap, engine_processes, engine_ray
    leaderboard   what came of it; retrain: its winner on all data; figures: pictures of it

Sweep files use the names of `points` directly from this package.
"""

from mnist_mlp.sweeps.points import (
  Distribution,
  Overrides,
  Point,
  check,
  choices,
  grid,
  integers,
  load,
  log_uniform,
  product,
  random,
  select,
  sobol,
  swept,
  uniform,
  zipped,
)

__all__ = [
  "Distribution",
  "Overrides",
  "Point",
  "check",
  "choices",
  "grid",
  "integers",
  "load",
  "log_uniform",
  "product",
  "random",
  "select",
  "sobol",
  "swept",
  "uniform",
  "zipped",
]
