"""Members of a population against lone runs of the same configs."""

import jax
import numpy as np
import processes
import pytest
import small
from stacking import EPOCH, configs_of, difference, of_member, same_bits, train

from mnist_mlp.config import FIELDS
from mnist_mlp.core import steps
from mnist_mlp.core.metrics import NEVER
from mnist_mlp.core.state import create_train_state
from mnist_mlp.run.run import spec_of
from mnist_mlp.sweeps import stacked
from mnist_mlp.sweeps.group import Group

pytestmark = pytest.mark.usefixtures("optimized")

# Largest difference after an epoch, relative to the largest parameter. vmap makes other programs,
# which add up in another order; Lion takes the sign of what may then be of either sign.
TOLERANCE = {"lion": 5e-3}
DEFAULT_TOLERANCE = 2e-5


def both(configs, member):
  """Returns the initial states and those after an epoch, of a member and of its lone run."""
  group = Group(configs[0], small.dataset())
  state = group.create(configs)
  lone = create_train_state(configs[member], spec_of(configs[member], small.dataset()))
  before = of_member(state, member, len(configs)), jax.device_get(lone)
  after, metrics = train(group, state)
  lone_after, lone_metrics = jax.device_get(small.train(lone, EPOCH, configs[member]))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-5),
    stacked.take(jax.device_get(metrics), member).compute(),
    lone_metrics.compute(),
  )
  return before, (of_member(after, member, len(configs)), lone_after)


# Each takes seconds to compile.
OPTIMIZERS = [
  pytest.param(name, marks=() if name == "sgd" else pytest.mark.slow)
  for name in FIELDS["optimizer.name"].allowed
]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_member_equals_its_lone_run_with_every_optimizer(name):
  common = {"optimizer__name": name, "model__features": (12,)}
  rates = (0.001, 0.003)
  if name == "lbfgs":
    common |= {"batch_size": 96}
  else:
    common |= {"optimizer__weight_decay": 0.01, "optimizer__clip_norm": 1.0}
  points = [
    {
      "optimizer__learning_rate": rate,
      "optimizer__momentum": 0.5 + 0.2 * i,
      "optimizer__b1": 0.7 + 0.1 * i,
      "optimizer__b2": 0.9 + 0.05 * i,
      "optimizer__eps": 1e-8 * 10**i,
      "optimizer__rms_decay": 0.8 + 0.1 * i,
    }
    for i, rate in enumerate(rates)
  ]
  before, after = both(configs_of(*points, **common), 1)
  # Draws are the same; what normal numbers are made of them may differ in a last bit.
  assert difference(*(state.params for state in before)) < 1e-6
  assert difference(after[0].params, before[0].params) > 1e-4, "nothing was learnt"
  assert difference(after[0].params, after[1].params) < TOLERANCE.get(name, DEFAULT_TOLERANCE)


EVERYTHING = {
  "model__features": (12,),
  "model__dropout": 0.2,
  "model__input_dropout": 0.1,
  "model__norm": "batch",
  "model__inputs": "standardized",
  "loss__l2": 1e-3,
  "loss__label_smoothing": 0.1,
  "loss__adversarial_radius": 0.1,
  "augment__rotation": 10.0,
  "augment__shift": 1.0,
  "augment__clean_steps": 2,
  "num_epochs": 1.0,
  "ema__decay": 0.9,
  "schedule__name": "cosine",
  "optimizer__name": "adamw",
  "optimizer__weight_decay": 0.01,
}


def test_the_only_member_is_its_lone_run_to_the_bit():
  before, after = both(configs_of({"seed": 3}), 0)
  assert same_bits(*before)
  assert same_bits(*after)


@pytest.mark.slow
def test_a_member_equals_its_lone_run_with_everything_switched_on():
  points = [
    {"seed": 0},
    {
      "seed": 7,
      "model__dropout": 0.4,
      "model__input_dropout": 0.3,
      "loss__l2": 1e-2,
      "loss__label_smoothing": 0.0,
      "augment__rotation": 20.0,
      "augment__shift": 2.0,
    },
  ]
  before, after = both(configs_of(*points, **EVERYTHING), 1)
  assert same_bits(*before)
  assert difference(after[0].params, after[1].params) < 1e-4
  assert difference(after[0].ema, after[1].ema) < 1e-4


def test_a_diverging_member_changes_no_other_and_both_populations_share_a_program():
  group = Group(small.config_of(model__features=(12,)), small.dataset())
  compiled = stacked.scan_steps._cache_size()
  results = []
  for second in (0.02, 1e30):
    configs = configs_of(
      *({"optimizer__learning_rate": rate} for rate in (0.01, second, 0.03)), model__features=(12,)
    )
    results.append(train(group, group.create(configs)))
  assert stacked.scan_steps._cache_size() == compiled + 1
  (good, _), (bad, metrics) = jax.device_get(
    [(stacked.unshared(state, 3), metrics) for state, metrics in results]
  )
  first_bad = [stacked.take(metrics, row).compute()["first_non_finite"] for row in range(3)]
  assert first_bad[0] == first_bad[2] == NEVER
  assert 1 < first_bad[1] <= EPOCH
  assert not np.isfinite(np.asarray(bad.params["Dense_0"]["kernel"][1])).all()
  for row in (0, 2):
    assert same_bits(stacked.take(good, row), stacked.take(bad, row))


@pytest.mark.slow
def test_evaluation_is_that_of_lone_runs():
  configs = configs_of({"seed": 1}, {"seed": 2}, model__features=(12,))
  group = Group(configs[0], small.dataset())
  state, validation = group.create(configs), small.splits().validation
  metrics, logits = stacked.evaluate_and_predict(state, group.validation, config=group.static)
  lone = create_train_state(configs[1], small.spec())
  expected = steps.evaluate(lone, validation, config=group.static).compute()
  own = stacked.take(jax.device_get(metrics), 1).compute()
  assert own["accuracy"] == pytest.approx(float(expected["accuracy"]))
  assert own["loss"] == pytest.approx(float(expected["loss"]), rel=1e-5)
  found = (logits[1].argmax(-1) == validation.labels).mean()
  assert found == pytest.approx(float(own["accuracy"]))


def test_the_best_state_is_the_latest_of_the_most_accurate():
  points = {"seed": 1}, {"seed": 1, "optimizer__learning_rate": 0.1}
  configs = configs_of(*points, model__features=())
  tree = Group(configs[0], small.dataset()).initial(configs)
  best = tree["best"]
  for step, accuracies in enumerate([(0.5, 0.9), (0.5, 0.8), (np.nan, np.nan)]):
    state = tree["state"].replace(step=np.int32(step))
    best = stacked.keep_best(best, state, np.float32(accuracies))
  assert best["state"].step.tolist() == [1, 0]
  assert best["accuracy"].tolist() == pytest.approx([0.5, 0.9])


@pytest.mark.parametrize("seeds", [(3, 3), (3, 4)])
def test_packing_is_undone_by_unpacking(seeds):
  common = {"model__inputs": "standardized", "model__features": ()}
  configs = configs_of(*({"seed": seed} for seed in seeds), **common)
  tree = Group(configs[0], small.dataset()).initial(configs)
  packed = stacked.pack(tree)
  assert all(leaf.shape[0] == 2 for leaf in jax.tree.leaves(packed))
  back = stacked.unpack(packed)
  assert same_bits(tree, back)
  assert jax.tree.structure(tree) == jax.tree.structure(back)


TWO_DEVICES = """
import jax
jax.config.update("jax_num_cpu_devices", 2)
import numpy as np
import small
from stacking import EPOCH, configs_of
from mnist_mlp.core.steps import ChunkLength
from mnist_mlp.sweeps import stacked
from mnist_mlp.sweeps.group import Group

rates = (0.01, 0.02, 0.03, 0.04)
configs = configs_of(
    *({"optimizer__learning_rate": rate} for rate in rates), batch_size=15, eval_batch_size=7)
group = Group(configs[0], small.dataset())
arguments = dict(config=group.static, length=ChunkLength(1, EPOCH))

def train(tree, split):
  state, metrics = stacked.train_chunk(tree["state"], tree["metrics"], split, **arguments)
  evaluation, _ = stacked.evaluate_and_predict(state, split, config=group.static)
  best = stacked.keep_best(tree["best"], state, evaluation.accuracy.compute())
  return stacked.pack({"state": state, "metrics": metrics, "best": best})

alone = train(group.initial(configs), group.train)
tree, split = stacked.spread(group.initial(configs), group.train)
program = stacked.scan_steps.lower(
    tree["state"], tree["metrics"], split, **arguments).compile().as_text()
assert "all-reduce" not in program and "all-gather" not in program
both = train(tree, split)
for leaf in jax.tree.leaves((both["state"].params, both["best"]["state"].opt_state)):
  assert [shard.data.shape[0] for shard in leaf.addressable_shards] == [2, 2]
for one, other in zip(jax.tree.leaves(alone), jax.tree.leaves(both), strict=True):
  np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
three, _ = stacked.spread(group.initial(configs[:3]), group.train)
assert len(three["state"].step.sharding.device_set) == 1
"""


@pytest.mark.slow
def test_two_devices_share_the_members():
  done = processes.python(TWO_DEVICES, JAX_PLATFORMS="cpu")
  assert done.returncode == 0, done.stderr
