"""The names under `mnist_mlp` itself, in a script as programs of others have it."""

import json
import threading

import processes
import pytest
import small

import mnist_mlp as mm
from mnist_mlp import config, train
from mnist_mlp.run.workdir import Workdir

CHEAP = """
import sys
import mnist_mlp as mm
dir(mm)
costly = {"jax", "numpy", "ml_collections", "absl", "matplotlib", "pandas", "PIL", "IPython"}
assert not costly & set(sys.modules), costly & set(sys.modules)
mm.config.default()
assert "jax" not in sys.modules
"""


def test_importing_the_package_imports_next_to_nothing():
  done = processes.python(CHEAP)
  assert done.returncode == 0, done.stderr


def test_every_name_leads_somewhere():
  assert (mm.config, mm.train) == (config, train)
  assert mm.train_and_evaluate is train.train_and_evaluate
  for name in mm.__all__:
    assert name in dir(mm)
    try:
      assert getattr(mm, name) is not None
    except ModuleNotFoundError as error:  # A fork may have deleted a room.
      assert not (processes.ROOT / error.name.replace(".", "/")).exists()
  with pytest.raises(AttributeError, match="no_such_name"):
    mm.no_such_name  # noqa: B018


def test_a_recipe_is_a_config_by_name():
  assert mm.recipe("adam").optimizer.name == "adamw"
  with pytest.raises(mm.UsageError, match="did you mean 'adam'"):
    mm.recipe("admm")


def of_digits(digits_dir):
  """Returns a config of twelve steps of training on digits, evaluated after every third."""
  c = small.config_of(num_steps=12, eval_every_steps=3)
  c.data.name, c.data.data_dir, c.data.validation_examples = "digits", str(digits_dir), 50
  return c


def read(folder, name):
  return (folder / name).read_bytes()


@pytest.fixture(scope="module")
def whole(digits_dir, tmp_path_factory):
  """The folder of a run that nobody stopped, its state, and the rows that it called back with."""
  folder, rows = tmp_path_factory.mktemp("whole"), []
  state = mm.train_and_evaluate(of_digits(digits_dir), folder, on_evaluation=rows.append)
  return folder, state, rows


@pytest.mark.slow
def test_each_evaluation_is_called_back_with_its_row(whole):
  folder, _, rows = whole
  assert rows == Workdir(folder).metrics() and [row["step"] for row in rows] == [3, 6, 9, 12]


@pytest.mark.slow
def test_a_run_that_is_stopped_has_the_state_of_that_step_and_goes_on_to_the_same_bits(
  whole, digits_dir, tmp_path, capsys
):
  folder, last, _ = whole
  c, seen = of_digits(digits_dir), []

  def stop(row):
    seen.append(row["step"])
    row.clear()  # It is the caller's own.
    return len(seen) == 2

  state = mm.train_and_evaluate(c, tmp_path, on_evaluation=stop)
  assert int(state.step) == 6 and seen == [3, 6]
  assert "stopped after step 6 of 12" in capsys.readouterr().out
  assert not (tmp_path / "result.json").exists()
  assert mm.load_run(tmp_path).step == 6
  assert small.differing(mm.load_run(tmp_path).state.params, state.params) == []
  resumed = mm.train_and_evaluate(c, tmp_path, on_evaluation=lambda row: row["step"] == 12)
  assert small.differing(resumed.params, last.params) == []
  assert read(tmp_path, "metrics.jsonl") == read(folder, "metrics.jsonl")
  assert json.loads(read(tmp_path, "result.json"))["steps"] == 12, "to stop at the end is to end"


@pytest.mark.slow
def test_an_error_in_the_callback_loses_nothing(whole, digits_dir, tmp_path):
  def fail(row):
    raise KeyError(f"at step {row['step']}")

  with pytest.raises(KeyError, match="at step 3"):
    mm.train_and_evaluate(of_digits(digits_dir), tmp_path, on_evaluation=fail)
  assert mm.load_run(tmp_path).step == 3
  state = mm.train_and_evaluate(of_digits(digits_dir), tmp_path)
  assert small.differing(state.params, whole[1].params) == []


@pytest.mark.slow
def test_a_run_in_a_thread_is_the_same_run(whole, digits_dir, tmp_path):
  states = []
  thread = threading.Thread(
    target=lambda: states.append(mm.train_and_evaluate(of_digits(digits_dir), tmp_path))
  )
  thread.start()
  thread.join(300)
  assert small.differing(states[0].params, whole[1].params) == []


SCRIPT = """
import sys
from absl import flags
for name in ("config", "workdir", "profile", "points"):  # As the commands have them.
  flags.DEFINE_string(name, "mine", "of another program")
import mnist_mlp as mm

c = mm.recipe("sgd")
c.data.name, c.data.validation_examples, c.model.features = "digits", 50, (8,)
c.num_epochs = 2.0
for name in ("a", "b"):
  mm.train_and_evaluate(c, f"{sys.argv[1]}/{name}")
c.num_epochs = 3.0
try:
  mm.train_and_evaluate(c, f"{sys.argv[1]}/a")
except mm.UsageError as error:
  print("refused:", error)
flags.FLAGS(["program", "--config=still mine"])
assert flags.FLAGS.config == "still mine"
"""


@pytest.mark.slow
def test_a_script_with_flags_of_its_own_trains_twice_without_a_terminal(tmp_path, digits_dir):
  done = processes.python(SCRIPT, tmp_path, TFDS_DATA_DIR=str(digits_dir))
  assert done.returncode == 0, done.stderr
  assert read(tmp_path / "a", "metrics.jsonl") == read(tmp_path / "b", "metrics.jsonl")
  assert "refused: the workdir " in done.stdout and "config.num_epochs: 2.0 -> 3.0" in done.stdout
  assert done.stderr == ""
