"""Where checkpoints can be kept, and what is said if they cannot."""

import contextlib
import os
import shutil
import subprocess
import sys

import pytest
import small
from checkpointing import TREE, fill, kept, tree_of

from mnist_mlp.errors import RunError
from mnist_mlp.run import checkpoint
from mnist_mlp.run.checkpoint import Checkpoints
from mnist_mlp.run.literal import plain_name

FULL_DISK = """
import resource, sys
import numpy as np
from mnist_mlp.run.checkpoint import Checkpoints
from mnist_mlp.errors import RunError

def attempt(action):
  try:
    action()
  except RunError as error:
    print(error)

resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))  # Stands for a full disk.
large, small = {"a": np.random.rand(500_000)}, {"a": np.ones(3)}
with Checkpoints(sys.argv[1]) as checkpoints:
  checkpoints.save(1, small, {})
  checkpoints.save(2, large, {})
  attempt(checkpoints.wait)
checkpoints = Checkpoints(sys.argv[1])
checkpoints.save(3, large, {})
attempt(lambda: checkpoints.__exit__(None, None, None))
with Checkpoints(sys.argv[1]) as checkpoints:
  print(checkpoints.steps(), checkpoints.restore_latest(small)[0])
"""


def test_a_failed_save_is_a_clear_error_and_leaves_the_earlier_ones(tmp_path):
  output = subprocess.run(
    [sys.executable, "-c", FULL_DISK, str(tmp_path / "c")],
    check=True,
    capture_output=True,
    text=True,
    timeout=120,
  ).stdout.splitlines()
  assert len(output) == 3
  for line in output[:2]:
    assert line.startswith(f"cannot save a checkpoint in {tmp_path / 'c'}: ")
    assert "File too large" in line
  assert output[2] == "[1] 1"


@pytest.mark.parametrize(
  "name", [r"back\slash", "[0-9]*", "a**b", "what?", "no text \udcff", "line\nbreak", "ä 中 #%"]
)
def test_every_path_is_taken_literally(tmp_path, name):
  """Orbax looks for files with patterns in which the path of the folder stands."""
  folder = tmp_path / name / "c"
  fill(tmp_path / "back" / "slash" / "c", [(1, 0.1)])  # What others might take the path for.
  fill(tmp_path / "3 things" / "c", [(1, 0.1)])
  fill(folder, [(1, 0.5), (2, 0.4), (3, 0.3), (4, 0.2)])
  with Checkpoints(folder) as checkpoints:
    step, tree = checkpoints.restore_latest(TREE)
    assert (step, checkpoints.steps(), checkpoints.best()["step"]) == (4, [1, 3, 4], 1)
  assert small.differing(tree, tree_of(4)) == []
  assert checkpoint.read(folder, TREE, best=True)[0] == 1
  assert kept(folder) == [1, 3, 4]
  assert sorted(tmp_path.iterdir()) == sorted(
    {tmp_path / "back", tmp_path / "3 things", tmp_path / name}
  )


def test_a_name_that_is_not_utf_8_on_disk_is_replaced(tmp_path, monkeypatch):
  """In a locale of Latin-1, an ä is another byte on disk than where TensorStore looks for it."""
  folder = tmp_path / "ä"
  folder.mkdir()
  with plain_name(folder) as name:
    assert name == folder
  monkeypatch.setattr(os, "fsencode", lambda path: str(path).encode("latin-1"))
  with plain_name(folder) as name:
    assert name != folder and name.samefile(folder)


def test_a_save_that_cannot_be_read_back_is_noticed_at_once(tmp_path, monkeypatch):
  """Whatever the reason. Here a patterned path is not replaced by a plain name."""
  monkeypatch.setattr(checkpoint, "plain_name", contextlib.nullcontext)
  with (
    pytest.raises(RunError, match=r"what was just saved cannot be read back: .*c/1 is damaged"),
    Checkpoints(tmp_path / "[a]" / "c") as checkpoints,
  ):
    checkpoints.save(1, TREE, {})
    checkpoints.save(2, TREE, {})
    pytest.fail("the second save was begun")


def test_a_folder_that_cannot_be_made_is_an_error_at_once(tmp_path):
  with (
    pytest.raises(RunError, match=r"cannot save a checkpoint in .*Not a directory"),
    Checkpoints(tmp_path / "c") as checkpoints,
  ):
    checkpoints.save(1, TREE, {})
    checkpoints.wait()
    shutil.rmtree(tmp_path / "c")
    (tmp_path / "c").write_text("no folder")
    checkpoints.save(3, TREE, {})
    checkpoints.wait()
