"""Which chunk is traced, with chunks that add two numbers, under JAX's own profiler."""

import jax.numpy as jnp
import small_run

from mnist_mlp.core.steps import ChunkLength
from mnist_mlp.run.environment import StopSignals
from mnist_mlp.run.loop import Chunk, Loop
from mnist_mlp.run.pace import Pace
from mnist_mlp.run.profile import ProfiledOnce


def trained(path, limit, step=0, **changes):
  """Goes through a run; returns (dispatched chunks, the console's lines)."""
  run, dispatched = small_run.run_of(path, **changes), []

  def dispatch(step, length):
    dispatched.append((step, step + length.num_steps))
    return Chunk(step + length.num_steps, length.num_steps, jnp.int32(step) + 1)

  pace = Pace(1, 1)
  pace.limit = limit
  loop = Loop(ProfiledOnce(dispatch, run), run.timetable, pace, step)
  chunks = list(loop.chunks(run.timetable.total_steps, StopSignals()))
  assert [chunk.step for chunk in chunks] == [stop for _, stop in dispatched]
  return dispatched, run.console.lines


def traces(path):
  return list((path / "plugins" / "profile").glob("*/*.xplane.pb"))


def test_the_second_chunk_is_traced(tmp_path):
  dispatched, lines = trained(tmp_path, limit=2, num_steps=8)
  assert dispatched == [(0, 2), (2, 4), (4, 6), (6, 8)]
  folder = tmp_path / "plugins" / "profile"
  (line,) = lines
  assert line.startswith(f"profiled steps 2 to 4; the trace is in {folder}. ")
  assert "pip install xprof" in line and "https://ui.perfetto.dev" in line
  assert len(traces(tmp_path)) == 1
  assert list((tmp_path / "plugins" / "profile").glob("*/perfetto_trace.json.gz"))


def test_of_a_resumed_run_too(tmp_path):
  dispatched, lines = trained(tmp_path, limit=2, step=4, num_steps=10)
  assert dispatched == [(4, 6), (6, 8), (8, 10)]
  assert [line.partition(";")[0] for line in lines] == ["profiled steps 6 to 8"]


def test_the_only_chunk_is_traced(tmp_path):
  dispatched, lines = trained(tmp_path, limit=2, step=4, num_steps=6)
  assert dispatched == [(4, 6)]
  assert [line.partition(";")[0] for line in lines] == ["profiled steps 4 to 6"]
  assert len(traces(tmp_path)) == 1


def test_a_single_chunk_is_passed_through_before_the_second(tmp_path):
  run = small_run.run_of(tmp_path, num_steps=8)
  chunk = Chunk(2, 2, jnp.int32(0))
  assert ProfiledOnce(lambda step, length: chunk, run)(0, ChunkLength(1, 2)) is chunk
  assert not run.console.lines and not traces(tmp_path)
