"""What all commands share: flags of their own, errors in one sentence, exit codes."""

import errno
import os
import re
import shutil
import signal
from pathlib import Path

import processes
import pytest
from absl import flags

from mnist_mlp import main
from mnist_mlp.errors import Interrupted, RunError, UsageError
from mnist_mlp.run import cli

ADAM = "configs/adam.py"


def parsed(command, *arguments, positional=False):
  """Returns the command line of a command of that module."""
  argv = ["a/program.py", *arguments]
  return cli.parse(command.main, command.define_flags, argv, positional)


def test_a_command_line_has_flags_of_the_config_and_of_the_command(monkeypatch):
  monkeypatch.chdir(processes.ROOT)
  line = parsed(main, f"--config={ADAM}", "--config.seed=7", "--workdir", "runs/a", "--profile")
  assert line.config_path == ADAM
  assert line.flags.config.seed == 7
  assert (line.flags.workdir, line.flags.profile) == ("runs/a", True)
  assert line.positional == []


def test_a_command_line_leaves_nothing_to_the_next(monkeypatch):
  monkeypatch.chdir(processes.ROOT)
  before = set(flags.FLAGS)
  first = parsed(main, f"--config={ADAM}", "--profile", "--config.seed=7")
  second = parsed(main, f"--config={ADAM}")
  assert (first.flags.profile, first.flags.config.seed) == (True, 7)
  assert (second.flags.profile, second.flags.config.seed) == (False, 0)
  assert set(flags.FLAGS) == before
  assert not {"config", "workdir", "profile"} & before


def test_arguments_that_are_no_flags_are_for_commands_that_take_them():
  with pytest.raises(UsageError, match="the argument 'stray' is not a flag"):
    parsed(main, "stray", "--workdir=a")
  line = parsed(main, "one.png", "--workdir=a", "-", positional=True)
  assert line.positional == ["one.png", "-"] and line.flags.workdir == "a"


@pytest.mark.parametrize("arguments", [["--config=~/c.py"], ["--config", "~/c.py"]])
def test_a_config_file_may_lie_in_the_home_folder(tmp_path, monkeypatch, arguments):
  monkeypatch.setenv("HOME", str(tmp_path))
  shutil.copy(processes.ROOT / ADAM, tmp_path / "c.py")
  line = parsed(main, *arguments, "--config.seed=3")
  assert line.config_path == str(tmp_path / "c.py") and line.flags.config.seed == 3
  assert str(tmp_path / "c.py") in line.again("runs/new")


@pytest.mark.parametrize(
  ("arguments", "said"),
  [
    ([f"--config={ADAM}", "--config.=1"], "config. is not a field"),
    ([f"--config={ADAM}", f"--config={ADAM}"], "--config is given twice"),
    ([f"--config={ADAM}", f"--config.seed={'9' * 5000}"], "config.seed is '999"),
    (["--more_epochs=many"], "--more_epochs is 'many', but must be a number"),
    (["--process_id=1.5"], "--process_id is '1.5', but must be a number"),
    (["--config=a\0b"], "the path 'a\\x00b' holds a NUL character"),
    (["--config=adam", "--config.lr=1"], "did you mean 'optimizer.learning_rate'?"),
    (
      ["--config=adam", "--config.optimizer=sgd"],
      "is a section of fields; did you mean 'optimizer.n",
    ),
    (["--config=adam", "--config.ema=1"], "is a section of fields; its fields are ema.decay, "),
  ],
)
def test_odd_arguments_get_one_sentence(monkeypatch, arguments, said):
  monkeypatch.chdir(processes.ROOT)
  with pytest.raises(UsageError, match=re.escape(said)) as caught:
    parsed(main, *arguments)
  assert "\n" not in str(caught.value)


def test_a_recipe_needs_neither_folder_nor_suffix(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  line = parsed(main, "--config=adam", "--config.seed=3")
  assert (line.flags.config.optimizer.name, line.flags.config.seed) == ("adamw", 3)
  assert Path(line.config_path).samefile(processes.ROOT / ADAM)
  assert f"--config={line.config_path}" in line.again("runs/new")


@pytest.mark.parametrize(
  ("module", "advice"),
  [
    ("mnist_mlp", "python -m mnist_mlp.main --config="),
    ("mnist_mlp.train", "python -m mnist_mlp lists the commands"),
    ("mnist_mlp.core.steps", "python -m mnist_mlp lists the commands"),
  ],
)
def test_what_is_no_command_says_what_to_run(module, advice):
  done = processes.run("--config=adam", module=module, python=("-X", "importtime"))
  said = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
  assert done.returncode == 2 and said[0].startswith(f"error: {module} is no command; ")
  assert advice in "\n".join(said) and "Traceback" not in done.stderr
  assert not re.search(r"\| +jax$", done.stderr, re.MULTILINE), "it took seconds"


def test_the_help_of_the_package_names_every_command():
  done = processes.run("--help", module="mnist_mlp")
  shown = re.findall(r"python -m mnist_mlp\.(\w+)", done.stdout)
  commands = [path.stem for path in (processes.ROOT / "mnist_mlp").glob("*.py") if is_command(path)]
  assert done.returncode == 0 and sorted(shown) == sorted(commands)


def is_command(path):
  return "cli.run(" in path.read_text("utf-8")


def test_a_flag_file_stands_for_its_content(tmp_path):
  path = tmp_path / "flags"
  path.write_text(f"--workdir={tmp_path / 'my run'}\n--profile\n")
  line = parsed(main, f"--flagfile={path}")
  assert line.flags.profile and line.flags.workdir == f"{tmp_path / 'my run'}"
  assert line.arguments == [f"--workdir={tmp_path / 'my run'}", "--profile"]


@pytest.mark.parametrize(
  ("arguments", "expected"),
  [
    (["--workdir=a b"], "python -m mnist_mlp.main '--workdir=a b'"),
    (["--profile", "--workdir=w"], "python -m mnist_mlp.main --workdir=w"),
    (["-profile"], "python -m mnist_mlp.main --workdir=runs/new"),
  ],
)
def test_the_command_that_goes_on_has_a_workdir_and_no_profile(arguments, expected):
  assert parsed(main, *arguments).again("runs/new") == expected


def test_an_interruption_says_how_to_go_on():
  line = parsed(main)
  with pytest.raises(Interrupted) as caught, line.resumable("runs/new"):
    raise Interrupted("interrupted by SIGTERM", signal.SIGTERM)
  assert str(caught.value) == (
    "interrupted by SIGTERM\nresume with: python -m mnist_mlp.main --workdir=runs/new"
  )
  assert caught.value.exit_code == 143


@pytest.mark.parametrize(
  ("error", "code", "said"),
  [
    (UsageError("config.x is wrong"), 2, "error: config.x is wrong\n"),
    (RunError("no data"), 1, "error: no data\n"),
    (Interrupted("interrupted by SIGINT", signal.SIGINT), 130, "error: interrupted by SIGINT\n"),
    (KeyboardInterrupt(), 130, "interrupted; what was saved before is kept\n"),
  ],
)
def test_an_error_that_a_user_can_cause_is_a_line_and_an_exit_code(error, code, said, capsys):
  with pytest.raises(SystemExit) as caught, cli.user_errors():
    raise error
  assert caught.value.code == code
  assert capsys.readouterr() == ("", said)


@pytest.mark.parametrize(
  ("name", "first"),
  [
    *((name, "make room") for name in ("ENOSPC", "EDQUOT", "EFBIG")),
    *((name, "see to the disk") for name in ("EIO", "EROFS", "EACCES", "ESTALE")),
  ],
)
def test_a_disk_that_fails_is_one_line_that_names_the_file(name, first, capsys):
  number = getattr(errno, name)
  with pytest.raises(SystemExit) as caught, cli.user_errors():
    raise OSError(number, os.strerror(number), "a\x1bb")
  assert caught.value.code == 1
  said = capsys.readouterr().err
  assert said.startswith(f"error: [Errno {number}] {os.strerror(number)}: 'a\\x1bb'; {first}, then")
  assert said.count("\n") == 1


@pytest.mark.parametrize("error", [ValueError("a bug"), OSError(errno.ENOEXEC, "no program")])
def test_any_other_error_keeps_its_traceback(error):
  with pytest.raises(type(error)), cli.user_errors():
    raise error


def test_help_lists_the_flags_and_does_not_import_jax():
  done = processes.run("--help", python=("-X", "importtime"))
  assert done.returncode == 0
  assert done.stdout.startswith("Trains a config: ")
  assert "--config.optimizer.learning_rate=0.001\n" in done.stdout
  for name in ("config", "workdir", "[no]profile"):
    assert re.search(rf"^ +--{re.escape(name)}: ", done.stdout, re.MULTILINE), name
  imported = set(re.findall(r"^import time:.*\| +(\S+)$", done.stderr, re.MULTILINE))
  assert "absl.flags" in imported
  assert not imported & {"jax", "tensorflow", "matplotlib"}


IMPORT_ALL = """
import importlib, pkgutil
import mnist_mlp
from absl import flags

names = [module.name for module in pkgutil.walk_packages(mnist_mlp.__path__, "mnist_mlp.")]
for name in names:
  importlib.import_module(name)
ours = [name for name in flags.FLAGS.flags_by_module_dict() if name.startswith("mnist_mlp")]
assert not ours, ours
assert not {"config", "workdir", "points", "engine", "show"} & set(flags.FLAGS), set(flags.FLAGS)
print(*names)
"""


def test_importing_a_module_defines_no_flag():
  done = processes.python(IMPORT_ALL)
  assert done.returncode == 0, done.stderr
  assert {"mnist_mlp.main", "mnist_mlp.core.steps", "mnist_mlp.run.cli"} <= set(done.stdout.split())


UNRAISABLE = """
import ctypes, sys
from mnist_mlp.run import cli

def raise_in_callback(message):
  @ctypes.CFUNCTYPE(None)
  def callback():
    raise RuntimeError(message)
  callback()

sys.unraisablehook = cli.show_unraisable
for message in ("Event loop is closed", "something else"):
  raise_in_callback(message)
"""


def test_an_error_that_only_hides_another_one_is_not_shown():
  done = processes.python(UNRAISABLE)
  assert done.returncode == 0, done.stderr
  assert done.stderr.count("Traceback") == 1 and "something else" in done.stderr


@pytest.mark.slow
def test_a_checkpoint_that_lacks_a_part_is_one_line(tmp_path, digits_dir):
  command = (
    "--config=configs/sgd.py",
    "--config.data.name=digits",
    "--config.data.validation_examples=100",
    "--config.model.features=(8,)",
    "--config.num_epochs=1",
    f"--workdir={tmp_path}",
  )
  assert processes.run(*command, TFDS_DATA_DIR=str(digits_dir)).returncode == 0
  (tmp_path / "result.json").unlink()
  for folder in tmp_path.glob("checkpoints/*/state/d"):
    shutil.rmtree(folder)
  done = processes.run(*command, TFDS_DATA_DIR=str(digits_dir))
  assert done.returncode == 1
  assert done.stderr.startswith("error: no checkpoint in ") and done.stderr.count("\n") == 1
