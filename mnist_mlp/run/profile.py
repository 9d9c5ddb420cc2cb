"""A trace of one chunk of steps, for TensorBoard's profiler and for Perfetto."""

from collections.abc import Callable

import jax

from mnist_mlp.core.steps import ChunkLength
from mnist_mlp.run.loop import Chunk
from mnist_mlp.run.run import Run


class ProfiledOnce:
  """Dispatches chunks like the function that it is given, one of them under JAX's profiler.

  A trace of the first chunk would show little but compilation, so the second chunk is traced. If
  there is only one chunk, that one is traced.
  """

  def __init__(self, dispatch: Callable[[int, ChunkLength], Chunk], run: Run):
    """Takes the function that dispatches, and the run whose folder gets the trace."""
    self._dispatch, self._run = dispatch, run
    self._last: Chunk | None = None
    self._done = False

  def __call__(self, step: int, length: ChunkLength) -> Chunk:
    """Dispatches the next chunk; waits for it if it is traced."""
    only = step + length.num_steps == self._run.timetable.total_steps
    if self._done or not (self._last or only):
      self._last = self._dispatch(step, length)
      return self._last
    self._done = True
    _wait(self._last)
    folder = self._run.folder.path
    with jax.profiler.trace(str(folder), create_perfetto_trace=True):
      chunk = self._dispatch(step, length)
      _wait(chunk)
    place = folder / "plugins" / "profile"
    self._run.console.line(
      f"profiled steps {step} to {chunk.step}; the trace is in {place}. TensorBoard shows it with "
      "its profiler plugin (pip install xprof), https://ui.perfetto.dev shows its *.json.gz"
    )
    return chunk


def _wait(chunk: Chunk | None) -> None:
  if chunk:
    jax.block_until_ready((chunk.metrics, chunk.norms, chunk.validation, chunk.snapshot))
