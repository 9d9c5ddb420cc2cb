"""The folder of a run: whose it is, what it holds, and who may write to it.

config.json       the config, as given
dataset.json      what the run is trained on
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
import itertools
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from mnist_mlp import config as config_lib
from mnist_mlp.errors import HeldError, RunError, UsageError


@contextlib.contextmanager
def chosen(path: str | None, name: str) -> Iterator[Path]:
  """Yields the folder that --workdir names, by default a new one: runs/<name>-<time>.

  A new folder that is still empty at the end is removed again.

  Raises:
    UsageError: the path is empty.
    RunError: the new folder cannot be made.
  """
  if path == "":
    raise UsageError("--workdir is empty; name a folder, or leave it out for a new one")
  if path is not None:
    yield Path(path)
    return
  folder = _new_folder(Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}")
  try:
    yield folder
  finally:
    with contextlib.suppress(OSError):
      folder.rmdir()


def _new_folder(path: Path) -> Path:
  """Makes the folder, or PATH-2, PATH-3, ... if others start within the same second."""
  for number in itertools.count(1):
    folder = path.with_name(f"{path.name}-{number}") if number > 1 else path
    try:
      folder.mkdir(parents=True)
      break
    except FileExistsError:
      continue
    except OSError as error:
      raise RunError(
        f"cannot make the folder {folder}: {error.strerror}; give a --workdir elsewhere"
      ) from error
  return folder


class Workdir:
  """The folder of one run. `claim` it to write; reading needs no claim."""

  def __init__(self, path: str | os.PathLike):
    """Names the folder, without touching it."""
    self.path = Path(path)
    self._made = False  # whether this process made the folder

  @contextlib.contextmanager
  def claim(self, config: ConfigDict) -> Iterator["Workdir"]:
    """Makes the folder and holds it for this process, which trains `config` in it.

    If nothing was written by the end, a folder that this process made is removed again.

    Raises:
      UsageError: the folder holds a run of another config.
      RunError: another process holds the folder, or it cannot be written.
    """
    self.check_config(config)
    with self.lock():
      self.check_config(config)  # Another process may have written one before the lock.
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
    """Raises a UsageError that shows the difference if the folder holds another config."""
    held = self.config()
    if held is None:
      return
    changes = config_lib.differences(held, config)
    if changes:
      raise UsageError(
        f"the workdir {self.path} holds a run of another config ({changes}); "
        "use another --workdir, or the same config"
      )

  def config(self) -> ConfigDict | None:
    """Returns the config of the run in this folder, if there is one."""
    path = self.path / "config.json"
    try:
      text = path.read_text()
    except (FileNotFoundError, NotADirectoryError):
      return None
    except (OSError, UnicodeDecodeError) as error:
      raise RunError(f"cannot read {path}: {error}") from error
    try:
      return config_lib.from_json(text)
    except UsageError as error:
      raise UsageError(f"{path}: {error}; use another --workdir") from error

  def result(self) -> dict[str, Any] | None:
    """Returns result.json if the run is finished, else None."""
    return self.read_json("result.json")

  def read_json(self, name: str) -> dict[str, Any] | None:
    """Returns the content of a JSON file of the folder; None if it is not there.

    Raises:
      RunError: the file is not valid JSON.
    """
    path = self.path / name
    try:
      return json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
      return None
    except (OSError, ValueError) as error:
      raise RunError(f"{path} cannot be read: {error}; move it away to go on") from error

  def write_json(self, name: str, value: Any) -> None:
    """Writes a JSON file, all of it or nothing."""
    self.write_text(name, json.dumps(value, indent=2) + "\n")

  def write_text(self, name: str, text: str) -> None:
    """Writes a text file, all of it or nothing."""
    temporary = self.path / f".{name}.tmp"
    try:
      temporary.write_text(text)
      temporary.replace(self.path / name)
    except OSError as error:
      raise RunError(f"cannot write {self.path / name}: {error.strerror}") from error

  def append_metrics(self, row: dict[str, Any]) -> None:
    """Adds a line to metrics.jsonl."""
    path = self.path / "metrics.jsonl"
    try:
      with path.open("a") as file:
        file.write(json.dumps(row) + "\n")
    except OSError as error:
      raise RunError(f"cannot write {path}: {error.strerror}") from error

  def metrics(self) -> list[dict[str, Any]]:
    """Returns the rows of metrics.jsonl, but for a last line that a crash cut short."""
    rows = []
    with contextlib.suppress(FileNotFoundError, ValueError):
      for line in (self.path / "metrics.jsonl").read_bytes().splitlines():
        rows.append(json.loads(line))
    return rows

  def truncate_metrics(self, step: int) -> None:
    """Drops the rows after `step`, from which the run goes on."""
    rows = [row for row in self.metrics() if row["step"] <= step]
    self.write_text("metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))

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
      file = (self.path / ".lock").open("a")
    except OSError as error:
      raise RunError(
        f"cannot write to the workdir {self.path}: {os.strerror(error.errno or errno.EIO)}; "
        "give another --workdir"
      ) from error
    with file:
      try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
      except OSError as error:
        raise HeldError(
          f"the workdir {self.path} is in use by another process; wait for it, or give another "
          "--workdir"
        ) from error
      yield
