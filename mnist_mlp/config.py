"""The one schema: every field that a run reads, its default, its unit, its range.

`default()` is the schema; a recipe in `configs/` starts from it and sets only what differs.
"""

import array
import json
import math
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from mnist_mlp.errors import UsageError, did_you_mean, listing


def default() -> ConfigDict:
  """Returns the locked default config. 0, 0.0, '' and 'none' switch a feature off.

  Durations come in pairs, `X_epochs` and `X_steps`: a positive `X_steps` wins over `X_epochs`.
  An epoch is `train examples // batch_size` optimizer steps.
  """
  c = ConfigDict()
  c.seed = 0  # int: parameters, shuffling, dropout all follow from it
  c.batch_size = 128  # int, examples a step, over all devices
  c.num_epochs = 20.0  # float, epochs
  c.num_steps = 0  # int, steps
  c.eval_every_epochs = 1.0  # float, epochs between evaluations; the end is always evaluated
  c.eval_every_steps = 0  # int, steps
  c.eval_batch_size = 1024  # int, examples; affects speed and memory, not what is counted
  c.checkpoint_every_epochs = 0.0  # float, epochs between checkpoints besides those at evaluations
  c.checkpoint_every_steps = 0  # int, steps

  c.data = ConfigDict()
  c.data.name = "mnist"  # str: a TFDS image classification dataset, or 'digits'
  c.data.files = ""  # str, folder with files of one's own instead; see files.py
  c.data.data_dir = ""  # str, folder of prepared data; '' is TFDS's own default
  c.data.manual_dir = ""  # str, folder with the dataset's original download files
  c.data.offline = "digits"  # str, embedded stand-in when the data cannot be had; '' is an error
  c.data.validation_examples = 5000  # int, examples taken from the end of train; 0 is none

  c.augment = ConfigDict()  # distortions of training images, drawn anew at every step
  c.augment.elastic_alpha = 0.0  # float, factor on the smoothed displacements, pixels
  c.augment.elastic_sigma = 4.0  # float, width of their Gaussian smoothing, pixels
  c.augment.rotation = 0.0  # float, largest angle either way, degrees
  c.augment.rotation_of = ()  # tuple of int, classes with a largest angle of their own
  c.augment.rotation_for_those = 0.0  # float, that angle, degrees
  c.augment.scale = 0.0  # float, largest share by which each axis grows or shrinks
  c.augment.shift = 0.0  # float, largest shift either way along each axis, pixels
  c.augment.shear = 0.0  # float, largest slant either way, columns per row
  c.augment.clean_epochs = 0.0  # float, last epochs, on images as they are
  c.augment.clean_steps = 0  # int, steps

  c.model = ConfigDict()
  c.model.features = (512, 512)  # tuple of int, hidden widths; () is softmax regression
  c.model.activation = "relu"  # str, see ACTIVATIONS
  c.model.dropout = 0.0  # float, probability that a hidden unit is dropped in training
  c.model.input_dropout = 0.0  # float, probability that a pixel is dropped in training
  c.model.norm = "none"  # str, see NORMS; between a hidden layer and its activation
  c.model.init = "default"  # str, see INITIALIZERS; 'default' is Flax's, LeCun normal
  c.model.init_scale = 1.0  # float, standard deviation of 'normal'; factor on the others
  c.model.init_biases = False  # bool: draw biases from a normal of std init_scale, else zeros
  c.model.inputs = "unit"  # str, see INPUTS: pixels as 0..1, 0..255, or standardised
  c.model.dtype = "float32"  # str, see DTYPES, of hidden layers' factors; else all is float32

  c.loss = ConfigDict()
  c.loss.name = "softmax_cross_entropy"  # str, see LOSSES
  c.loss.label_smoothing = 0.0  # float, share of the target spread evenly over the classes
  c.loss.l2 = 0.0  # float, adds l2 / 2 * sum of squared kernel entries to the loss
  c.loss.smallest_probability = 0.0  # float, to which probabilities are clipped; 0 is off
  c.loss.adversarial_radius = 0.0  # float, moves images so far to be worst, in ranges of a pixel
  c.loss.mean_over_classes = False  # bool: divide the loss by the number of classes

  c.optimizer = ConfigDict()
  c.optimizer.name = "adam"  # str, see OPTIMIZERS
  c.optimizer.learning_rate = 1e-3  # float, the peak of the schedule; lbfgs finds its own
  c.optimizer.weight_decay = 0.0  # float, decoupled, on kernels, times the learning rate
  c.optimizer.momentum = 0.9  # float: momentum, nesterov, muon
  c.optimizer.b1 = 0.9  # float, first-moment decay: adam family, lamb, lion, schedule_free
  c.optimizer.b2 = 0.999  # float, second-moment decay: adam family, lamb, lion
  c.optimizer.eps = 1e-8  # float: adam family, lamb, rmsprop, adagrad
  c.optimizer.rms_decay = 0.9  # float, mean-square decay: rmsprop
  c.optimizer.memory_size = 10  # int, past updates kept: lbfgs
  c.optimizer.clip_norm = 0.0  # float, largest global gradient norm; 0 is off
  c.optimizer.max_norm = 0.0  # float, largest norm of a unit's incoming weights; 0 is off

  c.schedule = ConfigDict()
  c.schedule.name = "constant"  # str, see SCHEDULES
  c.schedule.warmup_epochs = 0.0  # float, epochs of linear warm-up from 0
  c.schedule.warmup_steps = 0  # int, steps
  c.schedule.decay_every_epochs = 1.0  # float, epochs between decays: step, exponential
  c.schedule.decay_every_steps = 0  # int, steps
  c.schedule.decay_rate = 0.5  # float, factor of one decay: step, exponential
  c.schedule.final_scale = 0.0  # float, last learning rate over the peak: cosine

  c.ema = ConfigDict()
  c.ema.decay = 0.0  # float, decay a step of the weights' moving average; 0 is off
  c.ema.evaluate = True  # bool: evaluate and test the average rather than the weights
  return c.lock()


ACTIVATIONS = ("relu", "tanh", "gelu", "silu", "sigmoid", "elu", "scaled_tanh")
NORMS = ("none", "batch", "layer")
INITIALIZERS = ("default", "he", "glorot", "normal")
INPUTS = ("unit", "raw", "standardized")
DTYPES = ("float32", "bfloat16")
LOSSES = ("softmax_cross_entropy", "sigmoid_cross_entropy", "squared_error")
OPTIMIZERS = (
  "sgd",
  "momentum",
  "nesterov",
  "adam",
  "adamw",
  "nadamw",
  "rmsprop",
  "adagrad",
  "lion",
  "lamb",
  "muon",
  "lbfgs",
  "schedule_free",
)
SCHEDULES = ("constant", "cosine", "one_cycle", "step", "exponential")
OFFLINE = ("", "digits")
# The fields of config.augment that switch a distortion on.
AUGMENTATIONS = ("elastic_alpha", "rotation", "rotation_for_those", "scale", "shift", "shear")

_CHOICES = {
  "data.offline": OFFLINE,
  "model.activation": ACTIVATIONS,
  "model.norm": NORMS,
  "model.init": INITIALIZERS,
  "model.inputs": INPUTS,
  "model.dtype": DTYPES,
  "loss.name": LOSSES,
  "optimizer.name": OPTIMIZERS,
  "schedule.name": SCHEDULES,
}

# Fields that must lie in an interval, written as in mathematics: '[' includes, '(' excludes.
_RANGES = {
  "seed": "[0, 4294967295]",
  "batch_size": "[1, inf)",
  "num_epochs": "[0, 1e9]",
  "num_steps": "[0, 2147483647]",
  "eval_every_epochs": "[0, 1e9]",
  "eval_every_steps": "[0, 2147483647]",
  "eval_batch_size": "[1, inf)",
  "checkpoint_every_epochs": "[0, 1e9]",
  "checkpoint_every_steps": "[0, 2147483647]",
  "data.validation_examples": "[0, inf)",
  "augment.elastic_alpha": "[0, inf)",
  "augment.elastic_sigma": "(0, 50]",
  "augment.rotation": "[0, 180]",
  "augment.rotation_for_those": "[0, 180]",
  "augment.scale": "[0, 0.9]",
  "augment.shift": "[0, inf)",
  "augment.shear": "[0, 10]",
  "augment.clean_epochs": "[0, 1e9]",
  "augment.clean_steps": "[0, 2147483647]",
  "model.dropout": "[0, 1)",
  "model.input_dropout": "[0, 1)",
  "model.init_scale": "(0, 1e9]",
  "loss.label_smoothing": "[0, 1)",
  "loss.l2": "[0, inf)",
  "loss.smallest_probability": "[0, 0.5)",
  "loss.adversarial_radius": "[0, inf)",
  "optimizer.learning_rate": "[0, inf)",
  "optimizer.weight_decay": "[0, inf)",
  "optimizer.momentum": "[0, 1)",
  "optimizer.b1": "[0, 1)",
  "optimizer.b2": "[0, 1)",
  "optimizer.eps": "(0, inf)",
  "optimizer.rms_decay": "[0, 1)",
  "optimizer.memory_size": "[1, inf)",
  "optimizer.clip_norm": "[0, inf)",
  "optimizer.max_norm": "[0, inf)",
  "schedule.warmup_epochs": "[0, 1e9]",
  "schedule.warmup_steps": "[0, 2147483647]",
  "schedule.decay_every_epochs": "[0, 1e9]",
  "schedule.decay_every_steps": "[0, 2147483647]",
  "schedule.decay_rate": "(0, 1]",
  "schedule.final_scale": "[0, 1]",
  "ema.decay": "[0, 1)",
}
_WIDTHS = "[1, 1000000]"


def validate(config: ConfigDict) -> ConfigDict:
  """Checks every field against the schema, alone and together.

  Returns:
    The config, for chaining.

  Raises:
    UsageError: names the first wrong field, its value, and what it may be.
  """
  fields, known = flatten(config), flatten(default())
  for name in fields:
    check_known(name, known)
  for name, reference in known.items():
    if name not in fields:
      raise UsageError(f"config.{name} is missing; start from mnist_mlp.config.default()")
    _check_type(name, fields[name], reference)
  for name, choices in _CHOICES.items():
    if fields[name] not in choices:
      raise UsageError(
        f"config.{name} is {fields[name]!r}, which is not one of {listing(map(repr, choices))}"
        + did_you_mean(fields[name], choices)
      )
  for name, interval in _RANGES.items():
    if not _inside(fields[name], interval):
      raise UsageError(f"config.{name} is {fields[name]!r} but must lie in {interval}")
    if isinstance(known[name], float) and not _inside(_float32(fields[name]), interval):
      raise UsageError(
        f"config.{name} is {fields[name]!r}, which is {_float32(fields[name])!r} as "
        f"a float32, but must lie in {interval}"
      )
  if not all(_inside(width, _WIDTHS) for width in config.model.features):
    raise UsageError(
      f"config.model.features is {config.model.features!r}, but every width must lie in {_WIDTHS}"
    )
  if any(label < 0 for label in config.augment.rotation_of):
    raise UsageError(
      f"config.augment.rotation_of is {config.augment.rotation_of!r}, but classes count from 0"
    )
  _check_together(config)
  return config


def check_known(name: str, known: Mapping[str, Any]) -> None:
  """Raises a UsageError with the nearest field unless `name` is in the flat mapping `known`."""
  if name in known:
    return
  by_leaf = {field.rpartition(".")[2]: field for field in known}
  leaf = name.rpartition(".")[2]
  hint = f"; did you mean {by_leaf[leaf]!r}?" if leaf in by_leaf else did_you_mean(name, known)
  raise UsageError(f"config.{name} is not a field{hint}")


def _check_type(name: str, value: Any, reference: Any) -> None:
  expected = type(reference)
  ok = type(value) is expected or (expected is float and type(value) is int)
  if expected is tuple and ok:
    ok = all(type(item) is int for item in value)
  if not ok:
    kind = "tuple of int" if expected is tuple else expected.__name__
    raise UsageError(
      f"config.{name} is {value!r}, of type {type(value).__name__}, but must be of type {kind}"
    )


def _inside(value: float, interval: str) -> bool:
  low, high = (float(bound) for bound in interval[1:-1].split(","))
  above = value >= low if interval[0] == "[" else value > low
  below = value <= high if interval[-1] == "]" else value < high
  return above and below


def _float32(value: float) -> float:
  """Returns what the program will make of a number: 0.99999999 becomes 1."""
  try:
    return array.array("f", [value])[0]
  except OverflowError:  # an int beyond any float
    return math.inf


def _check_together(config: ConfigDict) -> None:
  if config.data.files and config.data.manual_dir:
    raise UsageError(
      "config.data.files and config.data.manual_dir are both set; files are one's "
      "own, and manual_dir holds those of config.data.name: leave one of them empty"
    )
  for name in ("num", "eval_every"):
    if not (config[f"{name}_epochs"] or config[f"{name}_steps"]):
      raise UsageError(
        f"config.{name}_epochs and config.{name}_steps are both 0; set one of them above 0"
      )
  if config.loss.smallest_probability and config.loss.name != "softmax_cross_entropy":
    raise UsageError(
      f"config.loss.smallest_probability is {config.loss.smallest_probability} but must be 0 "
      f"with the loss {config.loss.name!r}, which has no softmax to clip"
    )
  if config.schedule.name in ("step", "exponential") and not (
    config.schedule.decay_every_epochs or config.schedule.decay_every_steps
  ):
    raise UsageError(
      f"config.schedule.name is {config.schedule.name!r}, so config.schedule.decay_every_epochs "
      "or config.schedule.decay_every_steps must be above 0"
    )
  if config.augment.rotation_for_those and not config.augment.rotation_of:
    raise UsageError(
      f"config.augment.rotation_for_those is {config.augment.rotation_for_those}, but no classes "
      "are given in config.augment.rotation_of"
    )
  if config.optimizer.name == "schedule_free":
    _check_schedule_free(config)
  if config.optimizer.name == "lbfgs":
    _check_lbfgs(config)


def _check_schedule_free(config: ConfigDict) -> None:
  if not config.optimizer.b1:
    raise UsageError(
      "config.optimizer.b1 is 0 but must be above 0 with optimizer 'schedule_free', "
      "which divides by it"
    )
  if config.optimizer.max_norm:
    raise UsageError(
      f"config.optimizer.max_norm is {config.optimizer.max_norm} but must be 0 with optimizer "
      "'schedule_free', whose average is not over weights that were scaled down"
    )


def _check_lbfgs(config: ConfigDict) -> None:
  off = {
    "optimizer.weight_decay": config.optimizer.weight_decay,
    "optimizer.clip_norm": config.optimizer.clip_norm,
    "loss.adversarial_radius": config.loss.adversarial_radius,
    "model.dropout": config.model.dropout,
    "model.input_dropout": config.model.input_dropout,
    **{f"augment.{name}": config.augment[name] for name in AUGMENTATIONS},
  }
  for name, value in off.items():
    if value:
      raise UsageError(
        f"config.{name} is {value!r} but must be 0 with optimizer 'lbfgs', whose line search "
        "needs the same deterministic loss at every trial point"
      )
  if config.model.norm == "batch":
    raise UsageError("config.model.norm is 'batch', which optimizer 'lbfgs' cannot train")
  if (
    config.schedule.name != "constant"
    or config.schedule.warmup_epochs
    or config.schedule.warmup_steps
  ):
    raise UsageError(
      "config.schedule must be 'constant' without warm-up with optimizer 'lbfgs', whose line "
      "search finds the length of each step"
    )


def duration(section: ConfigDict, name: str, steps_per_epoch: int) -> int:
  """Returns in steps the duration that `section` gives as `{name}_steps` or `{name}_epochs`.

  One above 0 is at least one step.
  """
  steps, epochs = section[f"{name}_steps"], section[f"{name}_epochs"]
  if steps or not epochs:
    return steps
  return max(1, round(epochs * steps_per_epoch))


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
  """Returns {'optimizer.name': 'adam', ...}: dotted field names (a ConfigDict sorts)."""
  flat = {}
  for key, value in config.items():
    if isinstance(value, ConfigDict | dict):
      flat.update(flatten(value, f"{prefix}{key}."))
    else:
      flat[f"{prefix}{key}"] = value
  return flat


def to_json(config: ConfigDict) -> str:
  """Returns the config as indented JSON, which `from_json` reads back equal."""
  return json.dumps(config.to_dict(), indent=2, allow_nan=False) + "\n"


def from_json(text: str) -> ConfigDict:
  """Returns the locked, validated config written by `to_json`.

  Raises:
    UsageError: the text is not JSON, or not a config of this schema.
  """
  try:
    tree = json.loads(text)
  except json.JSONDecodeError as error:
    raise UsageError(f"the config is not valid JSON: {error}") from error
  if not isinstance(tree, dict):
    raise UsageError("the config is not a JSON object")
  return validate(ConfigDict(_lists_to_tuples(tree)).lock())


def _lists_to_tuples(value: Any) -> Any:
  if isinstance(value, dict):
    return {key: _lists_to_tuples(item) for key, item in value.items()}
  return tuple(value) if isinstance(value, list) else value


def differences(old: ConfigDict, new: ConfigDict) -> str:
  """Returns 'config.seed: 0 -> 1, ...' for the fields in which two configs differ, else ''."""
  a, b = flatten(old), flatten(new)
  names = dict.fromkeys([*a, *b])
  return ", ".join(
    f"config.{name}: {a.get(name)!r} -> {b.get(name)!r}"
    for name in names
    if a.get(name, math.nan) != b.get(name, math.nan)
  )
