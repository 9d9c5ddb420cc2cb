"""Schedules of the learning rate, made of Optax's parts."""

from collections.abc import Callable
from typing import NamedTuple

import optax
from ml_collections import ConfigDict

from mnist_mlp.config import Length, duration


class Span(NamedTuple):
  """What schedules are stretched over, in steps."""

  total: int
  warmup: int
  every: int  # between two decays


# From config.schedule and a span to the schedule's shape; see `create_schedule`.
SCHEDULES: dict[str, Callable[[ConfigDict, Span], optax.Schedule]] = {
  "constant": lambda c, s: _warmed_up(optax.constant_schedule(1.0), s),
  "cosine": lambda c, s: optax.warmup_cosine_decay_schedule(
    0.0 if s.warmup else 1.0, 1.0, s.warmup, max(s.total, 1), c.final_scale
  ),
  "one_cycle": lambda c, s: _one_cycle(s),
  "step": lambda c, s: _warmed_up(
    optax.exponential_decay(1.0, s.every, c.decay_rate, staircase=True), s
  ),
  "exponential": lambda c, s: _warmed_up(optax.exponential_decay(1.0, s.every, c.decay_rate), s),
}


def create_schedule(config: ConfigDict, length: Length) -> optax.Schedule:
  """Returns the schedule's shape: step (int) -> learning rate divided by its peak, in [0, 1]."""
  c, per_epoch = config.schedule, length.steps_per_epoch
  warmup = min(duration(c, "warmup", per_epoch), length.total_steps - 1)
  every = max(1, duration(c, "decay_every", per_epoch))  # Without decay it may be 0.
  return SCHEDULES[c.name](c, Span(length.total_steps, warmup, every))


def _warmed_up(shape: optax.Schedule, span: Span) -> optax.Schedule:
  """Returns a schedule that begins after a linear warm-up."""
  if not span.warmup:
    return shape
  return optax.join_schedules([optax.linear_schedule(0.0, 1.0, span.warmup), shape], [span.warmup])


def _one_cycle(span: Span) -> optax.Schedule:
  """Smith & Topin, "Super-convergence", 2017, with cosine slopes, from 1/25 of the peak.

  It rises during the warm-up, which is 30% of the steps if the config gives none.
  """
  # Optax rounds the share down to whole steps. Half a step more protects the last one.
  rising = (span.warmup + 0.5) / span.total if span.warmup else 0.3
  return optax.cosine_onecycle_schedule(span.total, 1.0, pct_start=rising)
