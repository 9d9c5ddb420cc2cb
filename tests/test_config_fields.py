"""The schema: every field means something, is allowed its default, and is read by some code."""

import ast
import functools
import math
import re
from pathlib import Path

import pytest

import mnist_mlp
from mnist_mlp import config
from mnist_mlp.choices import keys_of
from mnist_mlp.config import FIELDS
from mnist_mlp.core import layers, losses, model, optimizer, schedule
from mnist_mlp.errors import UsageError


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_has_a_meaning_and_may_have_its_default(name):
  field = FIELDS[name]
  assert re.fullmatch(r"\S.*[^\s.]", field.meaning), "a phrase, with no full stop"
  assert type(field.default) in (bool, int, float, str, tuple)
  config.check_type(name, field.default, field)
  config._check_allowed(name, field.default, field)


def bounds(interval):
  return tuple(float(bound) for bound in interval[1:-1].split(","))


@pytest.mark.parametrize("name", FIELDS)
def test_what_a_field_may_be_is_readable_by_its_type(name):
  default, allowed = FIELDS[name].default, FIELDS[name].allowed
  if type(default) in (int, float, tuple):
    assert re.fullmatch(r"[\[(][\d.e]+, ([\d.e]+|inf)[\])]", allowed), "an interval"
    low, high = bounds(allowed)
    assert low < high
  elif isinstance(default, str) and allowed is not None:
    assert default in allowed and len(set(allowed)) == len(allowed) > 1
  else:
    assert allowed is None


def outside(field):
  """Returns values that are outside of what a field may be, below and above."""
  default, allowed = field.default, field.allowed
  if isinstance(allowed, list):
    return ["no such choice"]
  low, high = bounds(allowed)
  values = [low - 1 if allowed[0] == "[" else low, high + 1 if allowed[-1] == "]" else high]
  if isinstance(default, float):
    return values
  whole = [int(value) for value in values if math.isfinite(value)]
  return [(value,) for value in whole] if isinstance(default, tuple) else whole


@pytest.mark.parametrize("name", [name for name, field in FIELDS.items() if field.allowed])
def test_a_value_outside_is_refused(name):
  for value in outside(FIELDS[name]):
    with pytest.raises(UsageError, match=re.escape(f"config.{name} is {value!r}")):
      config._check_allowed(name, value, FIELDS[name])


@pytest.mark.parametrize(
  ("name", "table"),
  [
    ("model.name", model.MODELS),
    ("model.activation", layers.ACTIVATIONS),
    ("model.init", layers.INITIALIZERS),
    ("model.norm", layers.NORMS),
    ("loss.name", losses.LOSSES),
    ("optimizer.name", optimizer.OPTIMIZERS),
    ("schedule.name", schedule.SCHEDULES),
  ],
)
def test_choices_are_those_that_the_code_implements(name, table):
  """They are read from the source, so that a mistake in a config need not wait for JAX."""
  assert FIELDS[name].allowed == list(table)


def test_a_table_that_is_not_there_is_an_error():
  with pytest.raises(LookupError, match="defines no NETS"):
    keys_of("core/model.py", "NETS")


@functools.cache
def read_names():
  """Returns the attributes read, and the words in string constants, in all of the package's code.

  Of config.py only `duration` counts: the rest declares and checks the fields.
  """
  attributes, words = set(), set()
  for path in Path(mnist_mlp.__file__).parent.rglob("*.py"):
    tree = ast.parse(path.read_text())
    if path.name == "config.py":
      tree = next(n for n in tree.body if getattr(n, "name", "") == "duration")
    docstrings = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    for node in ast.walk(tree):
      if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
        attributes.add(node.attr)
      if (
        isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in docstrings
        and " " not in node.value
      ):
        words.update(node.value.split("."))
  return attributes, words


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_is_read_by_some_code(field):
  leaf = field.rpartition(".")[2]
  attributes, words = read_names()
  # A pair of durations is read through duration(section, "X", ...).
  pair = re.sub("_(epochs|steps)$", "", leaf)
  assert leaf in attributes | words or (pair != leaf and pair in words), f"no code reads {field}"


def test_no_field_is_read_with_a_fallback():
  for path in Path(mnist_mlp.__file__).parent.rglob("*.py"):
    for found in re.finditer(r"\b(?:config|c|options)(?:\.\w+)*\.get\(", path.read_text()):
      raise AssertionError(f"{path.name}: {found.group()}")
