"""Data on the device and data on the host: the same order, the same steps, the same bits."""

import dataclasses
import json
import os
import sys

import jax
import numpy as np
import processes
import pytest
import small
from ml_collections import FrozenConfigDict
from training_runs import last_digest

from mnist_mlp import config, train
from mnist_mlp.core import steps
from mnist_mlp.core.metrics import TrainMetrics
from mnist_mlp.core.sharding import create_mesh
from mnist_mlp.core.state import snapshot
from mnist_mlp.data import stream
from mnist_mlp.run import memory, placement
from mnist_mlp.run.loop import Timetable
from mnist_mlp.run.run import check_sizes

EVERYTHING = dict(
  augment__elastic_alpha=2.0,
  augment__elastic_sigma=2.0,
  augment__clean_steps=3,
  model__dropout=0.3,
  model__input_dropout=0.1,
  loss__label_smoothing=0.1,
  optimizer__name="adamw",
  schedule__name="cosine",
  ema__decay=0.9,
)
STEPS = 15  # two epochs and a half


def on_host(c, timetable):
  layout = placement.Layout(create_mesh(), "data")
  return placement.OnHost(FrozenConfigDict(c), small.dataset(), timetable, layout, c.seed)


def timetable_of(c, block):
  timetable = Timetable.of(c, check_sizes(c, small.dataset()))
  return dataclasses.replace(timetable, block=block)


def streamed(c, carry, block, first=0, limit=100):
  """Takes the steps from `first` on, in chunks as the loop takes them."""
  timetable = timetable_of(c, block)
  host, step, chunks = on_host(c, timetable), first, []
  while step < timetable.total_steps:
    length = timetable.next_chunk(step, limit)
    carry = host.train_chunk(*carry, step, length)
    step += length.num_steps
    chunks.append(length.num_steps)
  return carry, chunks


@pytest.mark.parametrize(("seed", "epoch", "count"), [(0, 0, 96), (7, 3, 5000), (2**32 - 1, 2, 17)])
def test_the_order_is_that_of_the_device(seed, epoch, count):
  expected = jax.jit(steps.epoch_order, static_argnums=2)(np.uint32(seed), epoch, count)
  np.testing.assert_array_equal(placement.epoch_order(seed, epoch, count), expected)


SOME = {name: value for name, value in EVERYTHING.items() if "elastic" not in name}


def test_streamed_steps_have_the_bits_of_those_on_the_device():
  """Blocks of 4 of the 6 steps of an epoch; a stop in the middle of one; the last is partial."""
  c = small.config_of(num_steps=STEPS, eval_every_steps=5, **SOME)
  state = small.create(c).replace(scanned=False)
  device = snapshot(state), TrainMetrics.empty()
  for length in (6, 6, 3):
    device = small.train(device[0], length, c, metrics=device[1])
  host, chunks = streamed(c, (snapshot(state), TrainMetrics.empty()), block=4)
  assert chunks == [4, 1, 1, 4, 2, 3]
  assert small.differing(device, host) == []


def test_streamed_steps_of_one_program_have_the_bits_of_those_on_the_device():
  c = small.config_of(num_steps=12, **SOME)
  state = small.create(c)
  assert state.scanned
  device = small.train(state, steps.ChunkLength(2, 6), c)
  host, chunks = streamed(c, (snapshot(state), TrainMetrics.empty()), block=3)
  assert chunks == [3, 3, 3, 3]
  assert small.differing(device, host) == []


def test_a_resumed_run_asks_for_the_block_of_its_next_step():
  c = small.config_of(num_steps=9)
  state, metrics = small.create(c).replace(scanned=False), TrainMetrics.empty()
  whole, _ = streamed(c, (snapshot(state), metrics), block=4)
  host = on_host(c, timetable_of(c, 4))
  begun = host.train_chunk(snapshot(state), metrics, 0, steps.ChunkLength(1, 2))
  resumed, _ = streamed(c, begun, block=4, first=2)
  assert small.differing(whole, resumed) == []


def test_the_full_batch_has_no_order():
  c = small.config_of(num_steps=3, batch_size=96)
  state = small.create(c).replace(scanned=False)
  device = small.train(state, 3, c)
  host, _ = streamed(c, (snapshot(state), TrainMetrics.empty()), block=1)
  assert small.differing(device, host) == []


@pytest.mark.parametrize("size", [16, 64])
def test_streamed_evaluation_has_the_bits_of_that_on_the_device(monkeypatch, size):
  """Of 37 and 41 examples, in blocks of two batches; a batch may be larger than the split."""
  monkeypatch.setattr(placement, "_BLOCK_BYTES", 2 * 64 * size)
  c = small.config_of(eval_batch_size=size, ema__decay=0.9)
  state, static = small.create(c), FrozenConfigDict(c)
  host = on_host(c, timetable_of(c, 4))
  for found, split in ((host.validate(state), "validation"), (host.test(state), "test")):
    examples = getattr(small.splits(), split)
    expected = steps.evaluate_and_predict(state, examples, config=static)
    assert small.differing(expected, found) == []
  assert (
    small.differing(steps.norms(state, small.splits().train, config=static), host.norms(state))
    == []
  )


def test_chunks_do_not_leave_their_block():
  for block in range(1, 8):
    timetable = Timetable(7, 40, eval_every=5, checkpoint_every=3, block=block)
    for limit in (1, 2, 100):
      step = 0
      while step < 40:
        length = timetable.next_chunk(step, limit)
        assert length.epochs == 1 and 1 <= length.steps <= limit
        blocks = stream.Blocks(7, 40, block)
        number, first = blocks.find(step)
        assert blocks.find(step + length.steps - 1) == (number, first + length.steps - 1)
        assert step + length.steps <= timetable.next_stop(step)
        step += length.steps


def test_blocks_of_an_epoch_are_as_long_as_memory_allows():
  c = small.config_of()
  images = 64 * c.batch_size  # bytes of a batch
  for room, expected in ((images, 1), (2 * images, 2), (4 * images, 3), (5 * images, 3), (9e9, 6)):
    with pytest.MonkeyPatch.context() as patch:
      patch.setattr(placement, "_BLOCK_BYTES", int(room))
      timetable = placement.in_blocks(timetable_of(c, 0), c, small.dataset())
    assert timetable.block == expected


@pytest.mark.parametrize(
  ("free", "expected"), [(10**9, "device"), (2 * 11832 + 2, "device"), (2 * 11832 - 2, "host")]
)
def test_auto_goes_by_what_the_device_has_free(monkeypatch, free, expected):
  """174 images of 64 bytes, and their labels, of 4."""
  size = sum(array.nbytes for split in small.splits() for array in split)
  assert size == 11832
  monkeypatch.setattr(memory, "free_bytes", lambda: free * jax.device_count())
  where, line = placement.chosen(small.config_of(), small.dataset())
  assert where == expected
  assert line.startswith(f"data: placed on the {expected}: 0.00 GB,")
  for asked in ("device", "host"):
    c = small.config_of(data__placement=asked)
    assert placement.chosen(c, small.dataset()) == (asked, "")


def run_config(digits_dir, where, **changes):
  c = config.default()
  c.data.data_dir, c.data.name, c.data.placement = str(digits_dir), "digits", where
  c.data.validation_examples = 100
  c.batch_size, c.num_epochs, c.eval_every_epochs = 100, 2.5, 0.75
  c.model.features = (24,)
  c.update_from_flattened_dict({key.replace("__", "."): value for key, value in changes.items()})
  return c


@pytest.mark.slow
@pytest.mark.parametrize(
  "changes",
  [
    EVERYTHING,
    dict(EVERYTHING, model__inputs="standardized", model__norm="batch"),
    dict(model__name="cnn", cnn__channels=(4,)),
    dict(batch_size=1400, optimizer__name="lbfgs"),
    dict(data__validation_examples=0),
  ],
)
def test_a_run_has_the_same_bits_wherever_its_data_lie(
  digits_dir, tmp_path, monkeypatch, optimized, changes
):
  monkeypatch.setattr(placement, "_BLOCK_BYTES", 5 * 100 * 28 * 28)
  for where in ("device", "host"):
    train.train_and_evaluate(run_config(digits_dir, where, **changes), tmp_path / where)
  device, host = tmp_path / "device", tmp_path / "host"
  assert last_digest(device) == last_digest(host)
  assert (device / "metrics.jsonl").read_bytes() == (host / "metrics.jsonl").read_bytes()


FOUR_DEVICES = """
import json, sys
import jax
jax.config.update("jax_num_cpu_devices", 4)
import numpy as np
import processes
import small
from training_runs import last_digest
from test_placement import EVERYTHING, run_config
from pathlib import Path
from mnist_mlp import train
from mnist_mlp.core.sharding import create_mesh
from mnist_mlp.run import placement

placement._BLOCK_BYTES = 5 * 100 * 28 * 28
digits_dir, folder = map(Path, sys.argv[1:])
for where in ("device", "host"):
  train.train_and_evaluate(run_config(digits_dir, where, **EVERYTHING), folder / where)
layout = placement.Layout(create_mesh(), "data")
block = np.arange(3 * 8 * 2).reshape(3, 8, 2)
placed = layout.place(block, 8, (3,))
print(json.dumps({
    "digests": [last_digest(folder / where) for where in ("device", "host")],
    "shards": [shard.data.tolist() for shard in placed.addressable_shards],
    "rows": layout.own_rows(8).tolist(),
    "uneven": [
        shard.data.shape
        for shard in layout.place(block[:, :5], 5, (3,)).addressable_shards
    ],
}))
"""


@pytest.mark.slow
def test_four_devices_share_the_batches_that_the_host_gives(digits_dir, tmp_path, optimized):
  done = processes.python(
    FOUR_DEVICES,
    digits_dir,
    tmp_path,
    JAX_PLATFORMS="cpu",
    PYTHONPATH=os.pathsep.join([os.path.dirname(__file__), *sys.path]),
  )
  assert done.returncode == 0, done.stderr
  found = json.loads(done.stdout.splitlines()[-1])
  assert found["digests"][0] == found["digests"][1]
  block = np.arange(3 * 8 * 2).reshape(3, 8, 2)
  assert found["shards"] == [block[:, 2 * i : 2 * i + 2].tolist() for i in range(4)]
  assert found["rows"] == list(range(8))
  assert found["uneven"] == [[3, 5, 2]] * 4


def test_large_splits_are_asked_in_blocks(monkeypatch):
  c = small.config_of()
  state, images = small.create(c), small.splits().test.images
  whole = placement.logits_of(state, images, FrozenConfigDict(c))
  monkeypatch.setattr(placement, "_BLOCK_BYTES", 16 * 64)
  np.testing.assert_array_equal(placement.logits_of(state, images, FrozenConfigDict(c)), whole)
