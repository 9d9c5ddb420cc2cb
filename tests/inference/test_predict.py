"""`python -m mnist_mlp.predict`, as a process: every odd file, each in its own way."""

import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import zlib

import numpy as np
import processes
import pytest
from handwriting import gray_picture, saved, seven
from PIL import Image

PREDICT = "mnist_mlp.predict"


def with_size(png, width, height):
  """Returns the PNG file's bytes with another size in its header, its checksum right."""
  header = b"IHDR" + struct.pack(">II", width, height) + png[24:29]
  return png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[33:]


def write_odd_files(folder):
  """Writes pictures of a 7 and files that are none; returns what is to be said of each."""
  digit, gray = "a label", gray_picture(seven())
  alpha = Image.fromarray(np.uint8(255 * seven()))
  black = Image.new("L", gray.size)
  palette = gray.convert("P")
  palette.info["transparency"] = 230
  wide = gray_picture(np.pad(seven(), ((0, 0), (15000, 4860))))
  assert wide.width == 20000
  pictures = {
    "16 bits.png": Image.fromarray(np.uint16(30000 - 20000 * seven())),
    "animated.gif": gray,
    "cmyk.jpg": gray.convert("CMYK"),
    "float.tif": Image.fromarray(seven()),
    "on nothing.png": Image.merge("LA", (black, alpha)),
    "palette.png": palette,
    "one bit.png": gray.convert("L").point(lambda v: 255 * (v > 128)).convert("1"),
    "wide.png": wide,
    "ünïcode 7.bmp": gray,
  }
  for name, picture in pictures.items():
    more = {"save_all": True, "append_images": [black]} if name == "animated.gif" else {}
    picture.save(folder / name, **more)
  no_ink = {
    "black.png": black,
    "white.png": Image.new("RGB", (90, 90), "white"),
    "1x1.png": Image.new("L", (1, 1)),
    "invisible.png": Image.new("RGBA", (50, 50)),
  }
  for name, picture in no_ink.items():
    picture.save(folder / name)
  png = saved(gray, "PNG")
  contents = {
    "turned.jpg": (saved(gray, "JPEG", 6), digit),
    "wrong name.jpg": (png, digit),
    "empty.png": (b"", "is empty"),
    "truncated.png": (png[: len(png) // 2], "is damaged"),
    "damaged.jpg": (saved(gray, "JPEG")[:700], "is damaged"),
    "text.png": (b"not a picture", "is not a picture of a known format"),
    "bomb.png": (with_size(png, 60000, 60000), "has more than 89,478,485 pixels"),
    "flat.png": (with_size(png, 0, 0), "is not a picture|is damaged"),
  }
  for name, (content, _) in contents.items():
    (folder / name).write_bytes(content)
  (folder / "a folder without pictures").mkdir()
  return {
    **dict.fromkeys(pictures, digit),
    **dict.fromkeys(no_ink, "no ink"),
    **{name: said for name, (_, said) in contents.items()},
    "a folder without pictures": "holds no pictures",
    "missing.png": "does not exist",
    "/dev/null": "is not a file",
  }


def test_odd_files(trained_run, tmp_path):
  expected = write_odd_files(tmp_path)
  assert len(expected) >= 20
  done = processes.run(
    f"--workdir={trained_run}", "--json", *(tmp_path / name for name in expected), module=PREDICT
  )
  assert done.returncode == 1
  assert "Traceback" not in done.stderr
  said = {row["picture"]: row for row in json.loads(done.stdout)}
  assert len(said) == len(expected)
  for name, what in expected.items():
    row = said[str(tmp_path / name)]
    if what == "a label":
      assert (row["label"], row["note"]) == (said[str(tmp_path / "16 bits.png")]["label"], ""), name
      assert sum(row["probabilities"].values()) == pytest.approx(1)
      assert row["probability"] == max(row["probabilities"].values())
    elif what == "no ink":
      assert (row["label"], row["probability"], row["note"]) == (None, None, "no ink"), name
    else:
      assert any(part in row["error"] for part in what.split("|")), row
      assert f"error: {row['error']}\n" in done.stderr
  errors = sum("error" in row for row in said.values())
  assert done.stderr.count("\n") == errors  # one line each, and nothing else


def test_table_folder_standard_input_and_figure(trained_run, tmp_path):
  folder = tmp_path / "pictures"
  folder.mkdir()
  for name, picture in {
    "b.png": gray_picture(seven()),
    "a.jpg": gray_picture(seven(), 200, 20),
    "c.png": Image.new("L", (30, 30)),
  }.items():
    picture.save(folder / name)
  for name in ("notes.txt", "scan.pdf", "._b.png"):  # The last is what a Mac leaves beside b.png.
    (folder / name).write_text("not among the pictures")
  figure = tmp_path / "seen.png"
  done = subprocess.run(
    processes.command(folder, "-", f"--workdir={trained_run}", f"--show={figure}", module=PREDICT),
    cwd=processes.ROOT,
    input=saved(gray_picture(seven()), "PNG"),
    capture_output=True,
  )
  assert done.returncode == 0, done.stderr
  assert f"note: passed over in {folder}: notes.txt, scan.pdf\n" in done.stderr.decode()
  header, *lines = done.stdout.decode().splitlines()
  assert header.split() == ["picture", "label", "sure", *"0123456789"]
  names = [line[: header.index("label")].strip() for line in lines]
  assert names == [*(str(folder / name) for name in ("a.jpg", "b.png", "c.png")), "standard input"]
  cells = lines[1][header.index("label") :].split()
  shares = [float(cell.rstrip("%")) for cell in cells[1:]]
  assert shares[0] == max(shares[1:]) == shares[1 + int(cells[0])]
  assert sum(shares[1:]) == pytest.approx(100, abs=0.6)
  assert lines[2].endswith("no ink")
  assert lines[3].split()[2:] == lines[1].split()[1:]  # the same picture
  with Image.open(figure) as image:
    assert image.width > 300 and len(image.convert("L").getcolors()) > 10
  assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.slow
def test_several_digits_in_pictures(trained_run, tmp_path):
  page = np.concatenate([seven(), seven()], 1)
  gray_picture(page).save(tmp_path / "two.png")
  gray_picture(np.concatenate([page, page])).save(tmp_path / "four.png")
  arguments = ["--several", f"--workdir={trained_run}", "two.png", "four.png"]
  printed, as_json = (
    subprocess.run(
      processes.command(*more, module=PREDICT),
      cwd=tmp_path,
      env={**os.environ, "PYTHONPATH": str(processes.ROOT)},
      capture_output=True,
      text=True,
      check=True,
    ).stdout
    for more in ([*arguments, "--show=seen.png"], [*arguments, "--json"])
  )
  header, *lines = [line.split()[:2] for line in printed.splitlines()]
  assert header == ["picture", "number"]
  assert [name for name, _ in lines] == ["two.png", "four.png", "four.png"]
  numbers = [number for _, number in lines]
  assert [row["numbers"] for row in json.loads(as_json)] == [numbers[:1], numbers[1:]]
  assert all(len(number) == 2 and number.isdigit() for number in numbers)
  with Image.open(tmp_path / "seen.png") as image:
    assert image.height > 300


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (["a.png"], "--workdir is missing"),
    (["--workdir=x"], "no pictures"),
    (["--workdir=x", "a.png", "--show=b.gif"], "--show is 'b.gif', but must be"),
    (["--workdir=x", "a.png", "--show=no/b.png"], "the folder no does not exist"),
    (["--workdir=x", "a.png", "--show=~nobody_of_that_name/b.png"], "no user called 'nobody_of"),
    (["--workdir=x", "a.png", "--show=a.png"], "one of the pictures"),
    (["--workdir=x", "a.png", "--jsn"], "jsn"),
    (["--workdir=no/run", "a.png"], "the workdir no/run does not exist"),
    (["--workdir=\x1b[31mno", "a.png"], "the workdir \\x1b[31mno does not exist"),
  ],
)
def test_usage_errors(arguments, message):
  done = processes.run(*arguments, module=PREDICT)
  assert done.returncode == 2
  assert done.stdout == ""
  assert done.stderr.startswith("error: ") and message in done.stderr
  assert "\x1b" not in done.stderr
  assert "Traceback" not in done.stderr


def test_the_figure_replaces_no_picture_of_a_folder(trained_run, tmp_path):
  gray_picture(seven()).save(tmp_path / "b.png")
  before = (tmp_path / "b.png").read_bytes()
  (tmp_path / "link").symlink_to(tmp_path)
  for name in ("b.png", "seen.png", "link/b.png"):
    done = processes.run(
      f"--workdir={trained_run}", tmp_path, f"--show={tmp_path / name}", module=PREDICT
    )
    assert done.returncode == 2
    assert "in a folder of the pictures" in done.stderr
  assert (tmp_path / "b.png").read_bytes() == before
  assert not (tmp_path / "seen.png").exists()


@pytest.mark.slow
def test_names_that_are_formulas_or_no_text(trained_run, tmp_path):
  names = [b"a$x_$b.png", b"caf\xe9.png", b"\x1b[2J\nerror: x.png", "七.png".encode()]
  names.append(b"a" * 300 + b".png")
  for name in names[:4]:
    (tmp_path / os.fsdecode(name)).write_bytes(saved(gray_picture(seven()), "PNG"))
  (tmp_path / ".seen.png.tmp").symlink_to(tmp_path / "another.png")
  done = subprocess.run(
    processes.command(
      *(tmp_path / os.fsdecode(name) for name in names),
      "--show=seen.png",
      f"--workdir={trained_run}",
      module=PREDICT,
    ),
    cwd=tmp_path,
    capture_output=True,
    env={**os.environ, "PYTHONPATH": str(processes.ROOT), "PYTHONIOENCODING": "utf-8:strict"},
  )
  assert done.returncode == 1
  assert done.stderr.endswith(b".png cannot be read: File name too long\n")
  assert done.stderr.count(b"\n") == 1
  assert rb"\x1b[2J\nerror: x.png  " in done.stdout and b"\x1b" not in done.stdout + done.stderr
  assert b"a$x_$b.png  " in done.stdout and rb"caf\udce9.png  " in done.stdout
  assert (tmp_path / "seen.png").stat().st_size > 1000
  assert not (tmp_path / "another.png").exists()


@pytest.mark.slow
def test_a_reader_that_goes_away_ends_it_without_a_word(trained_run, tmp_path):
  gray_picture(seven()).save(tmp_path / "a.png")
  with subprocess.Popen(
    processes.command(f"--workdir={trained_run}", tmp_path / "a.png", module=PREDICT),
    cwd=processes.ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
  ) as running:
    running.stdout.close()
    errors = running.stderr.read()
  assert (running.returncode, errors) == (128 + signal.SIGPIPE, "")


@pytest.mark.slow
def test_a_run_on_images_that_may_be_unlike_mnists_gets_a_note(trained_run, tmp_path):
  workdir = tmp_path / "run"
  shutil.copytree(trained_run, workdir)
  facts = json.loads((workdir / "dataset.json").read_text())
  facts = {**facts, "name": "scans", "stand_in_for": "mnist", "pen_strokes": False}
  (workdir / "dataset.json").write_text(json.dumps(facts))
  gray_picture(seven()).save(tmp_path / "a.png")
  done = processes.run(f"--workdir={workdir}", tmp_path / "a.png", "--as=strokes", module=PREDICT)
  assert done.returncode == 0
  assert done.stderr.startswith("note: pictures are made into images like MNIST's")
  assert "if those of scans are not like that" in done.stderr
  assert "note: the net was trained on scans" in done.stderr


@pytest.mark.slow
def test_a_run_of_other_images(trained_run, tmp_path):
  workdir = tmp_path / "run"
  shutil.copytree(trained_run, workdir)
  facts = json.loads((workdir / "dataset.json").read_text())
  (workdir / "dataset.json").write_text(json.dumps({**facts, "image_shape": [32, 32, 3]}))
  done = processes.run(f"--workdir={workdir}", "a.png", module=PREDICT)
  # Neither the images nor the checkpoint fit.
  assert done.returncode in (1, 2)
  assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def test_help_takes_no_time():
  done = subprocess.run(
    [sys.executable, "-X", "importtime", "-m", PREDICT, "--help"],
    cwd=processes.ROOT,
    capture_output=True,
    text=True,
  )
  assert "--workdir" in done.stdout and "--show" in done.stdout
  assert not any(line.endswith(("| jax", " tensorflow")) for line in done.stderr.splitlines())
