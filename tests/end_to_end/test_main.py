"""Bad input on the command line: one clear sentence, the right exit code, nothing left behind."""

import gzip
import shutil
import subprocess

import processes
import pytest

ADAM = "--config=configs/adam.py"


def refused(done, code, *parts):
  assert done.returncode == code, done.stdout + done.stderr
  assert "Traceback" not in done.stderr
  assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
  for part in parts:
    assert part in done.stderr


@pytest.mark.parametrize(
  ("arguments", "parts"),
  [
    ([], ["--config is missing", "configs/adam.py"]),
    (["--config=configs/adm.py"], ["configs/adm.py", "does not exist", "configs/adam.py"]),
    ([ADAM, "--config.bach_size=3"], ["config.bach_size is not a field", "'batch_size'"]),
    ([ADAM, "--config.modle.features=(3,)"], ["did you mean 'model.features'"]),
    ([ADAM, "--config.learning_rate=1"], ["did you mean 'optimizer.learning_rate'"]),
    ([ADAM, "--wrkdir=x"], ["wrkdir", "workdir"]),
    ([ADAM, "stray"], ["'stray' is not a flag"]),
    (["--flagfile=/nowhere/flags"], ["/nowhere/flags", "No such file"]),
    ([ADAM, "--config.batch_size=many"], ["config.batch_size is 'many'", "int"]),
    ([ADAM, "--config.batch_size=True"], ["config.batch_size is 'True'", "int"]),
    ([ADAM, "--config.batch_size=1.5"], ["config.batch_size is '1.5'", "int"]),
    ([ADAM, "--config.batch_size=0"], ["config.batch_size is 0", "[1, 2147483647]"]),
    ([ADAM, "--config.batch_size=-3"], ["config.batch_size is -3", "[1, 2147483647]"]),
    ([ADAM, "--config.optimizer.learning_rate=-1"], ["learning_rate is -1.0", "[0, inf)"]),
    ([ADAM, "--config.optimizer.learning_rate=nan"], ["learning_rate is nan", "[0, inf)"]),
    ([ADAM, "--config.num_epochs=0"], ["config.num_epochs and config.num_steps are both 0"]),
    ([ADAM, "--config.model.dropout=1"], ["config.model.dropout is 1.0", "[0, 1)"]),
    ([ADAM, "--config.model.features=512,zero"], ["config.model.features"]),
    ([ADAM, "--config.model.features=8", "--config.model.features=9"], ["is given twice"]),
    ([ADAM, "--config.model.activation=rleu"], ["'rleu'", "'tanh'", "did you mean 'relu'"]),
    ([ADAM, "--config.optimizer.name=adma"], ["'adma'", "'muon'", "did you mean 'adam'"]),
    ([ADAM, "--config.schedule.name=cos"], ["'cos'", "'one_cycle'"]),
    ([ADAM, "--config.loss.name=mse"], ["'mse'", "'squared_error'"]),
  ],
)
def test_usage_errors_are_found_before_anything_starts(arguments, parts, tmp_path):
  workdir = tmp_path / "run"
  refused(processes.run(*arguments, f"--workdir={workdir}"), 2, *parts)
  assert not workdir.exists()


@pytest.mark.parametrize(
  ("text", "parts"),
  [
    ("def get_config(:\n", ["line 1", "SyntaxError"]),
    ("x = 3\n", ["no function get_config()"]),
    ("def get_config():\n  return 3\n", ["returned a int"]),
    ("import nothing_of_this_name\n", ["line 1", "nothing_of_this_name"]),
    (
      "from mnist_mlp import config\ndef get_config():\n  c = config.default()\n"
      "  c.bach_size = 3\n  return c\n",
      ["line 4", "batch_size"],
    ),
    (
      "from mnist_mlp import config\ndef get_config():\n  c = config.default()\n"
      "  c.seed = 'a'\n  return c\n",
      ["line 4", "int"],
    ),
  ],
)
def test_broken_config_files_name_the_line(text, parts, tmp_path):
  path = tmp_path / "broken.py"
  path.write_text(text)
  refused(processes.run(f"--config={path}"), 2, str(path), *parts)


@pytest.mark.parametrize(
  ("override", "parts"),
  [
    ("--config.bach_size=3", ["config.bach_size is not a field"]),
    ("--config.batch_size=-3", ["config.batch_size is -3"]),
  ],
)
def test_a_flag_file_may_hold_the_config_and_its_overrides(override, parts, tmp_path):
  path = tmp_path / "flags"
  path.write_text(f"{ADAM}\n{override}\n")
  refused(processes.run(f"--flagfile={path}"), 2, *parts)


def test_an_empty_workdir_is_refused():
  refused(processes.run(ADAM, "--workdir="), 2, "--workdir is empty")


def test_a_batch_that_is_not_full_for_lbfgs(digits_dir, tmp_path):
  refused(
    processes.run(
      "--config=configs/toy_class_lbfgs.py",
      "--config.data.name=digits",
      "--config.data.validation_examples=100",
      "--config.batch_size=1300",
      f"--workdir={tmp_path / 'run'}",
      TFDS_DATA_DIR=str(digits_dir),
    ),
    2,
    "config.batch_size is 1300, but optimizer 'lbfgs' needs the full batch, 1400",
  )
  assert not (tmp_path / "run").exists(), "what was refused must not stand in the way of a next try"


@pytest.mark.parametrize(
  "arguments",
  [
    ["--config.num_epochs=1e9", "--config.batch_size=1"],
    ["--config.augment.shift=2", "--config.augment.clean_epochs=20"],
  ],
)
def test_lengths_that_do_not_fit_the_data(digits_dir, tmp_path, arguments):
  refused(
    processes.run(
      ADAM,
      "--config.data.name=digits",
      "--config.data.validation_examples=100",
      *arguments,
      f"--workdir={tmp_path}",
      TFDS_DATA_DIR=str(digits_dir),
    ),
    2,
    "config.",
    "steps",
  )
  assert tmp_path.is_dir() and not list(tmp_path.iterdir()), "a folder that was there stays"


def test_workdir_that_cannot_be_written(tmp_path):
  (tmp_path / "file").write_text("")
  refused(
    processes.run(ADAM, f"--workdir={tmp_path / 'file' / 'run'}"),
    1,
    str(tmp_path / "file" / "run"),
    "--workdir",
  )


def small_run(workdir, width):
  return processes.command(
    ADAM,
    "--config.data.name=digits",
    "--config.data.validation_examples=100",
    "--config.num_epochs=1",
    f"--config.model.features=({width},)",
    f"--workdir={workdir}",
  )


def test_standard_output_on_a_full_disk(digits_dir, tmp_path):
  with open("/dev/full", "w") as full:
    done = subprocess.run(
      small_run(tmp_path / "run", 4),
      cwd=processes.ROOT,
      stdout=full,
      stderr=subprocess.PIPE,
      text=True,
      env=processes.environment(TFDS_DATA_DIR=str(digits_dir)),
    )
  assert done.returncode == 1
  assert done.stderr.startswith("error: [Errno 28] No space left on device; make room")
  assert done.stderr.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize(
  ("width", "limit", "message"),
  [
    (4, 50, "error: cannot write TensorBoard's events in"),  # the pictures of the end
    (200, 150, "error: cannot save a checkpoint in"),
  ],
)
def test_files_that_cannot_grow(digits_dir, tmp_path, width, limit, message):
  """As on a full disk: a limit on the size of a file, in KiB, which writing beyond fails."""
  done = subprocess.run(
    ["bash", "-c", f'ulimit -f {limit}; exec "$@"', "bash", *small_run(tmp_path / "run", width)],
    cwd=processes.ROOT,
    capture_output=True,
    text=True,
    env=processes.environment(TFDS_DATA_DIR=str(digits_dir), JAX_ENABLE_COMPILATION_CACHE="false"),
  )
  assert done.returncode == 1
  # The last line: TensorStore's threads may print errors of their own before it.
  assert done.stderr.splitlines()[-1].startswith(message), done.stderr
  assert "mnist_mlp" not in done.stderr.rpartition("error: ")[0].replace(str(tmp_path), "")
  assert not (tmp_path / "run" / "result.json").exists()


@pytest.mark.parametrize(
  ("name", "parts"),
  [
    ("mnits", ["'mnits'", "did you mean 'mnist'"]),
    ("emnist/leters", ["'emnist/leters'", "letters"]),
    ("imdb_reviews", ["'imdb_reviews'", "not image classification"]),
  ],
)
def test_unsuitable_datasets(name, parts, tmp_path):
  refused(
    processes.run(
      ADAM,
      f"--config.data.name={name}",
      f"--workdir={tmp_path / 'run'}",
      TFDS_DATA_DIR=str(tmp_path),
    ),
    2,
    *parts,
  )


@pytest.mark.parametrize("damage", ["truncated", "wrong", "missing"])
def test_damaged_original_files_are_named(damage, mnist_files, tmp_path):
  folder = tmp_path / "files"
  shutil.copytree(mnist_files, folder)
  path = folder / "t10k-labels-idx1-ubyte.gz"
  content = path.read_bytes()
  if damage == "truncated":
    path.write_bytes(content[:1000])
  elif damage == "wrong":
    other = gzip.compress(b"something else altogether")
    path.write_bytes(other + bytes(len(content) - len(other)))
  else:
    path.unlink()
  refused(
    processes.run(
      ADAM,
      f"--config.data.manual_dir={folder}",
      f"--workdir={tmp_path / 'run'}",
      TFDS_DATA_DIR=str(tmp_path / "data"),
    ),
    2,
    str(path),
  )


FIRST_CHUNK = """
import os, sys
from mnist_mlp import main
from mnist_mlp.core import steps
from mnist_mlp.run import cli

def first_chunk(*arguments, **options):
  print(*sorted({name.partition(".")[0] for name in sys.modules}), flush=True)
  os._exit(0)  # All is seen.

steps.train_chunk = first_chunk
cli.run(main.main, main.define_flags)
"""


def test_nothing_is_imported_before_the_device_works_that_can_wait(digits_dir, tmp_path):
  done = processes.python(
    FIRST_CHUNK,
    ADAM,
    "--config.data.name=digits",
    f"--config.data.data_dir={digits_dir}",
    "--config.data.validation_examples=0",
    "--config.num_epochs=1",
    f"--workdir={tmp_path}",
  )
  assert done.returncode == 0, done.stderr
  line = next(line for line in done.stdout.splitlines() if " jax " in line)
  assert not set(line.split()) & {
    "orbax",
    "tensorboard",
    "matplotlib",
    "tqdm",
    "tensorflow",
    "tensorflow_datasets",
  }
