"""TensorBoard's own readers and its server, on what our writer wrote."""

import io
import os
import subprocess
import sys
import time

import jax.numpy as jnp
import numpy as np
import pytest
import tensorboard_server
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mnist_mlp import config as config_lib
from mnist_mlp.run import tensorboard
from mnist_mlp.run.hparams import hparams_of, setting_id

BATCH = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 1), np.uint8)
PICTURE = np.linspace(0, 1, 5 * 7 * 3).reshape(5, 7, 3)
KERNEL = np.random.default_rng(1).normal(size=(784, 64))


def make_config(seed=0, learning_rate=1e-3):
  config = config_lib.default()
  config.seed = seed
  config.optimizer.learning_rate = learning_rate
  return config


def train(logdir, config, steps, first_step=0, scale=1.0, end="success"):
  """Writes what a training run would; end=None is a process that was killed."""
  writer = tensorboard.create_writer(logdir, first_step=first_step)
  writer.write_hparams(hparams_of(config))
  for step in steps:
    writer.write_scalars(
      step, {"train/loss": jnp.float32(scale * step), "validation/accuracy": jnp.bfloat16(0.5)}
    )
    writer.write_histograms(step, {"kernel": KERNEL}, {"kernel": 20})
    writer.write_images(step, {"batch": BATCH, "picture": PICTURE})
    writer.write_texts(step, {"note": f"**step {step}**"})
  writer.flush()
  if end:
    writer.close()
    tensorboard.write_session_end(logdir, end)


@pytest.fixture(scope="module")
def logdir(tmp_path_factory):
  folder = tmp_path_factory.mktemp("logs")
  train(folder / "seed0", make_config(0), range(0, 50, 10))
  train(folder / "seed1", make_config(1), range(0, 50, 10))
  train(folder / "killed", make_config(0, 0.1), range(0, 50, 10), end=None)
  # Fails at 40, goes on from a checkpoint at 20, ends well and elsewhere.
  train(folder / "resumed", make_config(0, 0.01), range(0, 50, 10), end="failure")
  train(folder / "resumed", make_config(0, 0.01), range(20, 40, 10), first_step=20, scale=2.0)
  train(folder / "failed", make_config(0, 0.5), range(0, 50, 10), end="failure")
  return folder


RUNS = ("seed0", "seed1", "killed", "resumed", "failed")


@pytest.fixture(scope="module")
def server(logdir):
  with tensorboard_server.serve(logdir, RUNS) as board:
    yield board


def test_scalars(server):
  expected = [(step, step) for step in range(0, 50, 10)]
  assert server.scalars("seed0", "train/loss") == expected
  assert server.scalars("killed", "train/loss") == expected
  assert server.scalars("seed0", "validation/accuracy")[0] == (0, 0.5)


def test_images(server):
  for sample in range(3):
    step, png = server.image("seed0", "batch", sample=sample)
    assert step == 40
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png))), BATCH[sample, :, :, 0])
  _, png = server.image("seed0", "picture", index=0)
  np.testing.assert_allclose(np.asarray(Image.open(io.BytesIO(png))), PICTURE * 255, atol=0.51)


def test_histograms(server):
  (step, buckets), *_ = server.histograms("seed0", "kernel")
  counts, edges = np.histogram(KERNEL, 20)
  assert step == 0
  np.testing.assert_array_equal(np.asarray(buckets)[:, 2], counts)
  np.testing.assert_allclose(np.asarray(buckets)[:, 0], edges[:-1])
  np.testing.assert_allclose(np.asarray(buckets)[:, 1], edges[1:])


def test_texts_are_markdown(server):
  assert server.texts("seed0", "note")[1] == (10, "<p><strong>step 10</strong></p>")


def test_hparams_keep_their_types(server):
  infos = {info["name"]: info for info in server.experiment()["hparamInfos"]}
  assert infos.keys() == hparams_of(config_lib.default()).keys()
  types = {
    name: infos[name]["type"]
    for name in (
      "optimizer.learning_rate",
      "batch_size",
      "ema.evaluate",
      "model.features.1",
      "data.name",
    )
  }
  assert types == {
    "optimizer.learning_rate": "DATA_TYPE_FLOAT64",
    "batch_size": "DATA_TYPE_FLOAT64",
    "ema.evaluate": "DATA_TYPE_BOOL",
    "model.features.1": "DATA_TYPE_FLOAT64",
    "data.name": "DATA_TYPE_STRING",
  }
  interval = infos["optimizer.learning_rate"]["domainInterval"]
  assert interval == {"minValue": 0.001, "maxValue": 0.5}


def test_session_groups(server):
  groups = {group["name"]: group for group in server.session_groups()}
  sessions = {
    session["name"]: session for group in groups.values() for session in group["sessions"]
  }
  assert {name: session["status"] for name, session in sessions.items()} == {
    "seed0": "STATUS_SUCCESS",
    "seed1": "STATUS_SUCCESS",
    "killed": "STATUS_UNKNOWN",
    "resumed": "STATUS_SUCCESS",
    "failed": "STATUS_FAILURE",
  }
  seeds = groups[setting_id(make_config())]
  assert {session["name"] for session in seeds["sessions"]} == {"seed0", "seed1"}
  assert len(groups) == 4
  assert seeds["hparams"]["optimizer.learning_rate"] == 0.001
  assert seeds["hparams"]["ema.evaluate"] is True
  assert seeds["hparams"]["model.features.length"] == 2
  metrics = {row["name"]["tag"]: row for row in sessions["resumed"]["metricValues"]}
  assert metrics["train/loss"]["value"] == 60
  assert metrics["train/loss"]["trainingStep"] == 30


RESUMED = [(0, 0), (10, 10), (20, 40), (30, 60)]


def test_resumed_run_shows_each_step_once(server, logdir):
  assert server.scalars("resumed", "train/loss") == RESUMED
  assert [step for step, _ in server.histograms("resumed", "kernel")] == [0, 10, 20, 30]
  accumulator = EventAccumulator(str(logdir / "resumed"))
  accumulator.Reload()
  assert [(e.step, e.value) for e in accumulator.Scalars("train/loss")] == RESUMED


def test_data_server_reads_the_same(logdir):
  with tensorboard_server.serve(logdir, RUNS, load_fast=True) as board:
    deadline = time.monotonic() + 20
    while (statuses := _statuses(board)).get("resumed") != "STATUS_SUCCESS":
      assert time.monotonic() < deadline, statuses
      time.sleep(0.2)
    scalars = board.scalars("resumed", "train/loss")
    assert scalars == RESUMED
    assert board.texts("seed1", "note")[0] == (0, "<p><strong>step 0</strong></p>")


def _statuses(board):
  return {
    session["name"]: session["status"]
    for group in board.session_groups()
    for session in group["sessions"]
  }


def test_restart_before_any_checkpoint_shows_only_the_second_try(tmp_path):
  train(tmp_path, make_config(), range(3), end=None)
  train(tmp_path, make_config(), range(2), scale=5.0)
  accumulator = EventAccumulator(str(tmp_path))
  accumulator.Reload()
  assert [(e.step, e.value) for e in accumulator.Scalars("train/loss")] == [(0, 0), (1, 5)]


def test_a_clock_that_was_set_back_hides_nothing(tmp_path, monkeypatch):
  """TensorBoard, which watches a run, never goes back to a file that sorts before the last one."""
  train(tmp_path, make_config(), range(0, 50, 10), end=None)
  watching = EventAccumulator(str(tmp_path))
  watching.Reload()
  now = time.time
  monkeypatch.setattr(time, "time", lambda: now() - 100_000)
  train(tmp_path, make_config(), range(30, 70, 10), first_step=30)
  found = watching.Reload().Scalars("train/loss")
  assert [event.step for event in found] == list(range(0, 70, 10))
  times = [event.wall_time for event in found]
  assert times == sorted(times)


def test_each_write_reaches_the_file_at_once(tmp_path):
  writer = tensorboard.SummaryWriter(tmp_path)
  writer.write_scalars(3, {"x": 1.0})
  accumulator = EventAccumulator(str(tmp_path))
  accumulator.Reload()
  assert [event.step for event in accumulator.Scalars("x")] == [3]
  writer.close()


def test_event_files_are_never_overwritten(tmp_path):
  for _ in range(3):
    tensorboard.SummaryWriter(tmp_path).close()
  assert len(list(tmp_path.iterdir())) == 3


def test_unknown_status(tmp_path):
  with pytest.raises(ValueError, match=r"'done'.*success, failure"):
    tensorboard.write_session_end(tmp_path, "done")
  assert not list(tmp_path.iterdir())


def test_background_errors_surface(tmp_path):
  writer = tensorboard.create_writer(tmp_path)
  writer.write_images(0, {"bad": np.zeros((2, 28, 28))})
  with pytest.raises(Exception, match=r"image 'bad' has shape \(1, 2, 28, 28\)"):
    writer.close()


def test_what_is_flushed_outlives_a_loss_of_power(tmp_path, monkeypatch):
  fsync, asked = os.fsync, []

  def noted(descriptor):
    asked.append((os.fstat(descriptor).st_ino, os.fstat(descriptor).st_size))
    fsync(descriptor)

  monkeypatch.setattr(os, "fsync", noted)
  writer = tensorboard.create_writer(tmp_path)
  for act in (writer.flush, writer.close):
    writer.write_scalars(1, {"a": 1.0})
    asked.clear()
    act()
    (path,) = tmp_path.iterdir()
    content = path.stat().st_ino, path.stat().st_size
    assert content in asked and tmp_path.stat().st_ino in [inode for inode, _ in asked]


def test_unsupported_kinds(tmp_path):
  writer = tensorboard.SummaryWriter(tmp_path)
  with pytest.raises(NotImplementedError):
    writer.write_videos(0, {})


def test_histograms_of_a_diverged_run(tmp_path):
  writer = tensorboard.create_writer(tmp_path)
  writer.write_histograms(
    0,
    {
      "some": np.array([0.0, 1.0, np.nan, np.inf]),
      "none": np.full(3, np.nan),
      "bfloat16": jnp.ones(4, jnp.bfloat16),
    },
  )
  writer.close()
  accumulator = EventAccumulator(str(tmp_path))
  accumulator.Reload()
  for tag, count in (("some", 2), ("none", 0), ("bfloat16", 4)):
    tensor = accumulator.Tensors(tag)[0].tensor_proto
    table = np.frombuffer(tensor.tensor_content).reshape(-1, 3)
    assert table[:, 2].sum() == count
    assert np.isfinite(table).all()


PROGRAM = """
import sys
from mnist_mlp.run import tensorboard
from clu import metric_writers, periodic_actions

writer = tensorboard.create_writer(sys.argv[1])
writer.write_hparams({"a": 1})
writer.write_scalars(1, {"x": 2.0})
periodic_actions.ReportProgress(num_train_steps=1, writer=writer)
writer.close()
tensorboard.write_session_end(sys.argv[1], "success")
other = metric_writers.create_default_writer(sys.argv[1] + "/other")
metric_writers.write_values(other, 3, {"x": 5.0})
other.close()
for writer in (other._writers[-1]._writer, writer._writers[-1]._writer):
  assert type(writer) is metric_writers.SummaryWriter is tensorboard.SummaryWriter
  assert isinstance(writer, metric_writers.MetricWriter)
assert not [name for name in sys.modules if name.partition(".")[0] == "tensorflow"]
"""

WITHOUT_TENSORFLOW = """
import sys
class Missing:
  def find_spec(self, name, path=None, target=None):
    if name.partition(".")[0] == "tensorflow":
      raise ImportError(f"No module named {name!r}")
sys.meta_path.insert(0, Missing())
"""


@pytest.mark.parametrize("prelude", ["", WITHOUT_TENSORFLOW], ids=["installed", "missing"])
def test_never_imports_tensorflow(prelude, tmp_path):
  process = subprocess.run(
    [sys.executable, "-c", prelude + PROGRAM, str(tmp_path)],
    capture_output=True,
    text=True,
    check=False,
  )
  assert process.returncode == 0, process.stderr
  assert "x=2" not in process.stdout + process.stderr
  for folder, point in ((tmp_path, (1, 2.0)), (tmp_path / "other", (3, 5.0))):
    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    assert [(e.step, e.value) for e in accumulator.Scalars("x")] == [point]
