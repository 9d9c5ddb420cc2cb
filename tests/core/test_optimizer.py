"""Optimizers and schedules against those of Optax and against their formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import small

from mnist_mlp import config
from mnist_mlp.config import FIELDS, Length
from mnist_mlp.core import optimizer
from mnist_mlp.core import schedule as schedules
from mnist_mlp.core.traced import HYPERPARAMETERS

RNG = np.random.RandomState(0)
X = RNG.normal(size=(32, 6)).astype(np.float32)
Y = np.argmax(X @ RNG.normal(size=(6, 4)), -1)
PARAMS = {
  "kernel": jnp.asarray(RNG.normal(0, 0.5, (6, 4)), jnp.float32),
  "bias": jnp.asarray(RNG.normal(0, 0.5, 4), jnp.float32),
}


def objective(params):
  """Softmax regression on all of 32 examples."""
  logits = X @ params["kernel"] + params["bias"]
  return optax.softmax_cross_entropy_with_integer_labels(logits, Y).mean()


def options(**changes):
  """Returns a config with some fields of its optimizer changed."""
  c = config.default()
  c.optimizer.update(changes)
  return config.validate(c)


def descend(tx, num_steps, params=PARAMS, state=None):
  """Returns (params, state) after some steps on `objective`."""
  tx = optax.with_extra_args_support(tx)

  def step(carry, _):
    params, state = carry
    value, grads = jax.value_and_grad(objective)(params)
    updates, state = tx.update(grads, state, params, value=value, grad=grads, value_fn=objective)
    return (optax.apply_updates(params, updates), state), None

  carry = params, tx.init(params) if state is None else state
  if num_steps < 5:  # Not worth a compilation.
    for _ in range(num_steps):
      carry, _ = step(carry, None)
    return carry
  return small.compiled(lambda carry: jax.lax.scan(step, carry, length=num_steps)[0], carry)(carry)


def one_update(c, grads, params=PARAMS, **hyperparams):
  tx = optimizer.create_optimizer(c, Length(10, 100))
  state = tx.init(params)
  state.hyperparams.update({name: jnp.float32(v) for name, v in hyperparams.items()})
  return tx.update(grads, state, params)[0]


# Rates with which each method makes its way in 40 steps; lbfgs searches its own.
RATES = {"sgd": 0.5, "momentum": 0.2, "nesterov": 0.2, "adagrad": 0.5, "lion": 0.02, "lamb": 0.05}


@pytest.mark.parametrize("name", FIELDS["optimizer.name"].allowed)
def test_every_optimizer_reduces_the_loss(name):
  c = options(name=name, learning_rate=RATES.get(name, 0.05))
  params, state = descend(optimizer.create_optimizer(c, Length(10, 40)), 40)
  evaluated = optimizer.evaluation_params(c, params, state)
  assert objective(PARAMS) > 1.4
  assert objective(evaluated) < 0.5
  if name == "lbfgs":  # Second-order: far ahead of the others.
    assert objective(evaluated) < 0.02


REFERENCES = {
  "sgd": lambda rate: optax.sgd(rate),
  "momentum": lambda rate: optax.sgd(rate, momentum=0.8),
  "nesterov": lambda rate: optax.sgd(rate, momentum=0.8, nesterov=True),
  "adam": lambda rate: optax.adam(rate, b1=0.85, b2=0.95, eps=1e-6),
  "adamw": lambda rate: optax.adamw(
    rate, b1=0.85, b2=0.95, eps=1e-6, weight_decay=0.1, mask={"kernel": True, "bias": False}
  ),
  "rmsprop": lambda rate: optax.rmsprop(rate, decay=0.7, eps=1e-6),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_chains_equal_those_of_optax(name):
  c = options(
    name=name,
    learning_rate=0.05,
    momentum=0.8,
    b1=0.85,
    b2=0.95,
    eps=1e-6,
    rms_decay=0.7,
    weight_decay=0.1 if name == "adamw" else 0.0,
  )
  c.schedule.name = "cosine"
  c.schedule.warmup_steps = 5
  shape = optax.warmup_cosine_decay_schedule(0.0, 1.0, 5, 20)
  ours, _ = descend(optimizer.create_optimizer(c, Length(10, 20)), 20)
  reference, _ = descend(REFERENCES[name](lambda step: 0.05 * shape(step)), 20)
  for leaf in PARAMS:
    np.testing.assert_allclose(ours[leaf], reference[leaf], rtol=1e-4, atol=1e-5)
    assert np.abs(ours[leaf] - PARAMS[leaf]).max() > 0.01


@pytest.mark.parametrize(
  ("name", "field", "value"),
  [
    ("sgd", "learning_rate", 0.3),
    ("adamw", "weight_decay", 0.2),
    ("momentum", "momentum", 0.5),
    ("muon", "momentum", 0.5),
    ("adam", "b1", 0.5),
    ("adam", "b2", 0.9),
    ("adam", "eps", 0.1),
    ("rmsprop", "rms_decay", 0.5),
    ("sgd", "clip_norm", 0.05),
  ],
)
def test_a_changed_hyperparameter_acts_like_one_of_the_config(name, field, value):
  """A sweep varies these in the state of one compiled program."""
  base = {"name": name, "learning_rate": 0.1, "weight_decay": 0.01, "clip_norm": 0.1}
  tx = optimizer.create_optimizer(options(**base), Length(10, 10))
  state = tx.init(PARAMS)
  state.hyperparams[field] = jnp.float32(value)
  changed, _ = descend(tx, 4, state=state)
  unchanged, _ = descend(tx, 4)
  expected, _ = descend(
    optimizer.create_optimizer(options(**base | {field: value}), Length(10, 10)), 4
  )
  np.testing.assert_allclose(changed["kernel"], expected["kernel"], rtol=1e-5, atol=1e-6)
  assert np.abs(changed["kernel"] - unchanged["kernel"]).max() > 1e-4


def test_hyperparameters_lie_in_the_state_as_float32():
  state = optimizer.create_optimizer(options(learning_rate=0.25), Length(10, 10)).init(PARAMS)
  assert set(HYPERPARAMETERS) == set(state.hyperparams)
  assert {str(leaf.dtype) for leaf in state.hyperparams.values()} == {"float32"}
  assert state.hyperparams["learning_rate"] == 0.25


def schedule(name, total=100, **changes):
  """Returns a schedule's values at the steps 0 to `total`, at most 100; an epoch is 10 steps."""
  c = config.default()
  c.schedule.name = name
  c.schedule.update(changes)
  shape = schedules.create_schedule(config.validate(c), Length(10, total))
  # Always as many steps, so that all schedules share the programs of their operations.
  return jax.vmap(shape)(np.arange(101, dtype=np.int32))[: total + 1]


@pytest.mark.parametrize("name", ["constant", "cosine", "step", "exponential"])
def test_warm_up_is_linear_from_0_to_the_peak(name):
  values = schedule(name, warmup_steps=20)
  np.testing.assert_allclose(values[:21], np.arange(21) / 20, atol=1e-6)
  np.testing.assert_allclose(schedule(name)[0], 1.0)
  np.testing.assert_allclose(schedule(name, warmup_epochs=2.0), values)


def test_constant_schedule():
  np.testing.assert_array_equal(schedule("constant"), 1.0)


def test_cosine_schedule():
  values = schedule("cosine", warmup_steps=20, final_scale=0.1)
  share = np.arange(81) / 80
  np.testing.assert_allclose(values[20:], 0.1 + 0.9 * (1 + np.cos(np.pi * share)) / 2, atol=1e-6)
  np.testing.assert_allclose(schedule("cosine")[100], 0.0, atol=1e-6)


def test_one_cycle_schedule():
  values = schedule("one_cycle", warmup_steps=29)
  np.testing.assert_allclose(values[0], 1 / 25, rtol=1e-5)
  np.testing.assert_allclose(values[29], 1.0)
  assert (np.diff(values[:30]) > 0).all()
  assert (np.diff(values[29:]) < 0).all()
  assert values[100] < 1e-4
  np.testing.assert_allclose(schedule("one_cycle")[30], 1.0)  # 30% if no warm-up is given.


def test_step_and_exponential_schedules():
  np.testing.assert_allclose(
    schedule("step", decay_rate=0.3, decay_every_epochs=2.0),
    0.3 ** (np.arange(101) // 20),
    rtol=1e-4,
  )
  np.testing.assert_allclose(
    schedule("exponential", decay_rate=0.3, decay_every_steps=25),
    0.3 ** (np.arange(101) / 25),
    rtol=1e-4,
  )
  np.testing.assert_allclose(
    schedule("step", decay_rate=0.3, decay_every_steps=20, warmup_steps=5)[24:26],
    [1, 0.3],
    rtol=1e-5,
  )


@pytest.mark.parametrize("warmup", [0, 1, 29, 2000])
@pytest.mark.parametrize("total", [1, 2, 5])
@pytest.mark.parametrize("name", FIELDS["schedule.name"].allowed)
def test_even_the_shortest_run_has_a_schedule(name, total, warmup):
  values = schedule(name, total, warmup_steps=warmup)
  assert np.isfinite(values).all()
  assert values.min() >= 0
  assert values.max() <= 1 + 1e-6


def test_clipping_bounds_the_update():
  grads = jax.tree.map(lambda leaf: 100 * jnp.ones_like(leaf), PARAMS)
  c = options(name="sgd", learning_rate=0.5, clip_norm=2.0)
  np.testing.assert_allclose(optax.tree.norm(one_update(c, grads)), 0.5 * 2.0, rtol=1e-5)
  tiny = jax.tree.map(lambda leaf: 1e-3 * jnp.ones_like(leaf), PARAMS)
  np.testing.assert_allclose(one_update(c, tiny)["kernel"], -0.5e-3, rtol=1e-5)
  unclipped = options(name="sgd", learning_rate=0.5)
  np.testing.assert_allclose(one_update(unclipped, grads)["kernel"], -50, rtol=1e-5)


@pytest.mark.parametrize(
  "name", [name for name in FIELDS["optimizer.name"].allowed if name != "lbfgs"]
)
def test_weight_decay_is_decoupled_and_touches_kernels_only(name):
  """With no gradient at all, a step shrinks the kernels by rate times decay, and nothing else."""
  c = options(name=name, learning_rate=0.1, weight_decay=0.2)
  updates = one_update(c, jax.tree.map(jnp.zeros_like, PARAMS))
  assert not updates["bias"].any()
  if name == "lamb":  # It rescales the update to the weights' norm.
    expected = -0.1 * PARAMS["kernel"]
  elif name == "schedule_free":  # At the first step, all of z's movement is x's and y's.
    expected = -0.1 * 0.2 * PARAMS["kernel"]
  else:
    expected = -0.1 * 0.2 * PARAMS["kernel"]
  np.testing.assert_allclose(updates["kernel"], expected, rtol=1e-4, atol=1e-7)


def test_max_norm_projection_scales_down_large_units_alone():
  kernel = np.array([[3.0, 0.3, 0.0], [4.0, 0.4, 0.0]], np.float32)  # Units of norm 5, 0.5 and 0.
  projected = optimizer.project_max_norm(
    {"kernel": jnp.asarray(kernel), "bias": jnp.full(3, 9.0)}, 1.0
  )
  np.testing.assert_allclose(projected["kernel"], [[0.6, 0.3, 0.0], [0.8, 0.4, 0.0]], rtol=1e-6)
  np.testing.assert_array_equal(projected["bias"], 9.0)


def test_schedule_free_is_evaluated_at_its_average():
  c = options(name="schedule_free", learning_rate=0.05)
  params, state = descend(optimizer.create_optimizer(c, Length(10, 40)), 5)
  x = optimizer.evaluation_params(c, params, state)
  z = state.inner_state[-1].z
  # Defazio et al. 2024, equation 3: gradients are taken at y = (1 - b1) z + b1 x.
  np.testing.assert_allclose(
    params["kernel"], 0.1 * z["kernel"] + 0.9 * x["kernel"], rtol=1e-5, atol=1e-6
  )
  assert np.abs(x["kernel"] - params["kernel"]).max() > 1e-4


def test_others_are_evaluated_as_they_are():
  c = options(name="adam")
  assert optimizer.evaluation_params(c, PARAMS, None) is PARAMS


@pytest.mark.parametrize("name", FIELDS["optimizer.name"].allowed)
def test_every_optimizer_name_is_known(name):
  c = config.default()
  c.optimizer.name = name
  optimizer.create_optimizer(c, Length(10, 10)).init({"kernel": np.ones((2, 3), np.float32)})


@pytest.mark.parametrize("name", FIELDS["schedule.name"].allowed)
def test_every_schedule_name_is_known(name):
  c = config.default()
  c.schedule.name = name
  assert schedules.create_schedule(c, Length(10, 10))(0) >= 0


def test_unknown_names_do_not_fall_through():
  c = config.default()
  c.optimizer.name = "other"
  with pytest.raises(KeyError, match="other"):
    optimizer.create_optimizer(c, Length(10, 10)).init({"kernel": np.ones((2, 3), np.float32)})
  c = config.default()
  c.schedule.name = "other"
  with pytest.raises(KeyError, match="other"):
    schedules.create_schedule(c, Length(10, 10))
