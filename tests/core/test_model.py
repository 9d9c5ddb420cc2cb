"""The net against NumPy."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import small

from mnist_mlp.config import FIELDS
from mnist_mlp.core import layers, model

IMAGES = small.splits().train.images[:12]


def create(**changes):
  """Returns the net whose config.model has some fields changed."""
  c = small.config_of(**{f"model__{name}": value for name, value in changes.items()})
  return model.create_model(c, small.spec())


def build(**changes):
  """Returns (net, variables), the variables drawn by NumPy, biases and norms' scales too."""
  mlp = create(**changes)
  rng = np.random.RandomState(3)
  shapes = dict(jax.eval_shape(mlp.init, jax.random.key(0), IMAGES))
  variables = {
    "params": jax.tree.map(
      lambda leaf: rng.normal(0, 0.3, leaf.shape).astype(leaf.dtype), shapes.pop("params")
    )
  }
  if "batch_stats" in shapes:
    variables["batch_stats"] = jax.tree.map(
      lambda leaf: rng.uniform(0.5, 1.5, leaf.shape).astype(leaf.dtype), shapes["batch_stats"]
    )
  if "input_statistics" in shapes:
    variables["input_statistics"] = {
      "mean": np.float32(IMAGES.mean()),
      "std": np.float32(IMAGES.std()),
    }
  return mlp, variables


def apply(mlp, variables, images=IMAGES, **options):
  """Returns what the net makes of images, as one program."""
  return jax.jit(functools.partial(mlp.apply, **options))(variables, images)


def forward(variables, x, activation, depth=2):
  """The network in NumPy, without norms: x float [N, inputs] -> logits."""
  for layer in range(depth + 1):
    dense = variables["params"][f"Dense_{layer}"]
    x = x @ np.asarray(dense["kernel"], np.float64) + np.asarray(dense["bias"], np.float64)
    x = activation(x) if layer < depth else x
  return x


NUMPY_ACTIVATIONS = {
  "relu": lambda x: np.maximum(x, 0),
  "tanh": np.tanh,
  # The tanh approximation of Hendrycks & Gimpel 2016, which is Flax's.
  "gelu": lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
  "silu": lambda x: x * scipy.special.expit(x),
  "sigmoid": scipy.special.expit,
  "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
  "scaled_tanh": lambda x: 1.7159 * np.tanh(2 / 3 * x),
}


@pytest.mark.parametrize("name", layers.ACTIVATIONS)
def test_forward_pass_equals_numpy(name):
  mlp, variables = build(activation=name)
  expected = forward(variables, IMAGES.reshape(12, -1) / 255, NUMPY_ACTIVATIONS[name])
  np.testing.assert_allclose(apply(mlp, variables), expected, rtol=1e-4, atol=1e-5)


def test_scaled_tanh_is_lecuns():
  # Made so that f(1) = 1 and f(-1) = -1.
  np.testing.assert_allclose(
    layers.ACTIVATIONS["scaled_tanh"](jnp.array([-1.0, 0.0, 1.0, 100.0])),
    [-1, 0, 1, 1.7159],
    atol=1e-4,
  )


def test_without_hidden_layers_it_is_softmax_regression():
  mlp, variables = build(features=())
  assert jax.tree.map(jnp.shape, variables["params"]) == {
    "Dense_0": {"kernel": (64, small.CLASSES), "bias": (small.CLASSES,)}
  }
  np.testing.assert_allclose(
    apply(mlp, variables),
    forward(variables, IMAGES.reshape(12, -1) / 255, None, depth=0),
    rtol=1e-4,
    atol=1e-5,
  )


@pytest.mark.parametrize("inputs", FIELDS["model.inputs"].allowed)
def test_pixels_are_scaled_inside(inputs):
  mlp, variables = build(features=(), inputs=inputs)
  x = IMAGES.reshape(12, -1).astype(np.float64)
  if inputs == "unit":
    x /= 255
  elif inputs == "standardized":
    x = (x - x.mean()) / x.std()
  expected = forward(variables, x, None, depth=0)
  np.testing.assert_allclose(apply(mlp, variables), expected, rtol=1e-4, atol=1e-3)
  # Floats in 0..255 mean the same as bytes.
  np.testing.assert_array_equal(
    apply(mlp, variables), apply(mlp, variables, IMAGES.astype(np.float32))
  )


def test_layer_norm_equals_numpy():
  mlp, variables = build(norm="layer", features=(16,))
  p = variables["params"]
  x = (IMAGES.reshape(12, -1) / 255) @ p["Dense_0"]["kernel"] + p["Dense_0"]["bias"]
  x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-6)
  x = x * p["LayerNorm_0"]["scale"] + p["LayerNorm_0"]["bias"]
  expected = np.maximum(x, 0) @ p["Dense_1"]["kernel"] + p["Dense_1"]["bias"]
  np.testing.assert_allclose(apply(mlp, variables), expected, rtol=1e-4, atol=1e-4)


def test_batch_norm_uses_the_batch_in_training_and_the_averages_in_evaluation():
  mlp, variables = build(norm="batch", features=(16,))
  p, old = variables["params"], variables["batch_stats"]["BatchNorm_0"]
  assert "bias" not in p["Dense_0"], "the norm's own bias makes that of the layer useless"
  hidden = (IMAGES.reshape(12, -1) / 255) @ p["Dense_0"]["kernel"]

  def head(mean, var):
    x = (hidden - mean) / np.sqrt(var + 1e-5)
    x = np.maximum(x * p["BatchNorm_0"]["scale"] + p["BatchNorm_0"]["bias"], 0)
    return x @ p["Dense_1"]["kernel"] + p["Dense_1"]["bias"]

  logits, new = apply(mlp, variables, train=True, mutable=["batch_stats"])
  np.testing.assert_allclose(logits, head(hidden.mean(0), hidden.var(0)), rtol=1e-3, atol=1e-3)
  averages = new["batch_stats"]["BatchNorm_0"]
  np.testing.assert_allclose(averages["mean"], 0.9 * old["mean"] + 0.1 * hidden.mean(0), rtol=1e-4)
  np.testing.assert_allclose(averages["var"], 0.9 * old["var"] + 0.1 * hidden.var(0), rtol=1e-4)
  np.testing.assert_allclose(
    apply(mlp, variables), head(old["mean"], old["var"]), rtol=1e-3, atol=1e-3
  )


@pytest.mark.parametrize("norm", FIELDS["model.norm"].allowed)
def test_bfloat16_is_of_factors_only(norm):
  mlp, variables = build(dtype="bfloat16", norm=norm)
  initial = jax.eval_shape(mlp.init, jax.random.key(0), IMAGES)
  assert {str(leaf.dtype) for leaf in jax.tree.leaves(initial)} == {"float32"}
  logits, captured = apply(mlp, variables, capture_intermediates=True)
  assert {str(leaf.dtype) for leaf in jax.tree.leaves((logits, captured))} == {"float32"}
  exact = apply(mlp.clone(dtype="float32"), variables)
  assert 0 < np.abs(logits - exact).max() < 0.02 * np.abs(exact).max()


KERNEL_STDS = {  # of a kernel [400, 300], for scale 1
  "default": 400**-0.5,
  "he": (2 / 400) ** 0.5,
  "glorot": (2 / 700) ** 0.5,
  "normal": 1.0,
}


@pytest.mark.parametrize("scale", [1.0, 0.05])
@pytest.mark.parametrize("name", layers.INITIALIZERS)
def test_initial_kernels_have_the_spread_of_their_name(name, scale):
  kernel = layers.INITIALIZERS[name](scale)(jax.random.key(0), (400, 300))
  np.testing.assert_allclose(kernel.std(), scale * KERNEL_STDS[name], rtol=0.02)
  np.testing.assert_allclose(kernel.mean(), 0, atol=0.02 * scale * KERNEL_STDS[name])


def test_default_initialization_is_flaxs_own():
  ours = layers.INITIALIZERS["default"](1.0)(jax.random.key(0), (40, 30))
  flaxs = nn.Dense(30).init(jax.random.key(0), jnp.zeros((1, 40)))["params"]["kernel"]
  assert np.isclose(ours.std(), flaxs.std(), rtol=0.1)
  lecun = nn.initializers.lecun_normal()(jax.random.key(0), (40, 30))
  np.testing.assert_array_equal(ours, lecun)


def test_biases_are_zero_or_drawn_with_the_scale():
  def initial(**changes):
    mlp = create(features=(1000,), **changes)
    arguments = jax.random.key(0), IMAGES
    return small.compiled(mlp.init, *arguments)(*arguments)["params"]["Dense_0"]

  assert not initial()["bias"].any()
  layer = initial(init="normal", init_scale=0.02, init_biases=True)
  np.testing.assert_allclose(layer["bias"].std(), 0.02, rtol=0.1)
  # From a draw of its own, not the numbers of the weights again.
  assert not np.isclose(layer["bias"], layer["kernel"][0]).all()


@pytest.mark.parametrize("rates", [{"dropout": 0.5}, {"input_dropout": 0.5}])
def test_dropout_acts_in_training_only(rates):
  mlp, variables = build()
  plain = apply(mlp, variables)
  keys = [{"dropout": jax.random.key(i)} for i in (0, 0, 1)]
  noisy = [apply(mlp, variables, train=True, rngs=key, **rates) for key in keys]
  np.testing.assert_array_equal(noisy[0], noisy[1])
  assert (noisy[0] != noisy[2]).any()
  assert (noisy[0] != plain).any()
  np.testing.assert_array_equal(apply(mlp, variables, **rates), plain)
  np.testing.assert_array_equal(apply(mlp, variables, train=True), plain)


def test_input_dropout_drops_pixels_and_dropout_hidden_units():
  mlp, variables = build(features=(50,))
  key = {"dropout": jax.random.key(0)}
  layer = variables["params"]["Dense_0"]

  def hidden(**rates):
    _, captured = apply(mlp, variables, train=True, rngs=key, capture_intermediates=True, **rates)
    return captured["intermediates"]["Dense_0"]["__call__"][0]

  expected = (IMAGES.reshape(12, -1) / 255) @ layer["kernel"] + layer["bias"]
  np.testing.assert_allclose(hidden(dropout=0.5), expected, rtol=1e-4, atol=1e-4)
  assert np.abs(hidden(input_dropout=0.5) - expected).max() > 0.1


def test_create_model_passes_the_initializer_on():
  mlp = create(features=(), init="normal", init_scale=3.0)
  kernel = jax.jit(mlp.init)(jax.random.key(0), IMAGES)["params"]["Dense_0"]["kernel"]
  np.testing.assert_allclose(kernel.std(), 3.0, rtol=0.15)


@pytest.mark.parametrize("field", ["init", "activation"])
def test_unknown_names_do_not_fall_through(field):
  c = small.config_of()
  c.model[field] = "other"
  with pytest.raises(KeyError, match="other"):
    jax.eval_shape(model.create_model(c, small.spec()).init, jax.random.key(0), IMAGES)


def test_every_choice_of_the_config_reaches_the_net():
  """Each field of config.model but the rates of dropout, which a call takes."""
  changes = {
    "features": (7,),
    "activation": "elu",
    "norm": "layer",
    "init": "glorot",
    "init_scale": 0.5,
    "init_biases": True,
    "inputs": "raw",
    "dtype": "bfloat16",
  }
  mlp = create(**changes)
  own = {"init_name" if name == "init" else name: value for name, value in changes.items()}
  assert {name: getattr(mlp, name) for name in own} == own
  others = {name.removeprefix("model.") for name in FIELDS if name.startswith("model.")}
  assert others - set(changes) == {"name", "dropout", "input_dropout"}
