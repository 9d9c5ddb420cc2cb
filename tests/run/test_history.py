import json
import math

import pytest
from limits import small_files

from mnist_mlp.errors import RunError
from mnist_mlp.run.history import History

ROWS = [{"step": 6, "train/loss": 0.1 + 0.2}, {"step": 12, "train/loss": 1e-45}, {"step": 18}]


@pytest.fixture
def path(tmp_path):
  return tmp_path / "metrics.jsonl"


def filled(path):
  history = History(path)
  for row in ROWS:
    history.add(row)
  return history


def test_rows_are_read_back_as_they_were_added(path):
  assert History(path).read() == []
  history = filled(path)
  assert history.rows == history.read() == History(path).read() == ROWS


def test_numbers_that_json_lacks_become_null(path):
  history = History(path)
  history.add({"step": 6, "a": math.nan, "b": math.inf, "c": -math.inf})
  text = path.read_text()
  assert json.loads(text, parse_constant=pytest.fail)["b"] is None
  assert history.rows == history.read() == [{"step": 6, "a": None, "b": None, "c": None}]
  path.write_text('{"step": 6, "a": Infinity}\n')  # as version 0.2.0 wrote it
  assert History(path).read() == [{"step": 6, "a": None}]


TORN = [
  b"{",
  b"\xff\xfe",
  b'{"step": 24, "tra',
  b"\0\0\0\0",
  b"[1]",
  b'{"step": "x"}',
  b"[" * 99999,
]


@pytest.mark.parametrize("torn", TORN, ids=range(len(TORN)))
def test_a_torn_last_line_is_left_out(path, torn):
  filled(path)
  with path.open("ab") as file:
    file.write(torn)
  assert History(path).read() == ROWS


def test_a_start_writes_the_file_anew(path):
  history = filled(path)
  before = path.read_bytes()
  path.unlink()
  history.start(history.rows)
  assert path.read_bytes() == before
  history.start(ROWS[:1])
  history.add(ROWS[2])
  assert History(path).read() == history.rows == [ROWS[0], ROWS[2]]
  history.start([])
  assert path.read_bytes() == b""


def test_a_full_disk_is_a_clear_error(path):
  history = filled(path)
  with small_files(1), pytest.raises(RunError, match=r"cannot write .*metrics\.jsonl: File too la"):
    history.add({"step": 24})
  with small_files(1), pytest.raises(RunError, match=r"cannot write .*metrics\.jsonl: File too la"):
    history.start(ROWS)


def test_rows_are_never_added_through_a_link(path, tmp_path):
  (tmp_path / "precious").write_text("mine")
  path.symlink_to(tmp_path / "precious")
  with pytest.raises(RunError, match="cannot write"):
    History(path).add({"step": 1})
  History(path).start(ROWS)
  assert (tmp_path / "precious").read_text() == "mine"
  assert not path.is_symlink()
