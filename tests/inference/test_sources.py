"""Where pictures come from: folders with other things in them, and standard input."""

import io
import os

import pytest
from handwriting import gray_picture, saved, seven

from mnist_mlp.data import pictures
from mnist_mlp.inference import sources


def read(*arguments):
  """Returns the names that were read, the failures, and what was reported."""
  lines = []
  found, failures = sources.read_all(
    [str(argument) for argument in arguments], lines.append, lambda name, image: name
  )
  return found, [failure.reason for failure in failures], lines


def test_what_a_folder_holds_besides_pictures_is_named(tmp_path, monkeypatch):
  monkeypatch.setattr(pictures, "_reads_heif", lambda: False)
  for name in ("a.png", "b.jpg"):
    gray_picture(seven()).save(tmp_path / name)
  for name in ("._a.png", ".DS_Store", "phone.HEIC", "scan.pdf"):
    (tmp_path / name).write_bytes(b"?")
  (tmp_path / "more.png").mkdir()
  found, failures, lines = read(tmp_path)
  assert found == [str(tmp_path / "a.png"), str(tmp_path / "b.jpg")] and failures == []
  heif = "phone.HEIC (reading it takes pip install 'mnist_mlp[heif]')"
  assert lines == [f"note: passed over in {tmp_path}: more.png/, {heif}, scan.pdf"]


def test_only_the_first_of_many_are_named(tmp_path):
  gray_picture(seven()).save(tmp_path / "a.png")
  for number in range(8):
    (tmp_path / f"{number}.txt").touch()
  assert read(tmp_path)[2] == [
    f"note: passed over in {tmp_path}: 0.txt, 1.txt, 2.txt, 3.txt, 4.txt and 3 more"
  ]


def test_a_folder_with_heif_files(tmp_path):
  file = io.BytesIO()
  pytest.importorskip("pillow_heif").from_pillow(gray_picture(seven()).convert("RGB")).save(file)
  (tmp_path / "a.heic").write_bytes(file.getvalue())
  assert read(tmp_path) == ([str(tmp_path / "a.heic")], [], [])


@pytest.fixture
def standard_input(monkeypatch):
  """Returns the end of a pipe whose other end is standard input."""
  reading, writing = os.pipe()
  with os.fdopen(reading, "r") as stream, os.fdopen(writing, "wb") as pipe:
    monkeypatch.setattr("sys.stdin", stream)
    yield pipe


def test_a_picture_from_standard_input(standard_input):
  standard_input.write(saved(gray_picture(seven()).resize((35, 45)), "PNG"))
  standard_input.close()
  assert read("-", "-") == (
    ["standard input"],
    ["standard input is empty"],
    ["error: standard input is empty"],
  )


def test_waiting_for_standard_input_is_said(standard_input, monkeypatch):
  monkeypatch.setattr(sources, "_PATIENCE", 0.01)
  lines = []

  def report(line):
    lines.append(line)
    standard_input.close()  # Nothing comes any more.

  sources.read_all(["-"], report, lambda name, image: name)
  assert lines[0] == "waiting for a picture on standard input"
  assert lines[1:] == ["error: standard input is empty"]


def test_standard_input_without_an_end(monkeypatch):
  with open("/dev/zero") as zeros:
    monkeypatch.setattr("sys.stdin", zeros)
    assert read("-")[1] == ["standard input has more than 300 MB; make it smaller"]


def test_standard_input_that_is_closed(monkeypatch):
  monkeypatch.setattr("sys.stdin", None)
  assert read("-")[1] == ["standard input is closed"]
