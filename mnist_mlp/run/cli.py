"""What all commands share: flags of their own, errors in one sentence, exit codes.

A command defines its flags when it runs, in a FlagValues of its own, never in absl's process-wide
FLAGS. So several commands can be imported into one process, and each can run more than once.
"""

import contextlib
import dataclasses
import errno
import faulthandler
import gc
import logging
import os
import re
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from absl import flags
from absl import logging as absl_logging
from ml_collections import ConfigDict, config_flags

from mnist_mlp import config as config_lib
from mnist_mlp import startup
from mnist_mlp.errors import Interrupted, UsageError, UserError, printable
from mnist_mlp.paths import expand
from mnist_mlp.run import field_help
from mnist_mlp.run.config_files import find, load_config
from mnist_mlp.run.console import terminal_may_go

_HELP = {"--help", "-help", "-h", "--helpshort", "--helpfull"}
# Of files for which there is no room: on a disk, within a quota, in a file of limited size.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Of files that cannot be reached: the disk is faulty, read-only or gone, or denies access.
_UNREACHABLE = (errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM, errno.ESTALE, errno.ENODEV)


@dataclasses.dataclass(frozen=True)
class CommandLine:
  """A command line, parsed."""

  program: str  # what stands before the arguments: 'python -m mnist_mlp.main'
  arguments: list[str]  # as given, but for flag files, in whose place their content stands
  flags: flags.FlagValues  # line.flags.workdir is the value of --workdir
  positional: list[str]  # the arguments that are no flags

  @property
  def config_path(self) -> str:
    """The file that --config names."""
    return self.flags["config"].config_filename  # type: ignore[attr-defined]

  def again(self, workdir: Path) -> str:
    """Returns the command line that goes on with what this one began in `workdir`."""
    arguments = [a for a in self.arguments if a not in ("--profile", "-profile")]
    if self.flags.workdir is None:
      arguments.append(f"--workdir={workdir}")
    return f"{self.program} {shlex.join(arguments)}"

  @contextlib.contextmanager
  def resumable(self, workdir: Path) -> Iterator[None]:
    """Adds to the message of an Interrupted the command line that resumes."""
    try:
      yield
    except Interrupted as error:
      message = f"{error}\nresume with: {self.again(workdir)}"
      raise Interrupted(message, error.exit_code - 128) from error


def define_config(values: flags.FlagValues, arguments: Sequence[str]) -> None:
  """Defines --config=FILE and, with it, --config.FIELD=VALUE for every field of that file."""
  config_flags.DEFINE_config_file(
    "config",
    None,
    "config file, or the name of a recipe such as adam; --config.FIELD=VALUE overrides a field",
    flag_values=values,
    sys_argv=list(arguments),
  )


def define_nets(values: flags.FlagValues, done: str) -> None:
  """Defines --workdir, which may be given several times, and --best: the nets that are used.

  Args:
    values: gets the flags.
    done: what is done with the nets, for the help: 'asked'.
  """
  flags.DEFINE_multi_string(
    "workdir",
    None,
    f"folder of the run whose net is {done}; several make a committee",
    flag_values=values,
  )
  flags.DEFINE_bool(
    "best",
    False,
    "use the checkpoint of the best validation accuracy instead of the last one",
    values,
  )


def define_places(values: flags.FlagValues) -> None:
  """Defines --files, --data_dir and --manual_dir: where the data of a run lie now."""
  flags.DEFINE_string(
    "files", None, "where the run's own pictures lie now, or others of the same classes", values
  )
  flags.DEFINE_string(
    "data_dir", None, "folder of prepared data, if no longer that of the run", values
  )
  flags.DEFINE_string(
    "manual_dir", None, "folder with the dataset's original download files, likewise", values
  )


def places(values: flags.FlagValues) -> dict[str, str]:
  """Returns the folders that the flags of `define_places` give, by their names."""
  given = {name: values[name].value for name in config_lib.PLACES}
  for name, folder in given.items():
    if folder == "":
      raise UsageError(f"--{name} is empty; name a folder, or leave it out")
  return {name: folder for name, folder in given.items() if folder is not None}


def folder_of(name: str, given: str) -> Path:
  """Returns the folder that a flag names, which may be new.

  Raises:
    UsageError: it cannot be one.
  """
  folder = expand(given)
  if not given or (os.path.lexists(folder) and not os.path.isdir(folder)):
    raise UsageError(f"--{name} is {given!r}, but must be the name of a folder, which may be new")
  return folder


Define = Callable[[flags.FlagValues, Sequence[str]], None]


def run(
  main: Callable[[CommandLine], None],
  define_flags: Define,
  *,
  positional: bool = False,
  argv: Sequence[str] | None = None,
) -> None:
  """Parses a command line and calls `main` with it.

  A UserError ends the process with its message on standard error and its exit code. Any other error
  keeps its traceback.

  Args:
    main: the command.
    define_flags: defines its flags in the FlagValues that it is given; the arguments of the command
      line, which it is given too, are for `define_config`.
    positional: whether arguments that are no flags are allowed; they may stand between flags.
    argv: the program and its arguments, by default `sys.argv`.
  """
  if hasattr(sys.stdout, "reconfigure"):  # A notebook's stream has no encoding to change.
    sys.stdout.reconfigure(errors="backslashreplace")  # File names may be bytes that are no text.
  collect_garbage_rarely()
  absl_logging.use_absl_handler()
  faulthandler.enable(2)  # By number: a notebook's stream has none.
  if sys.unraisablehook is sys.__unraisablehook__:  # A notebook has its own.
    sys.unraisablehook = show_unraisable
  flags.FLAGS.mark_as_parsed()  # Libraries read theirs, which keep their defaults.
  # In this order, a Ctrl-C while an error is being said does not add another one.
  with user_errors(), startup.interruptible():
    main(parse(main, define_flags, sys.argv if argv is None else argv, positional))
  # What is left ends with the process. A last search for garbage among it would take half a second.
  gc.freeze()


def collect_garbage_rarely() -> None:
  """Makes Python search for garbage after 100,000 new objects rather than 700.

  Imports and tracing create little garbage, yet the default thresholds trigger hundreds of searches
  through all objects: a tenth of the time to the first step.
  """
  gc.set_threshold(100_000)


def show_unraisable(found: "sys.UnraisableHookArgs") -> None:
  """Shows an error that no code could catch, as Python does, but for those that hide another one.

  When reading or writing a checkpoint fails, Orbax raises an error and closes its event loop. The
  threads of TensorStore then fail to report to it, dozens of times.
  """
  if not (found.exc_type is RuntimeError and str(found.exc_value) == "Event loop is closed"):
    sys.__unraisablehook__(found)


@contextlib.contextmanager
def user_errors() -> Iterator[None]:
  """Turns each error that a user can cause into one line on standard error and an exit code.

  If the reader of the output goes away, like `head`, the process ends without a word.
  """
  try:
    yield
    sys.stdout.flush()
  except BrokenPipeError:
    _discard_output()
    sys.exit(128 + signal.SIGPIPE)
  except UserError as error:
    lines = map(printable, str(error).split("\n"))
    _to_stderr("error: " + "\n".join(lines))
    sys.exit(error.exit_code)
  except OSError as error:
    if error.errno not in _FULL + _UNREACHABLE:
      raise
    _discard_output()
    first = "make room" if error.errno in _FULL else "see to the disk"
    advice = f"{first}, then the same command goes on from what was saved"
    _to_stderr(f"error: {printable(str(error))}; {advice}")
    sys.exit(1)
  except KeyboardInterrupt:
    _to_stderr("interrupted; what was saved before is kept")
    sys.exit(130)


def _to_stderr(text: str) -> None:
  with terminal_may_go():  # The exit code says as much.
    print(text, file=sys.stderr)


def _discard_output() -> None:
  """Sends the output that is still buffered nowhere: a second error would hide the first."""
  with contextlib.suppress(OSError, AttributeError):  # A notebook's stream has no number.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def parse(
  main: Callable[[CommandLine], None], define_flags: Define, argv: Sequence[str], positional: bool
) -> CommandLine:
  """Returns the parsed command line; see `run`. Prints the help and exits where that is asked for.

  Raises:
    UsageError: a flag or an argument is wrong.
  """
  values = flags.FlagValues()
  values.set_gnu_getopt(positional)
  values["verbosity"] = flags.FLAGS["verbosity"]  # absl's own, for its logs.
  with _flag_errors():
    arguments = _expanded(values.read_flags_from_files(list(argv[1:]), force_gnu=False))
    define_flags(values, arguments)
    if _HELP.intersection(arguments):
      _print_help(main, values)
      sys.exit(0)
    path = _config_path(arguments)
    if path is not None:
      _check_names(arguments, load_config(path))
    rest = values([argv[0], *arguments])[1:]
  if rest and not positional:
    raise UsageError(f"the argument {rest[0]!r} is not a flag; flags look like --name=value")
  if values["verbosity"].using_default_value:
    _quieten_logs()
  return CommandLine(_program(main, argv[0]), arguments, values, rest)


def _print_help(main: Callable[[CommandLine], None], values: flags.FlagValues) -> None:
  about = sys.modules[main.__module__].__doc__
  print(f"{about}\nflags:\n{values.get_help(include_special_flags=False)}")
  if "config" in values:
    print(f"\n{field_help.text()}")


def _quieten_logs() -> None:
  """Silences Orbax, which logs a dozen lines a checkpoint, and hundreds for an error it raises."""
  absl_logging.set_verbosity(absl_logging.WARNING)
  for name in ("absl", "asyncio"):
    logging.getLogger(name).setLevel(logging.CRITICAL)


def _program(main: Callable[[CommandLine], None], script: str) -> str:
  spec = getattr(sys.modules[main.__module__], "__spec__", None)
  return f"python -m {spec.name}" if spec else f"python {shlex.quote(script)}"


def _expanded(arguments: Sequence[str]) -> list[str]:
  """Returns the arguments with the path of the file that --config means; see `find`."""
  expanded = list(arguments)
  for i, argument in enumerate(arguments):
    name, equals, value = argument.lstrip("-").partition("=")
    if name == "config" and argument.startswith("-"):
      if equals:
        expanded[i] = f"--config={find(value)}"
      elif i + 1 < len(arguments):
        expanded[i + 1] = find(arguments[i + 1])
  return expanded


def _config_path(arguments: Sequence[str]) -> str | None:
  """Returns the value of --config, to check the file before absl runs it and shows a traceback.

  Raises:
    UsageError: there are several.
  """
  path = None
  for i, argument in enumerate(arguments):
    name, equals, value = argument.lstrip("-").partition("=")
    if name == "config" and argument.startswith("-"):
      if path is not None:
        raise UsageError("--config is given twice; give it once")
      path = value if equals else "".join(arguments[i + 1 : i + 2])
  return path


def _check_names(arguments: Sequence[str], config: ConfigDict) -> None:
  """Raises a UsageError if an override names no field, or a tuple twice, which would be joined."""
  known, tuples = config_lib.flatten(config), set()
  for argument in arguments:
    match = re.match(r"--?(?:no)?config\.([^=]*)", argument)
    if not match:
      continue
    config_lib.check_known(match[1], known)
    if match[1] in tuples:
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
  if match:
    kind = type(config_lib.flatten(config_lib.default()).get(match[2])).__name__
    return f"{match[1]} is {match[3]!r}, but must be of type {kind}"
  number = re.match(
    r"flag (--[^=]+)=(.*?): (invalid literal|could not convert)", message, re.DOTALL
  )
  return f"{number[1]} is {number[2]!r}, but must be a number" if number else message
