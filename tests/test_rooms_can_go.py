"""A fork can delete `sweeps/` or `inference/` with its command, configs and tests."""

import os
import shutil
import subprocess
import sys

import processes
import pytest

# What goes with a room.
DELETED = {
  "sweeps": [
    "mnist_mlp/sweeps",
    "mnist_mlp/sweep.py",
    "configs/sweep_*.py",
    "tests/sweeps",
    "tests/faults/test_*_sweeps.py",
  ],
  "inference": [
    "mnist_mlp/inference",
    "mnist_mlp/predict.py",
    "mnist_mlp/evaluate.py",
    "mnist_mlp/export.py",
    "mnist_mlp/demo.py",
    "tests/inference",
    "tests/faults/test_damaged_weights.py",
  ],
}
# These are about the project as it is, with its pages, scripts and figures.
ABOUT_THE_WHOLE = ["tests/docs", "tests/scripts", "tests/test_rooms_can_go.py"]
# These rooms may import neither: test_architecture.py sees to that, so their tests need not run.
BELOW = ["tests/core", "tests/data"]


@pytest.mark.slow
@pytest.mark.parametrize("room", DELETED)
def test_the_rest_works_without_a_room(room, tmp_path):
  for name in ("mnist_mlp", "configs", "docs", "results", "tests", "scripts", "pyproject.toml"):
    source = processes.ROOT / name
    copy = shutil.copytree if source.is_dir() else shutil.copy
    copy(source, tmp_path / name)
  for pattern in [*DELETED[room], *ABOUT_THE_WHOLE, *BELOW]:
    paths = list(tmp_path.glob(pattern))
    assert paths, f"there is no {pattern}"
    for path in paths:
      shutil.rmtree(path) if path.is_dir() else path.unlink()
  environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
  done = subprocess.run(
    [sys.executable, "-m", "pytest", "-q", "-n", "2"],
    cwd=tmp_path,
    env={**environment, "PYTHONPATH": str(tmp_path)},
    capture_output=True,
    text=True,
    timeout=1500,
  )
  assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
