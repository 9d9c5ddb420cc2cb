"""Runs of the command `mnist_mlp.main` on real digits, and what is read of their folders."""

import json
import time

# Some seconds of training and saving, in steps of about a millisecond, on real data.
LONG = (
  "--config=configs/adam.py",
  "--config.data.name=digits",
  "--config.batch_size=100",
  "--config.data.validation_examples=100",
  "--config.model.features=(256,128)",
  "--config.num_epochs=40",
  "--config.eval_every_epochs=4",
  "--config.checkpoint_every_steps=35",
  "--config.ema.decay=0.99",
  "--config.augment.rotation=5.0",
)
SHORT = (
  "--config=configs/adam.py",
  "--config.data.name=digits",
  "--config.data.validation_examples=100",
  "--config.model.features=(32,)",
  "--config.num_epochs=3",
)


def last_digest(workdir):
  """Returns the last step saved, and the digest over parameters, optimizer state and all."""
  folder = max((workdir / "checkpoints").iterdir(), key=lambda path: int(path.name))
  about = json.loads((folder / "about" / "metadata").read_text())
  return folder.name, about["digest"]


def read_result(workdir):
  """Returns result.json."""
  return json.loads((workdir / "result.json").read_text())


def wait_for_rows(process, workdir, count):
  """Returns once a run has evaluated so many times."""
  deadline = time.monotonic() + 90
  metrics = workdir / "metrics.jsonl"
  while time.monotonic() < deadline:
    assert process.poll() is None, "the run ended before it could be interrupted"
    if metrics.exists() and metrics.read_text().count("\n") >= count:
      return
    time.sleep(0.02)
  raise AssertionError(f"no {count} rows in time")
