"""The command main, whose process is killed when all there is left to do is to part from others.

For `processes.start(module="dies_at_the_end", variables={"PYTHONPATH": ...})`.
"""

import os
import signal

import jax

from mnist_mlp import main
from mnist_mlp.run import cli


def die():
  os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
  jax.distributed.shutdown = die
  cli.run(main.main, main.define_flags)
