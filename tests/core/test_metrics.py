"""What steps count: means over examples, and the first step that went wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import small
from everything import CONFIG, initial, merged, single_steps, values

from mnist_mlp.core.metrics import NEVER, TrainMetrics


def test_train_metrics_are_means_over_all_examples_of_the_steps():
  history = single_steps()
  each = [values(metrics) for _, metrics in history[1:]]
  both = values(merged(history))
  np.testing.assert_allclose(both["loss"], np.mean([m["loss"] for m in each]), rtol=1e-5)
  np.testing.assert_allclose(both["accuracy"], np.mean([m["accuracy"] for m in each]), rtol=1e-5)
  assert both["first_non_finite"] == NEVER


def test_first_step_with_a_loss_that_is_not_finite_is_found():
  state, metrics = small.train(initial(), 2, CONFIG)
  assert values(metrics)["first_non_finite"] == NEVER
  ruined = state.replace(params=jax.tree.map(lambda leaf: leaf * jnp.nan, state.params))
  state, metrics = small.train(ruined, 2, CONFIG, metrics=metrics)
  assert values(metrics)["first_non_finite"] == 3
  _, metrics = small.train(state, 2, CONFIG, metrics=metrics)
  assert values(metrics)["first_non_finite"] == 3


def test_one_infinite_loss_of_a_batch_is_enough():
  def first_bad(loss):
    metrics = TrainMetrics.single_from_model_output(loss=loss, accuracy=loss > 0, step=jnp.int32(7))
    return metrics.compute()["first_non_finite"]

  for bad in (np.nan, np.inf, -np.inf):
    assert jax.jit(first_bad)(np.float32([0.1, bad, 0.2])) == 7
