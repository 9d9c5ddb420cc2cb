"""Commands in processes that get little memory."""

import processes

# Ends a process that hangs. The memory that its program may take is bounded once JAX has started.
LIMITED = """
import faulthandler, resource, runpy, sys
from pathlib import Path
faulthandler.dump_traceback_later(200, exit=True)
import jax
jax.jit(lambda x: x + 1)(1.0).block_until_ready()
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
limit = used + int(sys.argv.pop(1)) * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
runpy.run_module(sys.argv.pop(1), run_name="__main__")
"""

SHORT = (
  "--config.data.name=digits",
  "--config.data.validation_examples=300",
  "--config.num_steps=3",
  "--config.batch_size=16",
)


def train(module, megabytes, *arguments):
  """Runs a command for a few steps on digits, with that much memory beyond what JAX has taken."""
  return processes.python(LIMITED, megabytes, module, *arguments, *SHORT)


def check_one_sentence(done):
  """Asserts that the process said that the memory is full, and what to lower."""
  assert done.returncode == 1, done.stdout + done.stderr
  assert "error: the memory is full (" in done.stderr, done.stderr
  assert "Traceback" not in done.stderr
  assert "lower " in done.stderr.splitlines()[-1]
