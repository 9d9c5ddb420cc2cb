"""Two commands in one process: the flags of one are not those of the other."""

import re

import processes
import pytest
import sweeping
from absl import flags

from mnist_mlp import main, sweep
from mnist_mlp.errors import UsageError
from mnist_mlp.run import cli

ADAM = "configs/adam.py"


def parsed(command, *arguments):
  """Returns the command line of a command of that module."""
  return cli.parse(command.main, command.define_flags, ["program", *arguments], False)


def test_flags_of_one_command_do_not_leak(monkeypatch):
  """Into another command, the next command line of the same one, or the process-wide FLAGS."""
  monkeypatch.chdir(processes.ROOT)
  before = set(flags.FLAGS)
  first = parsed(sweep, f"--config={ADAM}", "--engine=vmap", "--points=0:2", "--config.seed=7")
  second = parsed(sweep, f"--config={ADAM}")
  assert (first.flags.engine, first.flags.points, first.flags.config.seed) == ("vmap", "0:2", 7)
  assert (second.flags.engine, second.flags.points, second.flags.config.seed) == ("auto", "", 0)
  assert "profile" not in first.flags and "points" not in parsed(main).flags
  with pytest.raises(UsageError, match="'points'"):
    parsed(main, "--points=0:2")
  with pytest.raises(UsageError, match="'profile'"):
    parsed(sweep, "--profile")
  assert set(flags.FLAGS) == before
  assert not {"config", "workdir", "engine", "profile"} & before


# Defines `call`, which runs a command in this process and prints its exit code.
CALL = """
import sys
from absl import flags
from mnist_mlp import main, sweep
from mnist_mlp.run import cli

def call(command, *arguments):
  try:
    cli.run(command.main, command.define_flags, argv=["program", *arguments])
    code = 0
  except SystemExit as end:
    code = end.code
  print("code", code, flush=True)
  assert not {"config", "workdir", "profile", "points", "engine"} & set(flags.FLAGS)
  modules = flags.FLAGS.flags_by_module_dict()
  assert not [name for name in modules if name.startswith(("mnist_mlp", "program"))], modules
"""

HELP_AND_ERRORS = """
for _ in range(2):
  call(main, "--help")
  call(sweep, "--help")
  call(main, "--workdir=a", "--points=0:2")
  call(sweep, "--workdir=a", "--profile")
  call(main, "--workdir=a")
"""


def outputs(done):
  """Returns [(what a command of `call` printed, its exit code), ...]."""
  assert done.returncode == 0, done.stdout + done.stderr
  parts = re.split(r"^code (\d+)\n", done.stdout, flags=re.MULTILINE)
  return list(zip(parts[:-1:2], map(int, parts[1::2]), strict=True))


def test_two_commands_run_twice_in_one_process():
  done = processes.python(CALL + HELP_AND_ERRORS)
  once, again = (outputs(done)[start : start + 5] for start in (0, 5))
  assert once == again
  assert [code for _, code in once] == [0, 0, 2, 2, 2]
  (help_of_main, _), (help_of_sweep, _) = once[:2]
  assert "--[no]profile" in help_of_main and "--points" not in help_of_main
  assert "--points" in help_of_sweep and "--[no]profile" not in help_of_sweep
  errors = done.stderr.splitlines()
  assert errors[:3] == errors[3:]
  assert errors[0].startswith("error: Unknown command line flag 'points'")
  assert errors[1].startswith("error: Unknown command line flag 'profile'")
  assert errors[2].startswith("error: --config is missing")


TRAINING = """
workdir, digits, path = sys.argv[1:]
own = [f"--config={path}", f"--config.data.data_dir={digits}"]
call(main, *own, f"--workdir={workdir}/run")
call(sweep, *own, "--engine=vmap", f"--workdir={workdir}/sweep")
call(main, *own, f"--workdir={workdir}/run")
call(main, *own, "--config.seed=5", f"--workdir={workdir}/other")
call(sweep, *own, f"--workdir={workdir}/sweep")
"""


@pytest.mark.slow
def test_two_commands_train_twice_in_one_process(tmp_path, digits_dir):
  base = "c.num_steps, c.model.features = 2, (4,)"
  path = sweeping.sweep_file(tmp_path, "def sweep():\n  return [{'seed': 1}]", base)
  done = processes.python(CALL + TRAINING, tmp_path, digits_dir, path)
  train, sweep, again, other, sweep_again = outputs(done)
  assert [code for _, code in (train, sweep, again, other, sweep_again)] == [0] * 5
  for text, _ in (train, other):
    assert "test: " in text and "this run again" in text
  assert "is finished" in again[0]
  for text, _ in (sweep, sweep_again):
    assert "winner by validation accuracy" in text


FLAGS = (
  "config",
  "workdir",
  "points",
  "engine",
  "max_members",
  "processes",
  "halving",
  "save_every_seconds",
  "ray_address",
)


def test_help_of_sweeps_lists_the_flags_and_does_not_import_jax():
  done = processes.run("--help", module="mnist_mlp.sweep", python=("-X", "importtime"))
  assert done.returncode == 0
  assert done.stdout.startswith("Trains a sweep: ")
  for name in FLAGS:
    assert re.search(rf"^ +--{name}: ", done.stdout, re.MULTILINE), name
  imported = set(re.findall(r"^import time:.*\| +(\S+)$", done.stderr, re.MULTILINE))
  assert "absl.flags" in imported
  assert not imported & {"jax", "tensorflow", "matplotlib", "ray"}


def test_a_sweep_is_not_taken_for_a_config_without_a_word(tmp_path):
  """The data folder is missing, so that nothing is trained."""
  for arguments, said in (
    (["--config=sweep_size"], True),
    (["--config=sweep_size", "--config.seed=1"], False),  # A config of the sweep, as `winner` says.
    (["--config=adam"], False),
  ):
    done = processes.run(
      *arguments, f"--workdir={tmp_path / 'run'}", TFDS_DATA_DIR=str(tmp_path / "no" / "data")
    )
    assert done.returncode == 2, done.stderr
    told = "holds a sweep, of which this trains the base config alone" in done.stdout
    assert told == said
    if said:
      assert "python -m mnist_mlp.sweep --config=configs/sweep_size.py" in done.stdout
