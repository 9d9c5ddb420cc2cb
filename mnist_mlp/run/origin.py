"""The run that another run starts from: with its whole state, for more epochs, or with its weights.

The new run has a folder of its own. Its origin.json says what it starts from, and its first
checkpoint holds it (see `resuming`). From then on it resumes like any other run, whatever becomes
of the other folder.
"""

import dataclasses
import os
from typing import Any

from ml_collections import ConfigDict

from mnist_mlp.config import run_length, validate
from mnist_mlp.errors import RunError, UsageError
from mnist_mlp.paths import expand
from mnist_mlp.run.workdir import Workdir

_FILE = "origin.json"
_START = ("step", "digest")


@dataclasses.dataclass(frozen=True)
class Origin:
  """What a new run starts from.

  Attributes:
    workdir: folder of the other run, absolute.
    more_epochs: how much longer than the other run it is, epochs; it starts with the whole state. 0
      means another config, and a start with the weights alone.
    best: takes the weights of the best validation accuracy, not the last ones.
  """

  workdir: str
  more_epochs: float = 0.0
  best: bool = False

  @classmethod
  def of(cls, workdir: str | os.PathLike, more_epochs: float = 0.0, best: bool = False) -> "Origin":
    """Returns an origin whose path is expanded."""
    return cls(os.path.abspath(expand(workdir)), more_epochs, best)

  def config(self) -> ConfigDict:
    """Returns the other run's config, made longer by `more_epochs`.

    Raises:
      UsageError: there is no run, or the number of epochs is not one.
      RunError: the run is not finished.
    """
    folder = Workdir(self.workdir)
    config = folder.run_config().copy_and_resolve_references()
    facts = folder.read_json("dataset.json")
    if facts is None or folder.result() is None:
      raise RunError(f"the run in {folder.path} is not finished; finish it before more epochs")
    if config.num_steps:
      per_epoch = run_length(config, facts["examples"]["train"]).steps_per_epoch
      config.num_steps += round(self.more_epochs * per_epoch)
    else:
      config.num_epochs += self.more_epochs
    return validate(config.lock())


def origin_of(folder: Workdir) -> Origin | None:
  """Returns what the run in a folder started from, if it did not start anew."""
  held = folder.read_json(_FILE)
  if held is None:
    return None
  return Origin(held["workdir"], held["more_epochs"], held["best"])


def start_of(folder: Workdir) -> dict[str, Any] | None:
  """Returns step and digest of the state that the run started from, once its own copy is saved."""
  held = folder.read_json(_FILE) or {}
  return {name: held[name] for name in _START} if "step" in held else None


def first_step(folder: Workdir) -> int:
  """Returns how many steps were done when the run in a folder began."""
  origin, start = origin_of(folder), start_of(folder)
  return start["step"] if origin and origin.more_epochs and start else 0


def keep_start(folder: Workdir, start: dict[str, Any]) -> None:
  """Notes that a copy of the state that the run starts from is saved: its step and digest."""
  folder.write_json(_FILE, {**(folder.read_json(_FILE) or {}), **start})


def keep(folder: Workdir, origin: Origin | None) -> None:
  """Notes what a new run starts from; does nothing for a run that has begun.

  Args:
    folder: claimed.
    origin: None lets a new run start anew, and a begun one go on.

  Raises:
    UsageError: a run has begun in the folder, and started from something else.
  """
  if folder.config() is None:
    if origin:
      folder.write_json(_FILE, dataclasses.asdict(origin))
    else:  # It may be there from a start that ended before there was a config.
      (folder.path / _FILE).unlink(missing_ok=True)
  elif origin and origin != origin_of(folder):
    begun = origin_of(folder)
    start = f"started from {begun.workdir}, otherwise than asked for" if begun else "started anew"
    raise UsageError(
      f"the workdir {folder.path} holds a run that {start}; leave --start_from out to go on with "
      "it, or use another --workdir"
    )
