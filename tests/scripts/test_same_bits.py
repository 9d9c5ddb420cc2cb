"""scripts/same_bits.py: that it sees a difference, and none where there is none."""

import copy
import json
import os
import subprocess
import sys

import processes
import pytest

SCRIPT = processes.ROOT / "scripts" / "same_bits.py"
RECORD = {
  "adam": {"digest": "1", "metrics": "2", "test": {"loss": 0.5}},
  "vmapped sweep": {"000": {"digest": "3", "metrics": "4", "test": None}},
}


def run(*arguments, **variables):
  return subprocess.run(
    [sys.executable, SCRIPT, *arguments],
    env={**os.environ, **variables},
    capture_output=True,
    text=True,
    timeout=300,
  )


def compared(folder, before, after):
  for name, content in (("before", before), ("after", after)):
    (folder / name).write_text(json.dumps(content))
  return run("--compare", folder / "before", folder / "after")


def test_equal_records_are_the_same_bits(tmp_path):
  done = compared(tmp_path, RECORD, copy.deepcopy(RECORD))
  assert done.returncode == 0
  assert done.stdout.splitlines() == ["adam: the same bits", "vmapped sweep: the same bits"]


@pytest.mark.parametrize("change", ["digest", "test", "missing"])
def test_a_difference_is_named(tmp_path, change):
  after = copy.deepcopy(RECORD)
  if change == "digest":
    after["vmapped sweep"]["000"]["digest"] = "9"
  elif change == "test":
    after["adam"]["test"]["loss"] = 0.50001
  else:
    del after["adam"]
  done = compared(tmp_path, RECORD, after)
  assert done.returncode == 1
  assert ("vmapped sweep: DIFFERS" if change == "digest" else "adam: DIFFERS") in done.stdout
  assert done.stdout.count("DIFFERS") == 1


@pytest.mark.slow
def test_two_recordings_of_the_same_code_agree(tmp_path, digits_dir):
  for name in ("first", "second"):
    done = run(
      f"--record={tmp_path / name}", "--only", "sgd", "bfloat16", TFDS_DATA_DIR=str(digits_dir)
    )
    assert done.returncode == 0, done.stdout + done.stderr
  first, second = (json.loads((tmp_path / name).read_text()) for name in ("first", "second"))
  assert first == second and set(first) == {"sgd", "bfloat16"}
  assert first["sgd"]["digest"] != first["bfloat16"]["digest"]
