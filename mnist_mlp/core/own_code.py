"""Checks of code of one's own that a config names, before a run begins. See `lookup`."""

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from ml_collections import ConfigDict
from optax import GradientTransformation

from mnist_mlp.choices import is_reference
from mnist_mlp.core.lookup import call, lookup
from mnist_mlp.core.losses import per_example
from mnist_mlp.core.model import create_model
from mnist_mlp.core.spec import DataSpec
from mnist_mlp.core.traced import HYPERPARAMETERS, RATES
from mnist_mlp.errors import UsageError, brief, lines_of


def check(config: ConfigDict, spec: DataSpec) -> None:
  """Raises a UsageError if code of one's own is not there, or does not fit the data."""
  for section, checked in (("model", _net), ("optimizer", _optimizer), ("loss", _loss)):
    name = config[section].name
    if is_reference(name):
      checked(config, spec, f"config.{section}.name is {name!r}, ")


def _net(config: ConfigDict, spec: DataSpec, prefix: str) -> None:
  own = config.model.name
  model: Any = _tried(create_model, (config, spec), own, f"{prefix}which fails")
  if not isinstance(model, nn.Module):
    raise UsageError(f"{prefix}which gives a {type(model).__name__}, but must give a Linen module")
  taken = inspect.signature(type(model).__call__).parameters
  for name in ("train", *(rate for rate in RATES if config.model[rate])):
    if name not in taken:
      way_out = "" if name == "train" else f"; without it, config.model.{name} must be 0"
      raise UsageError(f"{prefix}but its __call__ has no argument {name!r}{way_out}")
  images = jax.ShapeDtypeStruct((2, *spec.image_shape), "uint8")
  init = functools.partial(jax.eval_shape, model.init_with_output, jax.random.key(0))
  given = f"two images, uint8 {list(images.shape)}"
  logits, variables = _tried(init, (images,), own, f"{prefix}which fails on {given}")
  shape, wanted = getattr(logits, "shape", None), (2, spec.num_classes)
  if shape != wanted:
    raise UsageError(f"{prefix}whose logits for two images have the shape {shape}, not {wanted}")
  if "params" not in variables:
    raise UsageError(f"{prefix}which has no parameters to train")
  for path, leaf in jax.tree_util.tree_leaves_with_path(variables["params"]):
    if leaf.dtype != jnp.float32:
      name = jax.tree_util.keystr(path, simple=True, separator="/")
      raise UsageError(
        f"{prefix}whose parameter {name} is {leaf.dtype}; parameters must be float32 (in Linen, "
        "`dtype` is that of the computation, `param_dtype` that of parameters)"
      )


def _optimizer(config: ConfigDict, spec: DataSpec, prefix: str) -> None:
  del spec
  own = config.optimizer.name
  make = lookup({}, "optimizer.name", own)
  numbers = {name: config.optimizer[name] for name in HYPERPARAMETERS}
  made = _tried(call, (make, "optimizer.name", own, numbers), own, f"{prefix}which fails")
  if not isinstance(made, GradientTransformation):
    kind = type(made).__name__
    raise UsageError(f"{prefix}which gives a {kind}, but must give an Optax transformation")
  if config.optimizer.weight_decay and "weight_decay" not in inspect.signature(make).parameters:
    raise UsageError(f"{prefix}which has no weight_decay; set config.optimizer.weight_decay to 0")


def _loss(config: ConfigDict, spec: DataSpec, prefix: str) -> None:
  if not callable(lookup({}, "loss.name", config.loss.name)):
    raise UsageError(f"{prefix}which is no function")
  logits = jax.ShapeDtypeStruct((2, spec.num_classes), jnp.float32)
  labels = jax.ShapeDtypeStruct((2,), jnp.int32)
  of_example = functools.partial(per_example, config.loss)
  evaluate = functools.partial(jax.eval_shape, of_example)
  given = f"logits and targets, float32 {list(logits.shape)} both"
  failing = f"{prefix}which fails on {given}"
  found = _tried(evaluate, (logits, labels, 0.0), config.loss.name, failing)
  shape = getattr(found, "shape", None)
  if shape != (2,):
    raise UsageError(f"{prefix}whose losses of two examples have the shape {shape}, not (2,)")
  if not jnp.issubdtype(found.dtype, jnp.floating):
    raise UsageError(f"{prefix}whose losses are {found.dtype}, which have no gradient")


def _tried(function: Callable, arguments: tuple, name: str, failing: str) -> Any:
  """Returns what a function gives that calls code of one's own.

  Raises:
    UsageError: it raises any error. The message begins with `failing`, and names the last line of
      the module in `name`, 'module:attribute', that was reached.
  """
  try:
    return function(*arguments)
  except UsageError:
    raise
  except Exception as error:  # Whatever the code raises.
    file = getattr(sys.modules[name.partition(":")[0]], "__file__", None)
    lines = lines_of(str(file), error)
    where = f"{file}, line {lines[-1]}: " if lines else ""
    raise UsageError(f"{failing}: {where}{brief(error)}") from error
