"""Memory: what cannot fit is refused at once, and an error of a full memory arrives."""

import time

import jax
import limited
import pytest
import small

from mnist_mlp.core.state import create_train_state, num_weights
from mnist_mlp.errors import RunError, UsageError
from mnist_mlp.run import memory


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    (
      {"model__features": (1_000_000, 1_000_000)},
      r"config\.model\.features is \(1000000, 1000000\): with 1,000,076,000,010 weights .* needs "
      r"8,00. GB .* lower config\.model\.features",
    ),
    ({"model__features": (1_000_000,) * 200}, "is 200 layers, the widest of 1,000,000 units"),
    (
      {"optimizer__name": "lbfgs", "optimizer__memory_size": 10**9, "batch_size": 96},
      r"config\.optimizer\.memory_size is 1000000000: .* lower config\.optimizer\.memory_size",
    ),
    ({"optimizer__name": "lbfgs", "optimizer__memory_size": 2**31 - 1, "batch_size": 96}, "GB"),
    (
      {"batch_size": 2**31 - 1, "model__features": (10_000,)},
      r"config\.batch_size is 2147483647: ",
    ),
  ],
)
def test_what_cannot_fit_is_refused_before_anything_is_traced(changes, message):
  start = time.monotonic()
  with pytest.raises(UsageError, match=message):
    memory.check_fits(small.config_of(**changes), small.spec())
  assert time.monotonic() - start < 0.5


def test_the_least_is_less_than_what_is_taken():
  c = small.config_of()
  state = create_train_state(c, small.spec())
  assert memory.num_weights(c, small.spec()) == num_weights(state.params)
  taken = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
  parts = memory.least_bytes(c, small.spec())
  assert parts["model.features"] < taken < sum(parts.values()) + 2 * parts["model.features"]
  memory.check_fits(c, small.spec())


def test_only_errors_of_a_full_memory_are_reworded():
  full = "RESOURCE_EXHAUSTED: Out of memory allocating 7 bytes.\nmore"
  expected = r"the memory is full \(RESOURCE_EXHAUSTED: Out of memory allocating 7 bytes\); lower X"
  with pytest.raises(RunError, match=f"^{expected}$"), memory.exhaustion("lower X"):
    raise jax.errors.JaxRuntimeError(full)
  with pytest.raises(RunError, match="the memory is full"), memory.exhaustion("lower X"):
    raise MemoryError("Unable to allocate")
  with pytest.raises(RunError, match="the memory is full"), memory.exhaustion("lower X"):
    raise RuntimeError("can't start new thread")
  with pytest.raises(RunError, match="the memory is full"), memory.exhaustion("lower X"):
    raise ImportError("x.so: failed to map segment from shared object")
  with pytest.raises(ImportError), memory.exhaustion("lower X"):
    raise ImportError("No module named 'x'")
  with pytest.raises(RunError, match="else"), memory.exhaustion("lower X"):
    raise RunError("else")
  with pytest.raises(jax.errors.JaxRuntimeError), memory.exhaustion("lower X"):
    raise jax.errors.JaxRuntimeError("INTERNAL: else")
  with pytest.raises(ValueError), memory.exhaustion("lower X"):
    raise ValueError("out of memory")


@pytest.mark.slow
@pytest.mark.parametrize("megabytes", [1000, 1800])
def test_a_net_that_exceeds_memory_ends_in_one_sentence(megabytes, digits_dir, tmp_path):
  done = limited.train(
    "mnist_mlp.main",
    megabytes,
    "--config=configs/adam.py",
    f"--config.data.data_dir={digits_dir}",
    "--config.model.features=(12000, 12000)",
    f"--workdir={tmp_path / 'w'}",
  )
  limited.check_one_sentence(done)
