"""TFDS and TensorFlow without their messages."""

import contextlib
import importlib.util
import io
import os
from collections.abc import Iterator

from absl import logging

from mnist_mlp.errors import RunError


@contextlib.contextmanager
def silence() -> Iterator[None]:
  """Hides what TFDS prints and logs; errors are still logged."""
  verbosity = logging.get_verbosity()
  logging.set_verbosity(logging.ERROR)
  try:
    with contextlib.redirect_stdout(io.StringIO()):
      yield
  finally:
    logging.set_verbosity(verbosity)


def import_tensorflow() -> None:
  """Imports TensorFlow without the messages of its C++ parts.

  Raises:
    RunError: TensorFlow is not installed.
  """
  if importlib.util.find_spec("tensorflow") is None:
    raise RunError(
      "this takes TensorFlow, once, which is not installed: pip install tensorflow-cpu"
    )
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
  with discarded(2):  # TensorFlow prints some messages before it reads TF_CPP_MIN_LOG_LEVEL.
    importlib.import_module("tensorflow")


@contextlib.contextmanager
def discarded(number: int) -> Iterator[None]:
  """Discards what is written to a file, 1 or 2, even by code in C++ that knows no Python stream."""
  kept = os.dup(number)
  with open(os.devnull, "wb") as nowhere:
    os.dup2(nowhere.fileno(), number)
  try:
    yield
  finally:
    os.dup2(kept, number)
    os.close(kept)
