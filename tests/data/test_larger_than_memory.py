"""A dataset four times as large as the memory that a process may take.

The limit is that of a control group, which counts what a process really takes. Neither `ulimit -v`
nor `ulimit -d` does: the first counts mapped files, whose memory the system has back when it needs
it, the second the stacks of a hundred threads, hardly any of which is ever used.
"""

import json
import shutil

import limits
import numpy as np
import processes
import pytest

MEMORY = 640 * 2**20  # bytes; TensorFlow alone takes 360 million, once it is imported
SIDE, NUM_CLASSES = 240, 10
BAR = SIDE // NUM_CLASSES
NUM_TRAIN = 4 * MEMORY // SIDE**2 + 1

IN_GROUP = """
import os, runpy, sys
from pathlib import Path
Path(sys.argv.pop(1), "cgroup.procs").write_text(str(os.getpid()))
"""
PREPARE = """
from mnist_mlp import config, data
options = config.default().data
options.update(files=sys.argv[1], data_dir=sys.argv[2], validation_examples=0)
train = data.load(options).train
rows = train.images[::101, train.images.shape[1] // 2]
bars = rows.argmax(axis=1)[:, 0] * 10 // rows.shape[1]
print(train.images.nbytes, (bars == train.labels[::101]).mean())
"""
TRAIN = """
runpy.run_module("mnist_mlp.main", run_name="__main__")
"""


def run(code, *arguments):
  """Runs code in a process of a control group of its own; returns what it printed."""
  with limits.memory_group(MEMORY) as group:
    done = processes.python(IN_GROUP + code, group, *arguments, timeout=1800)
    assert done.returncode == 0, done.stdout + done.stderr
  return done.stdout


def write(root, split, count):
  """Writes IDX files of images with a bar, whose place tells the class, below some noise.

  The noise is an eighth of an image. So the files of TFDS, which are compressed, are much smaller
  than the arrays, and yet larger than what TensorFlow leaves of the memory.
  """
  labels = np.arange(count, dtype=np.uint8) % NUM_CLASSES
  rng = np.random.default_rng(0)
  with open(root / f"{split}-images-idx3-ubyte", "wb") as file:
    file.write(header(count, SIDE, SIDE))
    for label in labels.tolist():
      image = np.zeros((SIDE, SIDE), np.uint8)
      image[: SIDE // 8] = rng.integers(0, 256, (SIDE // 8, SIDE))
      image[SIDE // 4 :, label * BAR : (label + 1) * BAR] = 255
      file.write(image.tobytes())
  (root / f"{split}-labels-idx1-ubyte").write_bytes(header(count) + labels.tobytes())


def header(*shape):
  return b"".join(number.to_bytes(4, "big") for number in (0x800 + len(shape), *shape))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """Has the files in `mine`; removed in the end, since it is several gigabytes large."""
  made = tmp_path_factory.mktemp("larger")
  (made / "mine").mkdir()
  write(made / "mine", "train", NUM_TRAIN)
  write(made / "mine", "t10k", 2 * NUM_CLASSES)
  yield made
  shutil.rmtree(made)


@pytest.fixture(scope="module")
def prepared(folder):
  """The data folder, and what the process said that prepared it."""
  said = run(PREPARE, folder / "mine", folder / "data")
  return folder / "data", said.splitlines()[-1]


@pytest.mark.slow
def test_four_times_the_memory_is_prepared(prepared):
  size, right = prepared[1].split()
  assert int(size) == NUM_TRAIN * SIDE**2 >= 4 * MEMORY
  assert float(right) == 1


@pytest.mark.slow
def test_four_times_the_memory_is_trained(folder, prepared):
  run(
    TRAIN,
    "--config=configs/adam.py",
    f"--workdir={folder / 'run'}",
    f"--config.data.files={folder / 'mine'}",
    f"--config.data.data_dir={prepared[0]}",
    "--config.data.placement=host",
    "--config.data.validation_examples=100",
    "--config.model.features=8,",
    "--config.batch_size=32",
    "--config.num_epochs=1",
  )
  result = json.loads((folder / "run" / "result.json").read_text())
  assert result["steps"] == (NUM_TRAIN - 100) // 32
  assert result["test"].keys() >= {"loss", "accuracy"}


@pytest.mark.slow
def test_a_process_that_takes_more_than_its_group_has_is_ended():
  """Else the tests above would show nothing."""
  with limits.memory_group(MEMORY) as group:
    done = processes.python(IN_GROUP + "print(len(b'1' * 2**30))", group)
  assert done.returncode == -9
