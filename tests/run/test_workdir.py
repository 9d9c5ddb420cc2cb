import json
import math
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import small
from limits import small_files

from mnist_mlp import config
from mnist_mlp.errors import RunError, UsageError
from mnist_mlp.run.workdir import Workdir, chosen, logdir_of

CONFIG = small.config_of(seed=1)

HOLD = """
import sys
from mnist_mlp.run.config_json import from_json
from mnist_mlp.run.workdir import Workdir
with Workdir(sys.argv[1]).claim(from_json(sys.argv[2])) as folder:
  folder.keep_config(from_json(sys.argv[2]))
  print("held", flush=True)
  sys.stdin.read()
"""


def test_claim_makes_the_folder_and_writes_the_config(tmp_path):
  path = tmp_path / "a" / "b"
  assert Workdir(path).config() is None
  assert not path.exists(), "reading made the folder"
  with Workdir(path).claim(CONFIG) as folder:
    folder.keep_config(CONFIG)
    assert folder.path == path
    assert config.differences(folder.config(), CONFIG) == ""
    assert folder.result() is None
  with Workdir(str(path)).claim(CONFIG):  # Again, once it is free.
    pass
  assert sorted(file.name for file in path.iterdir()) == [".lock", "config.json"]


def test_a_folder_in_which_nothing_was_written_is_removed(tmp_path):
  with Workdir(tmp_path / "run").claim(CONFIG):
    assert (tmp_path / "run").is_dir()
  assert not (tmp_path / "run").exists()
  (tmp_path / "run").mkdir()
  (tmp_path / "run" / "notes.txt").write_text("mine")
  with Workdir(tmp_path / "run").claim(CONFIG):
    pass
  assert (tmp_path / "run" / "notes.txt").read_text() == "mine"


def test_a_folder_that_was_there_stays(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(RunError, match="no data"), Workdir(".").claim(CONFIG):
    raise RunError("no data")
  assert list(tmp_path.iterdir()) == []


def test_new_folders_of_one_second_are_different(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(time, "strftime", lambda form: "20261121-120000")
  with chosen(None, "adam") as first, chosen(None, "adam") as second:
    assert (str(first), str(second)) == ("runs/adam-20261121-120000", "runs/adam-20261121-120000-2")
    (second / "config.json").write_text("{}")
  assert not first.exists() and second.is_dir()
  with chosen("mine", "adam") as given:
    assert given == Path("mine")
  assert not given.exists()
  with pytest.raises(UsageError, match="--workdir is empty"), chosen("", "adam"):
    pass


def test_another_config_is_refused_with_the_difference(tmp_path):
  with Workdir(tmp_path).claim(CONFIG) as folder:
    folder.keep_config(CONFIG)
  before = (tmp_path / "config.json").read_bytes()
  other = small.config_of(seed=2, model__features=(3,))
  parts = ["config.model.features: (16, 12) -> (3,)", "config.seed: 1 -> 2", "another --workdir"]
  with pytest.raises(UsageError) as caught, Workdir(tmp_path).claim(other):
    pass
  for part in [str(tmp_path), *parts]:
    assert part in str(caught.value)
  assert (tmp_path / "config.json").read_bytes() == before


@pytest.mark.parametrize("text", ["{", '{"seed": 0}', ""])
def test_a_config_file_that_is_none_is_refused_and_left_alone(tmp_path, text):
  (tmp_path / "config.json").write_text(text)
  with (
    pytest.raises(UsageError, match=r"config\.json: .*another --workdir"),
    Workdir(tmp_path).claim(CONFIG),
  ):
    pass
  assert (tmp_path / "config.json").read_text() == text


def test_a_second_process_is_refused_at_once(tmp_path):
  command = [sys.executable, "-c", HOLD, str(tmp_path), config.to_json(CONFIG)]
  holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
  try:
    assert holder.stdout.readline() == "held\n"
    started = time.monotonic()
    with (
      pytest.raises(RunError, match=f"{tmp_path} is in use by another process"),
      Workdir(tmp_path).claim(CONFIG),
    ):
      pass
    assert time.monotonic() - started < 2
    assert config.differences(Workdir(tmp_path).config(), CONFIG) == "", "reading needs no claim"
  finally:
    holder.kill()  # A killed holder leaves no lock behind.
    holder.communicate()
  with Workdir(tmp_path).claim(CONFIG):
    pass


def test_a_process_that_claims_a_held_folder_ends_with_the_error(tmp_path):
  with Workdir(tmp_path).claim(CONFIG):
    other = subprocess.run(
      [sys.executable, "-c", HOLD, str(tmp_path), config.to_json(CONFIG)],
      timeout=60,
      capture_output=True,
      text=True,
      stdin=subprocess.DEVNULL,
    )
  assert other.returncode == 1
  assert "held" not in other.stdout
  assert "is in use by another process" in other.stderr.splitlines()[-1]


def test_folder_that_cannot_be_made(tmp_path):
  (tmp_path / "file").write_text("")
  for path in (tmp_path / "file", tmp_path / "file" / "run", "/proc/no_such_run"):
    with pytest.raises(RunError) as caught, Workdir(path).claim(CONFIG):
      pass
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_json_round_trip(tmp_path):
  folder = Workdir(tmp_path)
  assert folder.read_json("x.json") is None
  folder.write_json("x.json", {"a": [1, 0.1, None, "ä"]})
  assert folder.read_json("x.json") == {"a": [1, 0.1, None, "ä"]}
  result = {"steps": 3, "dataset": {"name": "digits"}, "test": {"error_percent": 1}}
  folder.write_json("result.json", result)
  assert folder.result() == result
  assert sorted(file.name for file in tmp_path.iterdir()) == ["result.json", "x.json"]


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe"])
def test_json_that_is_damaged_is_an_error(tmp_path, content):
  (tmp_path / "result.json").write_bytes(content)
  with pytest.raises(RunError, match=re.escape(str(tmp_path / "result.json"))):
    Workdir(tmp_path).result()


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
  folder = Workdir(tmp_path)
  folder.write_json("x.json", {"old": 1})
  with pytest.raises(TypeError):
    folder.write_json("x.json", {"new": object()})
  assert folder.read_json("x.json") == {"old": 1}
  with small_files(100), pytest.raises(RunError, match=r"cannot write .*x\.json: File too large"):
    folder.write_json("x.json", {"new": "x" * 200})
  assert folder.read_json("x.json") == {"old": 1}
  assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


WRITER = """
import sys
from mnist_mlp.run.workdir import Workdir
for i in range(400):
  Workdir(sys.argv[1]).write_json("x.json", {"i": i, "filling": "x" * 100_000})
"""


@pytest.mark.slow
def test_a_reader_never_sees_half_a_file(tmp_path):
  folder, seen = Workdir(tmp_path), set()
  folder.write_json("x.json", {"i": -1, "filling": "x" * 100_000})
  writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)])
  while writer.poll() is None:
    value = folder.read_json("x.json")
    assert len(value["filling"]) == 100_000
    seen.add(value["i"])
  assert writer.returncode == 0
  assert len(seen) > 2, "the writer was never caught at work"


def test_a_config_file_of_other_bytes_than_text_is_an_error(tmp_path):
  (tmp_path / "config.json").write_bytes(b"\xff\xfe\x80")
  with pytest.raises(RunError, match=r"cannot read .*config\.json: .*utf-8"):
    Workdir(tmp_path).config()


def test_home_is_expanded_and_all_else_is_literal(tmp_path, monkeypatch):
  monkeypatch.setenv("HOME", str(tmp_path / "home"))
  monkeypatch.chdir(tmp_path)
  with chosen("~/runs/a", "adam") as path, Workdir(path).claim(CONFIG) as folder:
    assert folder.path == tmp_path / "home" / "runs" / "a"
  odd = Workdir("[0-9]* ~ $HOME")
  with odd.claim(CONFIG):
    odd.write_json("x.json", {"a": 1})
  assert odd.read_json("x.json") == {"a": 1}
  assert sorted(path.name for path in tmp_path.iterdir()) == ["[0-9]* ~ $HOME", "home"]
  with pytest.raises(UsageError, match="no user called"):
    Workdir("~nobody_of_that_name/x")


def test_a_parent_that_is_a_dangling_link_is_an_error(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "runs").symlink_to("gone")
  with pytest.raises(RunError, match="cannot make a folder in runs: File exists"):
    chosen(None, "adam").__enter__()


def keep(path):
  """Makes the folder of a run of CONFIG."""
  with Workdir(path).claim(CONFIG) as folder:
    folder.keep_config(CONFIG)
    folder.write_json("dataset.json", {})


def test_a_folder_of_runs_is_not_taken_for_a_run(tmp_path):
  for name in "abcde":
    keep(tmp_path / "runs" / name)
    keep(tmp_path / "sweep" / "members" / name)
  before = sorted(tmp_path.rglob("*"))
  with pytest.raises(UsageError) as caught, Workdir(tmp_path / "runs").claim(CONFIG):
    pass
  assert "is a folder of runs, such as " in str(caught.value)
  assert str(caught.value).count(str(tmp_path / "runs")) == 5
  with (
    pytest.raises(UsageError, match="sweep is the folder of a sweep"),
    Workdir(tmp_path / "sweep").claim(CONFIG),
  ):
    pass
  assert sorted(tmp_path.rglob("*")) == before
  keep(tmp_path / "sweep" / "winner")  # Which has a folder of its own.


def test_where_the_data_lie_is_no_part_of_what_a_run_is(tmp_path):
  keep(tmp_path / "run")
  for field in ("data_dir", "manual_dir", "files"):
    moved = small.config_of(seed=1, **{f"data__{field}": str(tmp_path)})
    Workdir(tmp_path / "run").check_config(moved)
  for field, value in (("name", "emnist"), ("validation_examples", 7), ("offline", "")):
    other = small.config_of(seed=1, **{f"data__{field}": value})
    with pytest.raises(UsageError, match=rf"config\.data\.{field}: "):
      Workdir(tmp_path / "run").check_config(other)


WITHOUT_LOCKS = """
import errno, fcntl, sys
from mnist_mlp.run.workdir import Workdir

def flock(descriptor, operation):  # As a file system answers that cannot lock.
  raise OSError(errno.{name}, "no locks here")

fcntl.flock = flock
for path in sys.argv[1:]:
  with Workdir(path).lock():
    print("went on")
"""


@pytest.mark.parametrize("name", ["ENOLCK", "ENOSYS", "EOPNOTSUPP"])
def test_a_file_system_without_locks_is_said_once_and_used(tmp_path, name):
  program = WITHOUT_LOCKS.replace("{name}", name)
  paths = [str(tmp_path / "a"), str(tmp_path / "b")]
  done = subprocess.run(
    [sys.executable, "-c", program, *paths], capture_output=True, text=True, timeout=60
  )
  assert done.stdout == "went on\nwent on\n", done.stderr
  assert done.stderr.count("cannot lock the workdir (no locks here)") == 1


WRITTEN = ("dataset.json", "environment.json", "result.json", "stopped.json", "members.json")


@pytest.mark.parametrize("content", ["{}", "[]", "3", '"x"', "null", '{"test": 3, "steps": []}'])
@pytest.mark.parametrize("name", WRITTEN)
def test_other_json_than_the_program_wrote_is_one_sentence(tmp_path, name, content):
  (tmp_path / name).write_text(content)
  with pytest.raises(RunError) as caught:
    Workdir(tmp_path).read_json(name)
  assert str(caught.value).startswith(f"{tmp_path / name} is damaged: ")
  assert "\n" not in str(caught.value)


def test_numbers_that_json_lacks_become_null(tmp_path):
  Workdir(tmp_path).write_json("x.json", {"a": [math.inf, 1.5], "b": {"c": math.nan}})
  text = (tmp_path / "x.json").read_text()
  assert json.loads(text, parse_constant=pytest.fail) == {"a": [None, 1.5], "b": {"c": None}}


def test_what_killed_processes_left_is_removed_once_the_folder_is_held(tmp_path):
  left = tmp_path / ".config.json.0123456789abcdef.tmp"
  left.write_text("half")
  (tmp_path / ".mine.tmp").write_text("mine")
  with Workdir(tmp_path).claim(CONFIG):
    assert not left.exists()
  assert (tmp_path / ".mine.tmp").exists()


def test_tensorboard_gets_the_folder_above_if_it_holds_nothing_but_runs(tmp_path):
  run, sweep = tmp_path / "runs" / "a", tmp_path / "runs" / "sweep"
  for folder, name in ((run, "config.json"), (sweep, "members")):
    folder.mkdir(parents=True)
    (folder / name).touch()
  (tmp_path / "runs" / ".DS_Store").touch()
  assert logdir_of(run) == tmp_path / "runs"
  for other in ("notes.txt", "photos/config.py"):
    path = tmp_path / "runs" / other
    path.parent.mkdir(exist_ok=True)
    path.touch()
    assert logdir_of(run) == run
    path.unlink()
  assert logdir_of(tmp_path / "gone" / "b") == tmp_path / "gone" / "b"
