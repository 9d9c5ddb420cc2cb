"""Checks of a config, and what is computed from it."""

import math
import re

import numpy as np
import pytest
import small
from ml_collections import ConfigDict, FrozenConfigDict

from mnist_mlp import config, synonyms
from mnist_mlp.errors import UsageError


def changed(**changes):
  """Returns the default with values put in as they are, without ConfigDict's own type checks."""
  tree = config.default().to_dict()
  for path, value in changes.items():
    *sections, leaf = path.split("__")
    section = tree
    for name in sections:
      section = section[name]
    section[leaf] = value
  return ConfigDict(tree, type_safe=False, convert_dict=True)


def message_of(c):
  with pytest.raises(UsageError) as caught:
    config.validate(c)
  assert "\n" not in str(caught.value)
  return str(caught.value)


def test_default_is_valid_locked_and_fresh():
  c = config.default()
  assert config.validate(c) is c
  with pytest.raises(AttributeError):
    c.sead = 1
  c.model.features = (3,)
  assert config.default().model.features == (512, 512)


def test_a_frozen_config_serves_as_one_that_is_not():
  c = config.default()
  c.model.features = (7, 5)
  thawed = config.validate(FrozenConfigDict(c))
  assert type(thawed) is type(thawed.model) is ConfigDict and thawed.is_locked
  assert config.to_json(thawed) == config.to_json(c)


@pytest.mark.parametrize("value", [None, {}, [], 5, "x", config.default().to_dict()])
def test_what_is_no_config_is_refused(value):
  assert message_of(value).endswith(", no ConfigDict")


@pytest.mark.parametrize("name", [n for n, f in config.FIELDS.items() if type(f.default) is int])
def test_no_number_is_too_large_for_a_message(name):
  message = message_of(changed(**{name.replace(".", "__"): 10**5000}))
  assert f"config.{name} is a number of thousands of digits but must lie in" in message


@pytest.mark.parametrize(
  ("path", "value", "parts"),
  [
    # Unknown fields.
    ("batchsize", 1, ["config.batchsize is not a field", "did you mean 'batch_size'?"]),
    ("optimizer__learning_rat", 1.0, ["did you mean 'optimizer.learning_rate'?"]),
    ("learning_rate", 0.1, ["did you mean 'optimizer.learning_rate'?"]),
    ("zzzz", 1, ["config.zzzz is not a field"]),
    # Wrong types.
    ("batch_size", 128.0, ["config.batch_size is 128.0", "type float", "type int"]),
    ("seed", True, ["config.seed is True", "type bool", "type int"]),
    ("optimizer__learning_rate", True, ["config.optimizer.learning_rate", "bool", "type float"]),
    ("optimizer__learning_rate", "0.1", ["config.optimizer.learning_rate", "'0.1'", "type str"]),
    ("data__name", None, ["config.data.name is None", "type str"]),
    ("ema__evaluate", 1, ["config.ema.evaluate is 1", "type bool"]),
    ("model__features", 512, ["config.model.features is 512", "tuple of int"]),
    ("model__features", (512, 1.5), ["config.model.features", "element 1.5 is of type float"]),
    ("model__features", (512, True), ["whose element True is of type bool, but every"]),
    ("seed", np.int64(3), ["config.seed is np.int64(3)", "of type int64", "must be of type int"]),
    ("optimizer__learning_rate", np.float32(0.1), ["of type float32", "must be of type float"]),
    ("model__features", np.array([5, 6]), ["of type ndarray", "must be of type tuple of int"]),
    ("ema__evaluate", np.True_, ["config.ema.evaluate is np.True_", "must be of type bool"]),
    # Out of range.
    ("model__features", (512, 0), ["config.model.features is (512, 0)", "[1, 1000000]"]),
    ("model__features", (10**20,), ["every element must lie in [1, 1000000]"]),
    ("model__init_scale", 1e200, ["config.model.init_scale is 1e+200", "(0, 1e9]"]),
    ("num_epochs", 1e308, ["config.num_epochs is 1e+308", "[0, 1e9]"]),
    ("augment__clean_steps", 10**12, ["config.augment.clean_steps", "[0, 2147483647]"]),
    ("optimizer__weight_decay", 10**400, ["config.optimizer.weight_decay", "inf as a float32"]),
    # What float32 makes of it counts.
    ("optimizer__b2", 0.99999999, ["config.optimizer.b2 is 0.99999999", "1.0 as a float32"]),
    ("optimizer__eps", 1e-50, ["config.optimizer.eps is 1e-50", "0.0 as a float32", "(0, inf)"]),
    ("batch_size", 0, ["config.batch_size is 0", "[1, 2147483647]"]),
    ("batch_size", -3, ["config.batch_size is -3"]),
    ("eval_batch_size", 0, ["config.eval_batch_size is 0"]),
    ("seed", -1, ["config.seed is -1"]),
    ("seed", 2**32, ["config.seed", "[0, 4294967295]"]),
    ("num_epochs", math.inf, ["config.num_epochs is inf"]),
    ("optimizer__learning_rate", -1e-3, ["config.optimizer.learning_rate is -0.001"]),
    ("optimizer__learning_rate", math.nan, ["config.optimizer.learning_rate is nan"]),
    ("optimizer__learning_rate", math.inf, ["config.optimizer.learning_rate is inf"]),
    ("optimizer__clip_norm", -1.0, ["config.optimizer.clip_norm is -1.0"]),
    ("optimizer__b2", 1.0, ["config.optimizer.b2 is 1.0", "[0, 1)"]),
    ("optimizer__eps", 0.0, ["config.optimizer.eps is 0.0", "(0, inf)"]),
    ("model__dropout", 1.0, ["config.model.dropout is 1.0", "[0, 1)"]),
    ("model__input_dropout", -0.1, ["config.model.input_dropout is -0.1"]),
    ("loss__label_smoothing", 1.0, ["config.loss.label_smoothing is 1.0"]),
    ("ema__decay", 1.0, ["config.ema.decay is 1.0"]),
    # Unknown names.
    ("model__activation", "rellu", ["'rellu'", "'relu', 'tanh'", "did you mean 'relu'?"]),
    ("model__norm", "group", ["'group'", "'none', 'batch', 'layer'"]),
    ("model__init", "henormal", ["'henormal'", "'glorot'"]),
    ("model__inputs", "std", ["'std'", "'standardized'"]),
    ("model__dtype", "float16", ["'float16'", "'bfloat16'"]),
    ("loss__name", "mse", ["'mse'", "'squared_error'"]),
    ("optimizer__name", "adamm", ["'adamm'", "'schedule_free'", "did you mean 'adam"]),
    ("schedule__name", "cos", ["'cos'", "'one_cycle'", "did you mean 'cosine'?"]),
    ("data__offline", "mnist", ["'mnist'", "'digits'"]),
    # Whole sections.
    ("ema", 5, ["config.ema is a section of fields; its fields are ema.decay, ema.evaluate"]),
    ("model__features", (8, "a"), ["whose element 'a' is of type str, but every element must be"]),
    ("ema", {}, ["config.ema.decay is missing", "default()"]),
  ],
)
def test_wrong_value_gets_one_clear_message(path, value, parts):
  message = message_of(changed(**{path: value}))
  for part in parts:
    assert part in message


@pytest.mark.parametrize(
  ("changes", "parts"),
  [
    ({"num_epochs": 0.0}, ["num_epochs and config.num_steps are both 0"]),
    ({"eval_every_epochs": 0.0}, ["eval_every_epochs and config.eval_every_steps are both 0"]),
    ({"schedule__name": "step", "schedule__decay_every_epochs": 0.0}, ["decay_every_steps"]),
    ({"optimizer__name": "schedule_free", "optimizer__b1": 0.0}, ["config.optimizer.b1 is 0"]),
    (
      {"optimizer__name": "schedule_free", "optimizer__max_norm": 1.0},
      ["config.optimizer.max_norm is 1.0", "'schedule_free'"],
    ),
    ({"optimizer__name": "lbfgs", "schedule__name": "cosine"}, ["config.schedule", "'lbfgs'"]),
    ({"optimizer__name": "lbfgs", "schedule__warmup_steps": 5}, ["without warm-up", "'lbfgs'"]),
    ({"augment__rotation_for_those": 9.0}, ["config.augment.rotation_for_those", "rotation_of"]),
    ({"optimizer__name": "lbfgs", "model__dropout": 0.5}, ["config.model.dropout", "'lbfgs'"]),
    (
      {"loss__name": "squared_error", "loss__smallest_probability": 1e-7},
      ["config.loss.smallest_probability", "'squared_error'"],
    ),
    (
      {"optimizer__name": "lbfgs", "loss__adversarial_radius": 0.5},
      ["config.loss.adversarial_radius", "'lbfgs'"],
    ),
    ({"optimizer__name": "lbfgs", "model__norm": "batch"}, ["config.model.norm", "'lbfgs'"]),
  ],
)
def test_fields_that_do_not_go_together(changes, parts):
  message = message_of(changed(**changes))
  for part in parts:
    assert part in message


@pytest.mark.parametrize(
  "changes",
  [
    {"num_epochs": 0.0, "num_steps": 1},
    {"num_epochs": 3},  # An int serves as a float.
    {"optimizer__learning_rate": 0.0},
    {"model__features": ()},
    {"checkpoint_every_epochs": 0.0, "checkpoint_every_steps": 0},
    {"schedule__decay_every_epochs": 0.0},  # Not used by the constant schedule.
    {"seed": 2**32 - 1},
  ],
)
def test_unusual_but_right_values(changes):
  config.validate(changed(**changes))


def test_duration_prefers_steps():
  c = config.default()
  c.num_epochs = 2.5
  assert config.duration(c, "num", 100) == 250
  c.num_steps = 7
  assert config.duration(c, "num", 100) == 7
  c.checkpoint_every_epochs = 0.25
  assert config.duration(c, "checkpoint_every", 10) == 2  # Python rounds a half to even.
  c.checkpoint_every_epochs = 0.01
  assert config.duration(c, "checkpoint_every", 10) == 1  # What is on is on.
  c.schedule.warmup_epochs = 0.0
  assert config.duration(c.schedule, "warmup", 10) == 0


def test_flatten_joins_names_with_dots():
  assert config.flatten({"a": 1, "b": {"c": (2, 3), "d": {"e": ""}}}) == {
    "a": 1,
    "b.c": (2, 3),
    "b.d.e": "",
  }


def test_differences_name_field_and_values():
  old, new = config.default(), config.default()
  assert config.differences(old, new) == ""
  new.seed = 3
  new.optimizer.name = "sgd"
  assert config.differences(old, new) == (
    "config.optimizer.name: 'adam' -> 'sgd', config.seed: 0 -> 3"
  )
  with new.unlocked():
    del new.ema.decay
    new.extra = 1
  assert "config.ema.decay: 0.0 -> None" in config.differences(old, new)
  assert "config.extra: None -> 1" in config.differences(old, new)


def test_check_known_accepts_known_and_hints_at_the_leaf():
  config.check_known("optimizer.b1", {"optimizer.b1": 0})
  with pytest.raises(UsageError, match=re.escape("did you mean 'optimizer.b1'?")):
    config.check_known("b1", {"optimizer.b1": 0})


def test_what_other_programs_call_a_field_is_understood():
  for word, field in synonyms.FIELD_OF.items():
    assert field in config.FIELDS and word not in config.FIELDS
    for given in (word, word.upper(), f"train.{word.replace('_', '-')}"):
      with pytest.raises(UsageError, match=f"did you mean '{field}'"):
        config.check_known(given, config.FIELDS)


@pytest.mark.parametrize(
  ("changes", "expected"),
  [
    ({"num_epochs": 2.0}, (6, 12)),
    ({"num_epochs": 0.5}, (6, 3)),
    ({"num_epochs": 2.0, "num_steps": 5}, (6, 5)),
    ({"num_epochs": 2.0, "batch_size": 20}, (4, 8)),  # The last 16 examples make no step.
  ],
)
def test_run_length(changes, expected):
  assert config.run_length(small.config_of(**changes), 96) == expected


@pytest.mark.parametrize("name", config.AUGMENTATIONS)
def test_lbfgs_refuses_distortions(name):
  c = config.default()
  c.optimizer.name = "lbfgs"
  c.augment[name], c.augment.rotation_of = 0.5, (1,)
  with pytest.raises(UsageError, match=rf"config\.augment\.{name} is 0\.5 but must be 0 with"):
    config.validate(c)


@pytest.mark.parametrize(
  "name, value, message",
  [
    ("elastic_alpha", -1.0, "must lie in"),
    ("elastic_sigma", 0.0, "must lie in"),
    ("scale", 1.0, "must lie in"),
    ("rotation", float("nan"), "must lie in"),
    ("rotation_of", (1, -7), r"every element must lie in \[0, 2147483647\]"),
  ],
)
def test_impossible_strengths_are_refused(name, value, message):
  c = config.default()
  c.augment[name] = value
  with pytest.raises(UsageError, match=rf"config\.augment\.{name} is .*{message}"):
    config.validate(c)


def test_unflatten_undoes_flatten():
  c = config.default()
  assert config.unflatten(config.flatten(c)).to_dict() == c.to_dict()
