import json
import math
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import small

from mnist_mlp import config
from mnist_mlp.errors import RunError, UsageError
from mnist_mlp.run.workdir import Workdir, chosen

CONFIG = small.config_of(seed=1)

HOLD = """
import sys
from mnist_mlp.config import from_json
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
  folder.write_json("result.json", {"steps": 3})
  assert folder.result() == {"steps": 3}
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
  if os.path.exists("/dev/full"):
    (tmp_path / ".x.json.tmp").symlink_to("/dev/full")
    with pytest.raises(RunError, match=r"cannot write .*x\.json: No space left on device"):
      folder.write_json("x.json", {"new": 2})
    assert folder.read_json("x.json") == {"old": 1}


WRITER = """
import sys
from mnist_mlp.run.workdir import Workdir
for i in range(400):
  Workdir(sys.argv[1]).write_json("x.json", {"i": i, "filling": "x" * 100_000})
"""


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


ROWS = [{"step": 6, "train/loss": 0.1 + 0.2}, {"step": 12, "train/loss": math.nan}, {"step": 18}]


def test_metrics_are_read_back_as_they_were_added(tmp_path):
  folder = Workdir(tmp_path)
  assert folder.metrics() == []
  for row in ROWS:
    folder.append_metrics(row)
  rows = folder.metrics()
  assert [row["step"] for row in rows] == [6, 12, 18]
  assert rows[0] == ROWS[0]
  assert math.isnan(rows[1]["train/loss"])


def test_a_config_file_of_other_bytes_than_text_is_an_error(tmp_path):
  (tmp_path / "config.json").write_bytes(b"\xff\xfe\x80")
  with pytest.raises(RunError, match=r"cannot read .*config\.json: .*utf-8"):
    Workdir(tmp_path).config()


@pytest.mark.parametrize("torn", [b"{", b"\xff\xfe", b'{"step": 24, "tra', b"\0\0\0\0"])
def test_a_torn_last_line_is_left_out_and_cut_off_before_the_run_goes_on(tmp_path, torn):
  folder = Workdir(tmp_path)
  for row in ROWS:
    folder.append_metrics(row)
  with (tmp_path / "metrics.jsonl").open("ab") as file:
    file.write(torn)
  assert [row["step"] for row in folder.metrics()] == [6, 12, 18]
  folder.truncate_metrics(18)
  folder.append_metrics({"step": 24})
  lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
  assert [json.loads(line)["step"] for line in lines] == [6, 12, 18, 24]


def test_truncating_drops_the_rows_after_a_step(tmp_path):
  folder = Workdir(tmp_path)
  folder.truncate_metrics(0)
  assert folder.metrics() == []
  for row in ROWS:
    folder.append_metrics(row)
  folder.truncate_metrics(12)
  assert [row["step"] for row in folder.metrics()] == [6, 12]
  folder.truncate_metrics(0)
  assert (tmp_path / "metrics.jsonl").read_text() == ""


def test_a_full_disk_is_a_clear_error(tmp_path):
  if not os.path.exists("/dev/full"):
    pytest.skip("this system has no /dev/full")
  (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
  with pytest.raises(RunError, match=r"cannot write .*metrics\.jsonl: No space left on device"):
    Workdir(tmp_path).append_metrics({"step": 1})
