"""The folder of a run: whose it is, what it holds, and who may write to it.

config.json       the config, as given
dataset.json      what the run is trained on
origin.json       the run that it started from, if there is one
environment.json  versions and devices of the last start
checkpoints/      Orbax
damaged/          checkpoints that could not be read
events.out.*      TensorBoard
metrics.jsonl     one line for each evaluation
result.json       written last; where there is one, the run is finished
"""

import contextlib
import errno
import fcntl
import functools
import itertools
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from mnist_mlp import config as config_lib
from mnist_mlp.config import PLACES
from mnist_mlp.errors import HeldError, RunError, UsageError, listing
from mnist_mlp.paths import expand
from mnist_mlp.run import durable
from mnist_mlp.run.config_json import from_json
from mnist_mlp.run.history import History, finite

_SHOWN = 3  # runs that a message names as an example
_LISTED = 5  # runs of which a message lets choose
# What is read of a JSON file, by its dotted name.
_REQUIRED: dict[str, dict[str, type]] = {
  "dataset.json": {"name": str, "fingerprint": str},
  "environment.json": {"packages": dict},
  "origin.json": {"workdir": str, "more_epochs": float, "best": bool},
  "result.json": {"steps": int, "dataset.name": str, "test.error_percent": float},
  "stopped.json": {"status": str, "step": int},
  "members.json": {"members": list},
}


@contextlib.contextmanager
def chosen(path: str | None, name: str) -> Iterator[Path]:
  """Yields the folder that --workdir names, by default a new one: runs/<name>-<time>.

  A new folder that is still empty at the end is removed again.

  Raises:
    UsageError: the path is empty, or names an unknown home folder.
    RunError: the new folder cannot be made.
  """
  if path == "":
    raise UsageError("--workdir is empty; name a folder, or leave it out for a new one")
  if path is not None:
    yield expand(path)
    return
  folder = _new_folder(Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}")
  try:
    yield folder
  finally:
    with contextlib.suppress(OSError):
      folder.rmdir()


def _new_folder(path: Path) -> Path:
  """Makes the folder, or PATH-2, PATH-3, ... if others start within the same second."""
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
      folder = path.with_name(f"{path.name}-{number}") if number > 1 else path
      with contextlib.suppress(FileExistsError):
        folder.mkdir()
        break
  except OSError as error:
    raise RunError(
      f"cannot make a folder in {path.parent}: {error.strerror}; give a --workdir elsewhere"
    ) from error
  return folder


class Workdir:
  """The folder of one run. `claim` it to write; reading needs no claim."""

  def __init__(self, path: str | os.PathLike, *, writes: bool = True):
    """Names the folder, without touching it.

    Args:
      path: the folder.
      writes: whether this process writes the files. Of several that train one run, one does.
    """
    self.path = expand(path)
    self._writes = writes
    self.history = History(self.path / "metrics.jsonl", writes)
    self._made = False  # whether this process made the folder

  @contextlib.contextmanager
  def claim(self, config: ConfigDict) -> Iterator["Workdir"]:
    """Makes the folder and holds it for this process, which trains `config` in it.

    If nothing was written by the end, a folder that this process made is removed again. A process
    that writes nothing holds nothing: the one that writes does.

    Raises:
      UsageError: the folder holds a run of another config, or is a folder of runs.
      RunError: another process holds the folder, or it cannot be written.
    """
    self.check_config(config)
    if not self._writes:
      yield self
      return
    with self.lock():
      self.check_config(config)  # Another process may have written one before the lock.
      durable.remove_leftovers(self.path)
      try:
        yield self
      finally:
        self._remove_if_unused()

  def keep_config(self, config: ConfigDict) -> None:
    """Writes config.json. From now on the folder is that of this config."""
    self.write_text("config.json", config_lib.to_json(config))

  def _remove_if_unused(self) -> None:
    if [path.name for path in self.path.iterdir()] == [".lock"]:
      (self.path / ".lock").unlink()
      if self._made:
        self.path.rmdir()

  def check_config(self, config: ConfigDict) -> None:
    """Raises a UsageError if the folder holds a run of another config, or several runs."""
    held = self.config()
    if held is None:
      self._check_not_of_runs()
      return
    changes = changes_of_run(held, config)
    if changes:
      raise UsageError(
        f"the workdir {self.path} holds a run of another config ({changes}); "
        "use another --workdir, or the same config"
      )

  def _check_not_of_runs(self) -> None:
    if _runs_in(self.path / "members"):
      raise UsageError(f"{self.path} is the folder of a sweep; give a --workdir of its own")
    runs = _runs_in(self.path)
    if runs:
      raise UsageError(
        f"{self.path} is a folder of runs, such as {listing(runs)}, and not itself a run; give a "
        f"--workdir of its own, for example {self.path / 'NAME'}"
      )

  def config(self) -> ConfigDict | None:
    """Returns the config of the run in this folder, if there is one."""
    path = self.path / "config.json"
    try:
      text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
      return None
    except (OSError, UnicodeDecodeError) as error:
      raise RunError(f"cannot read {path}: {error}") from error
    try:
      return from_json(text)
    except UsageError as error:
      raise UsageError(f"{path}: {error}; use another --workdir") from error

  def run_config(self) -> ConfigDict:
    """Returns the config of the run in this folder; raises a UsageError if there is no run."""
    config = self.config()
    if config is None:
      raise UsageError(_no_run(self.path))
    return config

  def result(self) -> dict[str, Any] | None:
    """Returns result.json if the run is finished, else None."""
    return self.read_json("result.json")

  def read_json(self, name: str) -> dict[str, Any] | None:
    """Returns the object in a JSON file of the folder; None if it is not there.

    Raises:
      RunError: the file is not valid JSON, or not what the program writes there.
    """
    path = self.path / name
    try:
      value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
      return None
    except (OSError, ValueError, RecursionError) as error:
      raise RunError(f"{path} cannot be read: {error}; move it away to go on") from error
    _check_content(path, value)
    return value

  def write_json(self, name: str, value: Any) -> None:
    """Writes a JSON file, all of it or nothing. Numbers that are not finite become null."""
    self.write_text(name, json.dumps(finite(value), indent=2, allow_nan=False) + "\n")

  def metrics(self) -> list[dict[str, Any]]:
    """Returns the rows of metrics.jsonl, but for what a crash cut short."""
    return self.history.read()

  def write_text(self, name: str, text: str) -> None:
    """Writes a text file, all of it or nothing; it is on the disk then."""
    try:
      if self._writes:
        durable.write(self.path / name, text.encode())
    except OSError as error:
      raise RunError(f"cannot write {self.path / name}: {error.strerror}") from error

  @contextlib.contextmanager
  def lock(self) -> Iterator[None]:
    """Makes the folder and holds it for this process.

    Raises:
      HeldError: another process holds the folder.
      RunError: the folder cannot be written.
    """
    try:
      self._made = not os.path.isdir(self.path)
      self.path.mkdir(parents=True, exist_ok=True)
      descriptor = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    except OSError as error:
      raise RunError(
        f"cannot write to the workdir {self.path}: {os.strerror(error.errno or errno.EIO)}; "
        "give another --workdir"
      ) from error
    try:
      self._hold(descriptor)
      yield
    finally:
      os.close(descriptor)

  def _hold(self, descriptor: int) -> None:
    try:
      fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
      raise HeldError(
        f"the workdir {self.path} is in use by another process; wait for it, or give another "
        "--workdir"
      ) from error
    except OSError as error:  # ENOLCK, ENOSYS, EOPNOTSUPP: some file systems know no locks.
      _warn_of_no_locks(error.strerror)


@functools.cache  # Said once.
def _warn_of_no_locks(reason: str) -> None:
  print(
    f"warning: the file system cannot lock the workdir ({reason}), so nothing keeps two processes "
    "from training in it at the same time",
    file=sys.stderr,
  )


def changes_of_run(held: ConfigDict, config: ConfigDict) -> str:
  """Returns 'config.seed: 0 -> 1, ...' for what makes a config another run's, else ''."""
  # What the data are counts, and dataset.json says it.
  moved = held.copy_and_resolve_references()
  moved.data.update({name: config.data[name] for name in (*PLACES, "placement")})
  return config_lib.differences(moved, config)


def logdir_of(run: Path) -> Path:
  """Returns the folder in which TensorBoard shows all of a run.

  Given the folder of a single run, TensorBoard leaves its results out of the table of
  hyperparameters. So it is the folder above, if that holds nothing but runs and sweeps.
  """
  parts = ("config.json", "members")
  with contextlib.suppress(OSError), os.scandir(run.parent) as entries:
    shown = (entry.path for entry in entries if not entry.name.startswith("."))
    if all(any(os.path.exists(os.path.join(path, part)) for part in parts) for path in shown):
      return run.parent
  return run


def _runs_in(folder: Path) -> list[str]:
  """Returns the paths of some runs that lie in a folder."""
  if not os.path.isdir(folder):
    return []
  with os.scandir(folder) as entries:
    paths = (Path(entry.path) for entry in entries)
    runs = (
      str(path)
      for path in paths
      if os.path.isfile(path / "config.json") and os.path.isfile(path / "dataset.json")
    )
    return sorted(itertools.islice(runs, _SHOWN))


def _no_run(path: Path) -> str:
  if not os.path.isdir(path):
    return f"the workdir {path} does not exist; give the --workdir of a run"
  # The runs of a sweep lie two folders deep.
  files = [*path.glob("*/config.json"), *path.glob("*/*/config.json")]
  runs = sorted(str(file.parent) for file in files)
  hint = f"; there are {listing(runs[:_LISTED])}" if runs else ""
  return f"the workdir {path} holds no run: it has no config.json{hint}"


def _check_content(path: Path, value: Any) -> None:
  """Raises a RunError unless a JSON file's value is an object that holds what is read of it."""
  for name, kind in _REQUIRED.get(path.name, {}).items():
    found = value
    for key in name.split("."):
      found = found.get(key) if isinstance(found, dict) else None
    if not isinstance(found, (int, float) if kind is float else kind):
      raise RunError(f"{path} is damaged: it has no {name!r}; move it away to go on")
