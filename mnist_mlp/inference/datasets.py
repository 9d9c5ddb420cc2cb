"""The dataset that a net is evaluated on: the run's, wherever it lies now, or another one."""

from collections.abc import Callable, Mapping

from ml_collections import ConfigDict

from mnist_mlp import data
from mnist_mlp.config import PLACES
from mnist_mlp.data import files
from mnist_mlp.errors import UsageError, UserError, listing
from mnist_mlp.inference.nets import Committee, Net
from mnist_mlp.run.run import check_same_data

Report = Callable[[str], None]


def load(
  net: Net | Committee, split: str, name: str | None, places: Mapping[str, str], report: Report
) -> data.Dataset:
  """Returns the dataset of a run, or another one that fits its net.

  Args:
    net: the net of a run, or a committee.
    split: which is wanted.
    name: that of another dataset in TFDS; by default it is the run's.
    places: where data lie now, by names of `config.PLACES`, if not where the run had them. If
      `files` holds other pictures than those that the run was trained on, they are another dataset.
    report: called with lines that say which data is used.

  Raises:
    UsageError, RunError: as `evaluation.evaluate`.
  """
  options = net.config.data.copy_and_resolve_references()
  options.update(places)
  try:
    if places.get("files"):
      if name:
        raise UsageError("--dataset and --files exclude each other; leave one out")
      return _own_pictures(net, split, options, report)
    if name and name != net.facts["name"]:
      return _another(net, split, name, options, report)
    return _of_run(net, options, report)
  except UserError as error:
    raise type(error)(_in_flags(str(error), places)) from error


def _in_flags(message: str, places: Mapping[str, str]) -> str:
  """Returns a message about fields of a config as one about flags: the config is the run's."""
  for name in PLACES:
    verb = "" if name in places else "set "  # Of a flag that was not given, only advice speaks.
    message = message.replace(f"{verb}config.data.{name}", f"{verb}--{name}")
  return message


def check_held_out(net: Net | Committee) -> None:
  """Raises a UsageError if a member was trained on examples that the first one held out."""
  for member in net.members:
    if member.facts["examples"] != net.facts["examples"]:
      raise UsageError(
        f"--split is 'validation', but {net.folder.path} held out "
        f"{net.facts['examples']['validation']:,} examples, {member.folder.path} "
        f"{member.facts['examples']['validation']:,}; give runs that held out the same, or "
        "--split=test"
      )


def _of_run(net: Net | Committee, options: ConfigDict, report: Report) -> data.Dataset:
  try:
    dataset = data.load(options, report=report, only=net.facts)
  except UserError as error:
    if not options.files:
      raise
    raise type(error)(
      f"the pictures of the run cannot be had: {error}; --files=FOLDER says where they lie now"
    ) from error
  check_same_data(net.folder, dataset, "--files or --dataset evaluates on other data")
  return dataset


def _own_pictures(
  net: Net | Committee, split: str, options: ConfigDict, report: Report
) -> data.Dataset:
  height, width, channels = net.image_shape
  options.update(image_size=(height, width), channels=channels, manual_dir="")
  names = list(files.find(options).classes.values())  # Preparing the pictures may take long.
  if names != net.class_names:
    raise UsageError(
      f"--files is {options.files!r}, with the classes {listing(names)}, but the net knows "
      f"{listing(net.class_names)}"
    )
  trained_on_own = bool(net.config.data.files)
  if not trained_on_own and split != "validation":
    options.validation_examples = 0  # There may be fewer examples than what the run held out.
  dataset = data.load(options, report=report, only=net.facts if trained_on_own else None)
  if dataset.fingerprint == net.facts["fingerprint"]:
    return dataset
  report(
    f"these are not exactly the pictures of {net.facts['name']}; the net may have learned from some"
  )
  return dataset


def _another(
  net: Net | Committee, split: str, name: str, options: ConfigDict, report: Report
) -> data.Dataset:
  options.update(name=name, files="", offline="")
  if options.manual_dir == net.config.data.manual_dir:  # It holds the run's dataset.
    options.manual_dir = ""
  if split != "validation":  # The other dataset may be smaller than what the run held out.
    options.validation_examples = 0
  try:
    dataset = data.load(options, report=report)
  except UserError as error:
    raise type(error)(f"--dataset={name} cannot be used: {error}") from error
  has = (dataset.image_shape, dataset.num_classes)
  if has != (net.image_shape, len(net.class_names)):
    raise UsageError(
      f"--dataset is {name!r}, with images of {has[0]} and {has[1]} classes, but the net was "
      f"trained on {net.image_shape} and {len(net.class_names)}"
    )
  return dataset
