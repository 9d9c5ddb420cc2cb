"""What the entry points share: the --config flag, clear errors, exit codes."""

import contextlib
import errno
import functools
import gc
import logging
import os
import re
import runpy
import shlex
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from absl import app, flags
from absl import logging as absl_logging
from ml_collections import ConfigDict, config_flags

from mnist_mlp import config as config_lib
from mnist_mlp.errors import Interrupted, UsageError, UserError, listing

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # a disk, also that under standard output


def define_config() -> flags.FlagHolder:
  """Defines --config=FILE and, with it, --config.FIELD=VALUE for every field of that file."""
  with user_errors(), _flag_errors():  # It looks into the files of --flagfile already.
    return config_flags.DEFINE_config_file(
      "config", None, "config file; --config.FIELD=VALUE overrides one of its fields"
    )


def run(main: Callable[..., None], *, positional: bool = False) -> None:
  """Parses the command line and calls `main`.

  It takes flags only, unless `positional`: then `main` is given the list of the other arguments,
  which may stand between flags.

  A UserError ends the process with its message on standard error and its exit code; everything
  unforeseen keeps its traceback.
  """

  def guarded(argv):
    with user_errors():
      main(*([argv[1:]] if positional else []))
    gc.freeze()  # All that is left goes with the process; looking through it takes half a second.

  sys.stdout.reconfigure(errors="backslashreplace")  # File names may be of bytes that are no text.
  collect_garbage_rarely()
  flags.FLAGS.set_gnu_getopt(positional)
  app.run(guarded, flags_parser=functools.partial(_parse, positional=positional))


def collect_garbage_rarely() -> None:
  """Makes Python look for garbage less often, for the sake of imports and traces.

  They leave hardly any, and by default all objects are looked through hundreds of times meanwhile:
  a tenth of the time to the first step.
  """
  gc.set_threshold(100_000)


@contextlib.contextmanager
def user_errors() -> Iterator[None]:
  """Turns the errors that a user can cause into one line and an exit code.

  A reader of the output that goes away, like `head`, ends the process without a word.
  """
  try:
    yield
    sys.stdout.flush()
  except BrokenPipeError:
    _drop_output()
    sys.exit(128 + signal.SIGPIPE)
  except UserError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(error.exit_code)
  except OSError as error:
    if error.errno not in _FULL:
      raise
    _drop_output()
    print(
      f"error: {error}; make room, then the same command goes on from what was saved",
      file=sys.stderr,
    )
    sys.exit(1)
  except KeyboardInterrupt:
    print("interrupted; nothing was lost that was saved before", file=sys.stderr)
    sys.exit(130)


def _drop_output() -> None:
  """Makes what is still to flush go nowhere, without another error."""
  os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def again(module: str, workdir: Path) -> str:
  """Returns the command line that goes on with what this one began in `workdir`."""
  arguments = [argument for argument in sys.argv[1:] if argument not in ("--profile", "-profile")]
  if flags.FLAGS["workdir"].value is None:
    arguments.append(f"--workdir={workdir}")
  return shlex.join(["python", "-m", module, *arguments])


@contextlib.contextmanager
def resumable(module: str, workdir: Path) -> Iterator[None]:
  """Adds to an Interrupted how to go on: by the command line that `again` gives."""
  try:
    yield
  except Interrupted as error:
    raise Interrupted(
      f"{error}\nresume with: {again(module, workdir)}", error.exit_code - 128
    ) from error


def _parse(argv: Sequence[str], *, positional: bool) -> list[str]:
  with user_errors(), _flag_errors():
    # In sys.argv too, where ml_collections looks for overrides.
    argv = sys.argv = [argv[0], *flags.FLAGS.read_flags_from_files(argv[1:], force_gnu=False)]
    path = _config_path(argv)
    if path is not None:
      _check_names(argv, load_config(path))
    try:
      rest = flags.FLAGS(list(argv))[1:]
    except SystemExit:
      sys.exit(0)  # --help was given, after which absl would exit with 1
    if rest and not positional:
      raise UsageError(f"the argument {rest[0]!r} is not a flag; flags look like --name=value")
    if flags.FLAGS["verbosity"].using_default_value:
      absl_logging.set_verbosity(absl_logging.WARNING)
      # Orbax says a dozen things about every checkpoint, and in case of an error hundreds, by these
      # two; the error itself is raised.
      for name in ("absl", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return [argv[0], *rest]


def _config_path(argv: Sequence[str]) -> str | None:
  """Returns the value of --config: absl's parser would run the file, and show a traceback."""
  path = None
  for i, argument in enumerate(argv):
    name, equals, value = argument.lstrip("-").partition("=")
    if name == "config" and argument.startswith("-"):
      path = value if equals else "".join(argv[i + 1 : i + 2])
  return path


def _check_names(argv: Sequence[str], config: ConfigDict) -> None:
  known, tuples = config_lib.flatten(config), set()
  for argument in argv:
    match = re.match(r"--?(?:no)?config\.([^=]+)", argument)
    if not match:
      continue
    config_lib.check_known(match[1], known)
    if match[1] in tuples:  # ml_collections would join them.
      raise UsageError(f"config.{match[1]} is given twice; give it once")
    if isinstance(known[match[1]], tuple):
      tuples.add(match[1])


@contextlib.contextmanager
def _flag_errors() -> Iterator[None]:
  try:
    yield
  except flags.IllegalFlagValueError as error:
    raise UsageError(_wrong_value(str(error))) from error
  except flags.Error as error:
    raise UsageError(str(error).removeprefix("ERROR:: ")) from error


def _wrong_value(message: str) -> str:
  """Rewords absl's 'flag --config.seed=x: invalid literal for int() ...'."""
  match = re.match(r"flag --(config\.([^=]+))=(.*?): ", message, re.DOTALL)
  if not match:
    return message
  kind = type(config_lib.flatten(config_lib.default()).get(match[2])).__name__
  return f"{match[1]} is {match[3]!r}, but must be of type {kind}"


def load_config(path: str | Path) -> ConfigDict:
  """Returns what the `get_config` of a config file gives.

  Raises:
    UsageError: there is no such file, it is no Python, it has no get_config, or it sets a field
      that does not exist; with the line.
  """
  get_config = load_module(path).get("get_config")
  if get_config is None:
    raise UsageError(f"the config file {path} has no function get_config()")
  with broken_file(path):
    config = get_config()
  if not isinstance(config, ConfigDict):
    raise UsageError(
      f"the config file {path} is broken: get_config() returned a {type(config).__name__}, not "
      "a ConfigDict"
    )
  return config


def load_module(path: str | Path) -> dict[str, Any]:
  """Runs a config file; returns its global names. Raises a UsageError like `load_config`."""
  if not os.path.isfile(path):
    known = sorted(str(file) for file in Path(path).parent.glob("*.py"))
    hint = f"; there are {listing(known)}" if known else ""
    raise UsageError(f"the config file {str(path)!r} does not exist{hint}")
  with broken_file(path):
    return runpy.run_path(str(path))


@contextlib.contextmanager
def broken_file(path: str | Path) -> Iterator[None]:
  """Turns whatever goes wrong while a config file's code runs into a UsageError with the line."""
  try:
    yield
  except Exception as error:
    raise UsageError(f"the config file {path} is broken: {_where(error, path)}") from error


def _where(error: Exception, path: str | Path) -> str:
  """Returns 'line 7: NameError: ...', for the last line of the file that the error passed."""
  lines = [
    frame.lineno
    for frame in traceback.extract_tb(error.__traceback__)
    if frame.filename == str(path)
  ]
  if isinstance(error, SyntaxError):
    lines, text = [error.lineno], error.msg
  else:
    text = " ".join(str(error).split())
  place = f"line {lines[-1]}: " if lines else ""
  return f"{place}{type(error).__name__}: {text}"
