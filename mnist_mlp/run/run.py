"""A run: a config that is trained in a workdir. What must be right before it starts."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
from ml_collections import ConfigDict, FrozenConfigDict

from mnist_mlp import data
from mnist_mlp.config import AUGMENTATIONS, Length, duration, run_length
from mnist_mlp.core import own_code
from mnist_mlp.core.spec import DataSpec
from mnist_mlp.errors import RunError, UsageError
from mnist_mlp.paths import expand
from mnist_mlp.run import environment, memory, placement
from mnist_mlp.run.console import Console, boxed
from mnist_mlp.run.history import Row
from mnist_mlp.run.loop import Timetable
from mnist_mlp.run.team import ALONE, Team
from mnist_mlp.run.workdir import Workdir

_FEW_STEPS = 100  # of a run; the recipes take thousands
_MOST_STEPS = 2**31 - 1  # as an int32 counts them


@dataclasses.dataclass(frozen=True)
class Run:
  """A config, the data that it is trained on, and the folder for what comes of it."""

  config: ConfigDict  # with the batch that is used, see `fitted`; config.json has the one asked for
  dataset: data.Dataset
  folder: Workdir
  console: Console
  timetable: Timetable
  environment: dict[str, Any]  # see `environment.describe`
  on_evaluation: Callable[[Row], Any] | None = None  # see `train.train_and_evaluate`
  team: Team = ALONE  # the processes that train it

  @functools.cached_property
  def static(self) -> FrozenConfigDict:
    """The config as compiled programs take it."""
    return FrozenConfigDict(self.config)

  @functools.cached_property
  def spec(self) -> DataSpec:
    """What the net depends on of the data."""
    return spec_of(self.config, self.dataset)

  def about(self) -> dict[str, Any]:
    """Returns what is kept beside the state in a checkpoint."""
    return {
      "config": self.config.to_dict(),
      "environment": self.environment,
      "fingerprint": self.dataset.fingerprint,
      "rows": self.folder.history.rows,
    }

  def stopped_by_caller(self, row: Row) -> bool:
    """Calls `on_evaluation` with a row; returns whether it stops the run there, before its end."""
    stops = self.on_evaluation and self.on_evaluation(dict(row))
    stops = any(self.team.gather(bool(stops)))
    step, total = row["step"], self.timetable.total_steps
    if stops and step < total:
      self.console.stop_bar()
      self.console.line(f"stopped after step {step} of {total}; the same call goes on from there")
    return stops and step < total

  def warn_of_stand_in(self) -> None:
    """Says in a box that the data are not the ones asked for, if that is so."""
    name, wanted = self.dataset.name, self.dataset.stand_in_for
    if wanted:
      self.console.line(
        boxed(
          f"{wanted} could not be had: this run trains on {name} INSTEAD.\n"
          f"Its results say nothing about {wanted}."
        )
      )


def open_run(
  config: ConfigDict,
  folder: Workdir,
  console: Console,
  on_evaluation: Callable[[Row], Any] | None = None,
  team: Team = ALONE,
) -> Run:
  """Loads the data of a run, checks that they fit the config, and notes both in the folder.

  Args:
    config: a validated config.
    folder: claimed for this config. If a run was started in it, it goes on with the same data.
    console: gets the lines.
    on_evaluation: see `train.train_and_evaluate`.
    team: likewise.

  Raises:
    UsageError: the config does not fit the data or the devices.
    RunError: the data cannot be had, or are not those on which the run was started; or another
      process has others.
  """
  held = folder.read_json("dataset.json")
  dataset = data.load(config.data, report=console.line, only=held)
  check_same_data(folder, dataset)
  facts = f"{dataset.name}, fingerprint {dataset.fingerprint}, {dataset.train.num_examples:,} train"
  team.check_same(facts, "data", "give all processes the same files")
  used, shrunk = fitted(config, dataset)
  if shrunk:
    console.line(shrunk)
  length = check_sizes(used, dataset)
  if short := shortness(used, length):
    console.line(short)
  timetable = Timetable.of(used, length)
  where, line = team.gather(placement.chosen(used, dataset))[0]  # One may have less memory free.
  if line:
    console.line(line)
  if where == "host":
    timetable = placement.in_blocks(timetable, used, dataset)
  folder.keep_config(config)  # First: the other files in the folder belong to this config.
  folder.write_json("dataset.json", dataset.describe())
  about = environment.describe()
  return Run(used, dataset, folder, console, timetable, about, on_evaluation, team)


def fitted(
  config: ConfigDict, dataset: data.Dataset, devices: int | None = None
) -> tuple[ConfigDict, str]:
  """Returns a config whose batch is no larger than the training data, and a line if it shrank.

  Args:
    config: is not changed.
    dataset: what it is trained on.
    devices: how many share each batch; by default all.
  """
  examples = dataset.train.num_examples
  devices = jax.device_count() if devices is None else devices
  most = examples // devices * devices
  if config.batch_size <= examples or not most:
    return config, ""
  used = config.copy_and_resolve_references()
  used.batch_size = most
  return used, (
    f"config.batch_size is {config.batch_size}, but {dataset.name} has {examples:,} training "
    f"examples: batches of {most:,} are used"
  )


def shortness(config: ConfigDict, length: Length) -> str:
  """Returns a line if the epochs of a run are too few steps to learn much, else ''.

  Args:
    config: if it gives `num_steps`, or an optimizer that needs full batches, few steps are meant.
    length: of the run.
  """
  if config.num_steps or config.optimizer.name == "lbfgs" or length.total_steps >= _FEW_STEPS:
    return ""
  return (
    f"config.num_epochs is {config.num_epochs:g}, which makes few steps to learn from: "
    f"{length.total_steps}, of {config.batch_size} examples each; lower config.batch_size, or "
    "raise config.num_epochs"
  )


def spec_of(config: ConfigDict, dataset: data.Dataset) -> DataSpec:
  """Returns what a net depends on of a dataset; pixel statistics only if this config needs them."""
  return dataset.spec(pixel_statistics=config.model.inputs == "standardized")


def check_same_data(
  folder: Workdir, dataset: data.Dataset, way_out: str = "use another --workdir"
) -> None:
  """Raises a RunError, which ends with a way out, if the folder's run was started on other data."""
  held = folder.read_json("dataset.json")
  if held and held["fingerprint"] != dataset.fingerprint:
    raise RunError(
      f"the run in {folder.path} was started on other data: on {held['name']} of the fingerprint "
      f"{held['fingerprint']}, not on {dataset.name} of {dataset.fingerprint}; {way_out}"
    )


def check_finished(folder: Workdir, config: ConfigDict) -> None:
  """Raises a UserError if own files that a config names are not those of the folder's finished run.

  Where files lie is no part of a run. So they are looked at only if they lie elsewhere.
  """
  before, now = (expand(options.data.files) for options in (folder.run_config(), config))
  if now != before:
    check_same_data(folder, data.load(config.data, only=folder.read_json("dataset.json")))


def check_sizes(config: ConfigDict, dataset: data.Dataset, devices: int | None = None) -> Length:
  """Returns the length of a run, once it is clear that data, devices and memory suffice for it.

  Args:
    config: a validated config.
    dataset: what the run is trained on.
    devices: how many share each batch; by default all.

  Raises:
    UsageError: they do not.
  """
  _check_batches(config, dataset, jax.device_count() if devices is None else devices)
  spec = dataset.spec(pixel_statistics=False)
  own_code.check(config, spec)
  memory.check_fits(config, spec)
  classes, chosen = dataset.num_classes, config.augment.rotation_of
  if any(label >= classes for label in chosen):
    raise UsageError(
      f"config.augment.rotation_of is {chosen}, but the classes of {dataset.name!r} are 0 to "
      f"{classes - 1}"
    )
  length = run_length(config, dataset.train.num_examples)
  if not length.total_steps:
    raise UsageError(f"config.num_epochs is {config.num_epochs}, which is less than one step")
  if length.total_steps > _MOST_STEPS:
    raise UsageError(
      f"config.num_epochs is {config.num_epochs}, which is {length.total_steps:,} steps, but there "
      f"can be {_MOST_STEPS:,} at most"
    )
  clean = duration(config.augment, "clean", length.steps_per_epoch)
  if clean >= length.total_steps and any(config.augment[name] for name in AUGMENTATIONS):
    raise UsageError(
      f"config.augment.clean_epochs or clean_steps leaves the last {clean:,} steps clean, but "
      f"the run has only {length.total_steps:,} steps; lower it, or switch distortions off"
    )
  return length


def _check_batches(config: ConfigDict, dataset: data.Dataset, devices: int) -> None:
  size, examples = config.batch_size, dataset.train.num_examples
  if size > examples:
    raise UsageError(
      f"config.batch_size is {size}, larger than the {examples} training examples of "
      f"{dataset.name!r}"
    )
  if config.optimizer.name == "lbfgs" and size != examples:
    raise UsageError(
      f"config.batch_size is {size}, but optimizer 'lbfgs' needs the full batch, {examples}"
    )
  for name in ("batch_size", "eval_batch_size"):
    if config[name] % devices:
      raise UsageError(
        f"config.{name} is {config[name]}, which the {devices} devices cannot share evenly; use a "
        "multiple of their number"
      )
