"""The one schema: every field of a config, its default, what it may be, and what it means.

`default()` is a config with all defaults. A recipe in `configs/` starts from it and sets only what
differs.
"""

import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from ml_collections import ConfigDict, FrozenConfigDict

from mnist_mlp.choices import is_reference, keys_of
from mnist_mlp.errors import UsageError, did_you_mean, listing, shown
from mnist_mlp.intervals import as_float32, inside
from mnist_mlp.synonyms import FIELD_OF


class Field(NamedTuple):
  """One field of the config."""

  default: Any  # its type is the field's type; an int may stand for a float
  # What it may be. Of a number: an interval as in mathematics, '[' includes and '(' excludes. Of a
  # tuple: the interval of each element. Of a string: the choices, or None for any string.
  allowed: str | list[str] | None
  meaning: str  # with the unit
  # What it means that a config of an earlier version lacks the field; None: each has it.
  before: Any = None


_STEPS = "[0, 2147483647]"  # an int32 counts steps
_COUNT = "[1, 2147483647]"
_EPOCHS = "[0, 1e9]"

# 0, 0.0, '' and 'none' switch a feature off. Durations come in pairs, X_epochs and X_steps: a
# positive X_steps wins over X_epochs. An epoch is `train examples // batch_size` optimizer steps.
FIELDS: dict[str, Field] = {
  "seed": Field(0, "[0, 4294967295]", "parameters, shuffling and dropout all follow from it"),
  "batch_size": Field(128, _COUNT, "examples a step, over all devices"),
  "num_epochs": Field(20.0, _EPOCHS, "length of the run, epochs"),
  "num_steps": Field(0, _STEPS, "the same in steps"),
  "eval_every_epochs": Field(1.0, _EPOCHS, "between evaluations; the end is always evaluated"),
  "eval_every_steps": Field(0, _STEPS, "the same in steps"),
  "eval_batch_size": Field(1024, _COUNT, "examples; changes speed and memory, not results"),
  "checkpoint_every_epochs": Field(0.0, _EPOCHS, "between checkpoints; evaluations save too"),
  "checkpoint_every_steps": Field(0, _STEPS, "the same in steps"),
  # Where the examples come from.
  "data.name": Field("mnist", None, "a TFDS image classification dataset, or 'digits'"),
  "data.files": Field("", None, "folder of your own pictures or data, instead; see docs/data.md"),
  "data.data_dir": Field("", None, "folder of prepared data; '' is TFDS's own default"),
  "data.manual_dir": Field("", None, "folder with the dataset's original download files"),
  "data.offline": Field("digits", ["", "digits"], "stand-in for missing data; '' is an error"),
  "data.validation_examples": Field(5000.0, "[0, 1e9]", "from the end of train; below 1, a share"),
  "data.image_size": Field((), "[1, 4096]", "height, width of own pictures; () is found out", ()),
  "data.channels": Field(0, "[0, 3]", "of own pictures: 1 gray, 3 RGB; 0 is found out", 0),
  "data.columns": Field("", None, "of own Parquet files: 'image,label'; '' is found out", ""),
  "data.placement": Field("auto", ["auto", "device", "host"], "where; auto: by size", "device"),
  # Distortions of training images, drawn anew at every step.
  "augment.elastic_alpha": Field(0.0, "[0, inf)", "factor of the smoothed displacements, pixels"),
  "augment.elastic_sigma": Field(4.0, "(0, 50]", "width of their Gaussian smoothing, pixels"),
  "augment.rotation": Field(0.0, "[0, 180]", "largest angle either way, degrees"),
  "augment.rotation_of": Field((), _STEPS, "classes, not degrees, with an angle of their own"),
  "augment.rotation_for_those": Field(0.0, "[0, 180]", "their largest angle, degrees"),
  "augment.scale": Field(0.0, "[0, 0.9]", "largest share by which each axis grows or shrinks"),
  "augment.shift": Field(0.0, "[0, inf)", "largest shift either way along each axis, pixels"),
  "augment.shear": Field(0.0, "[0, 10]", "largest slant either way, columns per row"),
  "augment.clean_epochs": Field(0.0, _EPOCHS, "last epochs, on images as they are"),
  "augment.clean_steps": Field(0, _STEPS, "the same in steps"),
  # The net.
  "model.name": Field("mlp", keys_of("core/model.py", "MODELS"), "the net", before="mlp"),
  "model.features": Field((512, 512), "[1, 1000000]", "hidden widths; () is softmax regression"),
  "model.activation": Field("relu", keys_of("core/layers.py", "ACTIVATIONS"), "of hidden units"),
  "model.dropout": Field(0.0, "[0, 1)", "probability that training drops a hidden unit"),
  "model.input_dropout": Field(0.0, "[0, 1)", "probability that training drops a pixel"),
  "model.norm": Field("none", keys_of("core/layers.py", "NORMS"), "before a unit's activation"),
  "model.init": Field(
    "default", keys_of("core/layers.py", "INITIALIZERS"), "'default' is LeCun normal"
  ),
  "model.init_scale": Field(1.0, "(0, 1e9]", "standard deviation of 'normal'; else a factor on it"),
  "model.init_biases": Field(False, None, "draw biases from N(0, init_scale), not zeros"),
  "model.inputs": Field("unit", ["unit", "raw", "standardized"], "0..1, 0..255, or mean 0, std 1"),
  "model.dtype": Field("float32", ["float32", "bfloat16"], "of the inputs of hidden products"),
  # The convolutions of the net 'cnn', before its dense layers, whose widths are model.features.
  "cnn.channels": Field((32, 64), "[1, 1000000]", "of each convolution", before=(32, 64)),
  "cnn.kernel_size": Field(3, "[1, 99]", "of each convolution, pixels", before=3),
  # What is minimised.
  "loss.name": Field(
    "softmax_cross_entropy",
    keys_of("core/losses.py", "LOSSES"),
    "of one example; summed over the classes",
  ),
  "loss.label_smoothing": Field(0.0, "[0, 1)", "share of the target spread over all classes"),
  "loss.l2": Field(0.0, "[0, inf)", "adds l2 / 2 * the sum of squared kernel entries"),
  "loss.smallest_probability": Field(0.0, "[0, 0.5)", "clips probabilities to it; 0 is off"),
  "loss.adversarial_radius": Field(0.0, "[0, inf)", "length of adversarial moves; see augment.py"),
  "loss.mean_over_classes": Field(False, None, "divide the loss by the number of classes"),
  # How it is minimised.
  "optimizer.name": Field("adam", keys_of("core/optimizer.py", "OPTIMIZERS"), "the method"),
  "optimizer.learning_rate": Field(1e-3, "[0, inf)", "peak of the schedule; lbfgs finds its own"),
  "optimizer.weight_decay": Field(0.0, "[0, inf)", "decoupled decay of kernels, times the rate"),
  "optimizer.momentum": Field(0.9, "[0, 1)", "momentum, nesterov, muon"),
  "optimizer.b1": Field(0.9, "[0, 1)", "decay of the first moment, where there is one"),
  "optimizer.b2": Field(0.999, "[0, 1)", "decay of the second moment, where there is one"),
  "optimizer.eps": Field(1e-8, "(0, inf)", "adam family, lamb, rmsprop, adagrad, schedule_free"),
  "optimizer.rms_decay": Field(0.9, "[0, 1)", "decay of the mean square: rmsprop"),
  "optimizer.memory_size": Field(10, _COUNT, "past updates kept: lbfgs"),
  "optimizer.clip_norm": Field(0.0, "[0, inf)", "largest global gradient norm; 0 is off"),
  "optimizer.max_norm": Field(0.0, "[0, inf)", "largest norm of a unit's weights; 0 is off"),
  "schedule.name": Field(
    "constant", keys_of("core/schedule.py", "SCHEDULES"), "of the learning rate"
  ),
  "schedule.warmup_epochs": Field(0.0, _EPOCHS, "of warm-up to the peak"),
  "schedule.warmup_steps": Field(0, _STEPS, "the same in steps"),
  "schedule.decay_every_epochs": Field(1.0, _EPOCHS, "between decays: step, exponential"),
  "schedule.decay_every_steps": Field(0, _STEPS, "the same in steps"),
  "schedule.decay_rate": Field(0.5, "(0, 1]", "factor of one decay: step, exponential"),
  "schedule.final_scale": Field(0.0, "[0, 1]", "last learning rate over the peak: cosine"),
  "ema.decay": Field(0.0, "[0, 1)", "decay a step of the weights' moving average; 0 is off"),
  "ema.evaluate": Field(True, None, "evaluate and test the average rather than the weights"),
}

PLACES = ("files", "data_dir", "manual_dir")  # fields of config.data: where the data lie
OWN_CODE = ("model.name", "loss.name", "optimizer.name")  # may also be 'module:attribute'

# The fields of config.augment that switch a distortion on.
AUGMENTATIONS = ("elastic_alpha", "rotation", "rotation_for_those", "scale", "shift", "shear")


def default() -> ConfigDict:
  """Returns the locked config of all defaults."""
  return unflatten({name: field.default for name, field in FIELDS.items()}).lock()


def validate(config: ConfigDict) -> ConfigDict:
  """Checks every field against the schema, alone and together.

  Returns:
    The config, for chaining; of a frozen one, a copy that is not.

  Raises:
    UsageError: names the first wrong field, its value, and what it may be.
  """
  _require(isinstance(config, ConfigDict), f"the config is {shown(config)}, no ConfigDict")
  config = ConfigDict(config).lock() if isinstance(config, FrozenConfigDict) else config
  values = flatten(config)
  for name in values:
    check_known(name, FIELDS)
  for name, field in FIELDS.items():
    _require(name in values, f"config.{name} is missing; start from mnist_mlp.config.default()")
    check_type(name, values[name], field)
  for name, field in FIELDS.items():
    _check_allowed(name, values[name], field)
  _check_together(config)
  return config


def check_known(name: str, known: Mapping[str, Any]) -> None:
  """Raises a UsageError with the nearest field unless `name` is in the flat mapping `known`."""
  if name in known:
    return
  inside = [field for field in known if field.startswith(f"{name}.")]
  if inside:
    own = f"{name}.name"
    hint = f"did you mean {own!r}?" if own in known else f"its fields are {listing(inside)}"
    raise UsageError(f"config.{name} is a section of fields; {hint}")
  by_leaf = FIELD_OF | {field.rpartition(".")[2]: field for field in known}
  nearest = by_leaf.get(name.rpartition(".")[2].lower().replace("-", "_"))
  hint = f"; did you mean {nearest!r}?" if nearest in known else did_you_mean(name, known)
  raise UsageError(f"config.{name} is not a field{hint}")


def check_type(name: str, value: Any, field: Field) -> None:
  """Raises a UsageError unless the value is of the field's type; an int may stand for a float."""
  expected, own = type(field.default), type(value).__name__
  ok = type(value) is expected or (expected is float and type(value) is int)
  kind = "tuple of int" if expected is tuple else expected.__name__
  _require(ok, f"config.{name} is {shown(value)}, of type {own}, but must be of type {kind}")
  for element in value if expected is tuple else ():
    _require(
      type(element) is int,
      f"config.{name} is {shown(value)}, whose element {shown(element)} is of type "
      f"{type(element).__name__}, but every element must be of type int",
    )


def _check_allowed(name: str, value: Any, field: Field) -> None:
  allowed = field.allowed
  if name in OWN_CODE and is_reference(value):
    return
  if isinstance(allowed, list):
    own = ", nor 'MODULE:NAME' for code of one's own" if name in OWN_CODE else ""
    choices = listing(map(repr, allowed)) + own + did_you_mean(value, allowed)
    _require(value in allowed, f"config.{name} is {shown(value)}, which is not one of {choices}")
  elif allowed and isinstance(value, tuple):
    ok = all(inside(element, allowed) for element in value)
    _require(ok, f"config.{name} is {shown(value)}, but every element must lie in {allowed}")
  elif allowed:
    _require(inside(value, allowed), f"config.{name} is {shown(value)} but must lie in {allowed}")
    if isinstance(field.default, float):
      as_held = as_float32(value)
      held = f"config.{name} is {shown(value)}, which is {as_held!r} as a float32"
      _require(inside(as_held, allowed), f"{held}, but must lie in {allowed}")


def _check_together(config: ConfigDict) -> None:
  c = config
  _require(
    not (c.data.files and c.data.manual_dir),
    "config.data.files and config.data.manual_dir are both set; leave one of them empty: files "
    "holds data of your own, manual_dir the original files of config.data.name",
  )
  _check_data(c.data)
  for name in ("num", "eval_every"):
    _require(
      c[f"{name}_epochs"] or c[f"{name}_steps"],
      f"config.{name}_epochs and config.{name}_steps are both 0; set one of them above 0",
    )
  _require(
    not c.loss.smallest_probability or c.loss.name == "softmax_cross_entropy",
    f"config.loss.smallest_probability is {c.loss.smallest_probability} but must be 0 with the "
    f"loss {c.loss.name!r}, which has no softmax to clip",
  )
  decays = c.schedule.decay_every_epochs or c.schedule.decay_every_steps
  _require(
    decays or c.schedule.name not in ("step", "exponential"),
    f"config.schedule.name is {c.schedule.name!r}, so config.schedule.decay_every_epochs or "
    "config.schedule.decay_every_steps must be above 0",
  )
  _require(
    c.augment.rotation_of or not c.augment.rotation_for_those,
    f"config.augment.rotation_for_those is {c.augment.rotation_for_those}, but no classes are "
    "given in config.augment.rotation_of",
  )
  if c.optimizer.name == "schedule_free":
    _check_schedule_free(c)
  if c.optimizer.name == "lbfgs":
    _check_lbfgs(c)


def _check_data(data: ConfigDict) -> None:
  count, columns = data.validation_examples, data.columns
  for name, holds, needed in (
    ("validation_examples", count < 1 or count == int(count), "a whole number, or a share below 1"),
    ("image_size", len(data.image_size) in (0, 2), "a height and a width, such as 28,28, or ()"),
    ("channels", data.channels != 2, "1, gray, 3, RGB, or 0"),
    ("columns", not columns or columns.count(",") == 1, "two names, such as 'image,label', or ''"),
  ):
    _require(holds, f"config.data.{name} is {shown(data[name])} but must be {needed}")
    used = data.files or not data[name] or name == "validation_examples"
    _require(used, f"config.data.{name} is set, but config.data.files, which it is for, is empty")


def _check_schedule_free(config: ConfigDict) -> None:
  _require(
    config.optimizer.b1,
    "config.optimizer.b1 is 0 but must be above 0 with optimizer 'schedule_free', which divides "
    "by it",
  )
  _require(
    not config.optimizer.max_norm,
    f"config.optimizer.max_norm is {config.optimizer.max_norm} but must be 0 with optimizer "
    "'schedule_free', whose average of the weights would not be scaled down",
  )


def _check_lbfgs(config: ConfigDict) -> None:
  values, off = flatten(config), [f"augment.{name}" for name in AUGMENTATIONS]
  off += ["optimizer.weight_decay", "optimizer.clip_norm", "loss.adversarial_radius"]
  for name in [*off, "model.dropout", "model.input_dropout"]:
    _require(
      not values[name],
      f"config.{name} is {values[name]!r} but must be 0 with optimizer 'lbfgs', whose line search "
      "needs the same loss whenever it is evaluated",
    )
  batch_norm = config.model.norm == "batch"
  _require(not batch_norm, "config.model.norm is 'batch', which optimizer 'lbfgs' cannot train")
  _require(
    config.schedule.name == "constant" and not duration(config.schedule, "warmup", 1),
    "config.schedule.name must be 'constant', without warm-up, with optimizer 'lbfgs', whose line "
    "search finds the length of each step",
  )


def _require(holds: Any, message: str) -> None:
  if not holds:
    raise UsageError(message)


def duration(section: ConfigDict, name: str, steps_per_epoch: int) -> int:
  """Returns in steps the duration that `section` gives as `{name}_steps` or `{name}_epochs`.

  One above 0 is at least one step.
  """
  steps, epochs = section[f"{name}_steps"], section[f"{name}_epochs"]
  if steps or not epochs:
    return steps
  return max(1, round(epochs * steps_per_epoch))


class Length(NamedTuple):
  """How long a run is, in optimizer steps."""

  steps_per_epoch: int
  total_steps: int


def run_length(config: ConfigDict, num_train: int) -> Length:
  """Returns the length of a run with that many training examples, one batch of them at least."""
  per_epoch = max(1, num_train // config.batch_size)
  return Length(per_epoch, config.num_steps or round(config.num_epochs * per_epoch))


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
  """Returns {'optimizer.name': 'adam', ...}: dotted field names, sorted as in a ConfigDict."""
  flat = {}
  for key, value in config.items():
    if isinstance(value, ConfigDict | dict):
      flat.update(flatten(value, f"{prefix}{key}."))
    else:
      flat[f"{prefix}{key}"] = value
  return flat


def unflatten(flat: Mapping[str, Any]) -> ConfigDict:
  """Undoes `flatten`."""
  tree: dict[str, Any] = {}
  for name, value in flat.items():
    *sections, leaf = name.split(".")
    section = tree
    for key in sections:
      section = section.setdefault(key, {})
    section[leaf] = value
  return ConfigDict(tree)


def to_json(config: ConfigDict) -> str:
  """Returns the config as indented JSON, which `run.config_json.from_json` reads back equal."""
  return json.dumps(config.to_dict(), indent=2, allow_nan=False) + "\n"


def differences(old: ConfigDict, new: ConfigDict) -> str:
  """Returns 'config.seed: 0 -> 1, ...' for the fields in which two configs differ, else ''."""
  a, b = flatten(old), flatten(new)
  return ", ".join(
    f"config.{name}: {a.get(name)!r} -> {b.get(name)!r}"
    for name in dict.fromkeys([*a, *b])
    if a.get(name, math.nan) != b.get(name, math.nan)
  )
