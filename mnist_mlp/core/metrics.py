"""CLU metric collections: what a training step and an evaluation count.

A collection is a pytree of sums: collections are merged exactly, on the device.
"""

from typing import Any

import flax
import jax
import jax.numpy as jnp
from clu import metrics as clu_metrics

NEVER = jnp.iinfo(jnp.int32).max


@flax.struct.dataclass
class FirstNonFinite(clu_metrics.Metric):
  """The first step whose loss was NaN or infinite: int32 [], NEVER if there was none."""

  step: jax.Array

  @classmethod
  def empty(cls) -> "FirstNonFinite":
    """Returns the metric of no steps at all."""
    return cls(step=jnp.int32(NEVER))

  @classmethod
  def from_model_output(cls, *, loss: jax.Array, step: jax.Array, **_: Any) -> "FirstNonFinite":
    """Returns the metric of one step, from its losses, float32 [batch]."""
    return cls(step=jnp.where(jnp.isfinite(loss).all(), NEVER, step).astype(jnp.int32))

  def merge(self, other: "FirstNonFinite") -> "FirstNonFinite":
    """Returns the earlier of two."""
    return FirstNonFinite(step=jnp.minimum(self.step, other.step))

  def compute(self) -> jax.Array:
    """Returns the step."""
    return self.step


@flax.struct.dataclass
class EvalMetrics(clu_metrics.Collection):
  """Averages over every example of a split."""

  loss: clu_metrics.Average.from_output("loss")  # type: ignore[valid-type]
  cross_entropy: clu_metrics.Average.from_output("cross_entropy")  # type: ignore[valid-type]
  accuracy: clu_metrics.Average.from_output("correct")  # type: ignore[valid-type]


@flax.struct.dataclass
class TrainMetrics(clu_metrics.Collection):
  """Averages over the steps since the last evaluation."""

  loss: clu_metrics.Average.from_output("loss")  # type: ignore[valid-type]
  accuracy: clu_metrics.Average.from_output("correct")  # type: ignore[valid-type]
  first_non_finite: FirstNonFinite
