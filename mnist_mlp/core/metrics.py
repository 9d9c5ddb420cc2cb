"""CLU metric collections: what a training step and an evaluation count.

A collection is a pytree of sums: collections are merged exactly, on the device.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import flax
import jax
import jax.numpy as jnp
from clu import metrics as clu_metrics

from mnist_mlp.core.probabilities import cross_entropy

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


class Outputs(NamedTuple):
  """What a net says of some examples, and what is true."""

  logits: jax.Array  # float32 [batch, classes]
  labels: jax.Array  # int32 [batch], in 0..classes - 1
  loss: jax.Array  # float32 [batch], what is minimised
  # Logarithms of probabilities, up to a constant for each example: float32 [batch, classes].
  log_probabilities: jax.Array


class Metric(NamedTuple):
  """A number for each example, of which the mean over examples is reported."""

  of: Callable[[Outputs], jax.Array]  # float or bool [batch]
  text: str = "{:.4f}"  # the mean as the terminal shows it; '' for not at all
  train: bool = False  # whether training steps count it too; then checkpoints hold it


# What is measured, in the order of the columns of metrics.jsonl. Everything else that a metric
# reaches follows from its entry: terminal, TensorBoard, result.json, sweeps and reports.
METRICS: dict[str, Metric] = {
  "loss": Metric(lambda o: o.loss, train=True),
  # Unlike the loss, it can be compared between runs: without smoothed labels, clipped probabilities
  # and factors. In nats.
  "cross_entropy": Metric(lambda o: cross_entropy(o.log_probabilities, o.labels), text=""),
  "accuracy": Metric(lambda o: jnp.argmax(o.logits, -1) == o.labels, text="{:.2%}", train=True),
}
TRAIN_METRICS = tuple(name for name, metric in METRICS.items() if metric.train)


def measure(outputs: Outputs, names: Iterable[str] = METRICS) -> dict[str, jax.Array]:
  """Returns the numbers of each example, [batch], by the names of metrics."""
  return {name: METRICS[name].of(outputs) for name in names}


def _averages(names: Iterable[str]) -> dict[str, Any]:
  return {name: clu_metrics.Average.from_output(name) for name in names}


# Averages over every example of a split, from the arrays of `measure`.
EvalMetrics = clu_metrics.Collection.create(**_averages(METRICS))
# Averages over the steps since the last evaluation; also from `step`, int32 [].
TrainMetrics = clu_metrics.Collection.create(
  **_averages(TRAIN_METRICS), first_non_finite=FirstNonFinite
)
