"""A loss of power, simulated: only what was flushed is left; the run goes on to the same end."""

import os
import threading
from pathlib import Path

import pytest
from lost_runs import config_of, outcome, same
from tensorboard.backend.event_processing import event_accumulator

from mnist_mlp.train import train_and_evaluate

pytestmark = pytest.mark.slow

SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.97)


class Disk:
  """What is on the disk: the content of each file, and the names in each folder, when flushed.

  Whatever was not flushed is lost. Real disks lose less.
  """

  def __init__(self):
    self.content, self.entries, self._open = {}, {}, []
    self.states = []  # (content, entries) after every flush
    self._lock = threading.Lock()

  def fsync(self, descriptor):
    with self._lock:
      self._flush(descriptor)

  def _flush(self, descriptor):
    self._open.append(os.dup(descriptor))  # Else the number of a deleted file were used again.
    number, path = os.fstat(descriptor).st_ino, Path(f"/proc/self/fd/{descriptor}").resolve()
    if path.is_dir():
      found = {entry.name: (entry.inode(), entry.is_dir()) for entry in os.scandir(path)}
      self.entries = {**self.entries, number: found}
    elif path.exists():
      self.content = {**self.content, number: path.read_bytes()}
    self.states.append((self.content, self.entries))

  def close(self):
    for descriptor in self._open:
      os.close(descriptor)


def restore(state, number, target):
  """Makes the folder that has this number in a state of the disk."""
  content, entries = state
  target.mkdir()
  for name, (inner, is_folder) in entries.get(number, {}).items():
    if is_folder:
      restore(state, inner, target / name)
    else:  # Perhaps only the name was flushed.
      (target / name).write_bytes(content.get(inner, b""))


@pytest.fixture(scope="module")
def disk(tmp_path_factory, digits_dir):
  """What was on the disk in the course of a run; the run's folder; and its number there."""
  workdir, disk = tmp_path_factory.mktemp("power") / "run", Disk()
  with pytest.MonkeyPatch.context() as patched:
    patched.setattr(os, "fsync", disk.fsync)
    train_and_evaluate(config_of(digits_dir), workdir)
  yield disk, workdir
  disk.close()


def shown(workdir):
  """Returns the steps of the evaluations that TensorBoard shows."""
  events = event_accumulator.EventAccumulator(str(workdir)).Reload()
  return [event.step for event in events.Scalars("validation/accuracy")]


@pytest.mark.parametrize("share", SHARES)
def test_a_run_whose_power_was_cut_comes_to_the_same_end(disk, digits_dir, tmp_path, share, count):
  states, workdir = disk[0].states, disk[1]
  state = states[round(share * (len(states) - 1))]
  restore(state, workdir.stat().st_ino, tmp_path / "run")
  assert outcome(config_of(digits_dir), tmp_path / "run") == ""
  assert same(tmp_path / "run", workdir)
  assert shown(tmp_path / "run") == shown(workdir) == [6, 12, 18, 24]
  count("losses of power", 1)


def test_nothing_of_a_finished_run_is_lost(disk, digits_dir, tmp_path):
  state, workdir = disk[0].states[-1], disk[1]
  restore(state, workdir.stat().st_ino, tmp_path / "run")
  assert (tmp_path / "run" / "result.json").read_bytes() == (workdir / "result.json").read_bytes()
  assert same(tmp_path / "run", workdir)
  assert shown(tmp_path / "run") == shown(workdir)
