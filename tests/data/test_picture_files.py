"""Files that hold pictures, and files that do not: the same for training and for prediction."""

import io
import os
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from handwriting import gray_picture, saved, seven
from PIL import Image

from mnist_mlp.data import formats, pictures
from mnist_mlp.errors import RunError

EPS = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 100 100
%%EndComments
0 0 100 100 rectfill
%%EOF
"""


def read(content):
  return pictures.load_picture(io.BytesIO(content), "picture")


def trained(content):
  return formats.picture_of(formats.Row("picture", content, 0))


def blank_png(width, height, bits, color):
  """Returns a PNG file of a black picture: a thousandth of what it unfolds to."""

  def chunk(kind, data):
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

  packer = zlib.compressobj(1)
  row = bytes(1 + width * bits // 8 * {0: 1, 2: 3, 6: 4}[color])
  data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
  header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
  chunks = chunk(b"IHDR", header), chunk(b"IDAT", data), chunk(b"IEND", b"")
  return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_an_animation_shows_its_first_frame():
  file = io.BytesIO()
  frames = [gray_picture(seven()), gray_picture(seven().T), Image.new("L", (140, 180))]
  frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
  shown = np.asarray(read(file.getvalue()).convert("L"), int)
  assert np.abs(shown - np.asarray(frames[0], int)).mean() < 3


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_training_and_prediction_turn_a_picture_alike(kind, orientation):
  content = saved(gray_picture(seven()), kind, orientation)
  predicted = np.asarray(read(content))
  assert (np.asarray(trained(content)) == predicted).all()
  assert np.abs(predicted.astype(int) - np.asarray(gray_picture(seven()), int)).mean() < 2


def test_metadata_that_cannot_be_read_do_no_harm():
  file = io.BytesIO()
  gray_picture(seven()).save(file, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
  assert read(file.getvalue()).size == gray_picture(seven()).size


def test_every_format_is_read_and_only_those():
  Image.init()
  picture = gray_picture(seven()).convert("RGB")
  names = set(pictures.FORMATS) & set(Image.SAVE) - {"HEIF"}
  assert {"PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "TGA", "PPM"} <= names
  for name in names:
    assert read(saved(picture, name)).size == picture.size
  for name in ("ICO", "PCX", "PDF"):
    with pytest.raises(RunError, match=r"not a picture of a known format \(AVIF.*PNG"):
      read(saved(picture, name))


def test_no_program_is_started_for_a_picture(tmp_path):
  """Pillow starts Ghostscript, `gs`, for what PostScript draws, whatever the file is called."""
  started, program = tmp_path / "started", tmp_path / "gs"
  program.write_text(f"#!/bin/sh\ntouch {started}\n")
  program.chmod(0o755)
  (tmp_path / "photo.png").write_bytes(EPS)
  opened = "from PIL import Image; Image.open('photo.png').load()"
  loaded = "from mnist_mlp.data import pictures; pictures.load_picture('photo.png')"
  for code, expected in ((opened, True), (loaded, False)):  # The first shows that the test sees it.
    done = subprocess.run(
      [sys.executable, "-c", code],
      cwd=tmp_path,
      env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
      capture_output=True,
      text=True,
    )
    assert done.returncode == 1
    assert started.exists() == expected
    started.unlink(missing_ok=True)
  assert "RunError: photo.png is not a picture of a known format" in done.stderr


def test_photographs_of_telephones():
  file = io.BytesIO()
  pytest.importorskip("pillow_heif").from_pillow(gray_picture(seven()).convert("RGB")).save(file)
  shown = np.asarray(read(file.getvalue()).convert("L"), int)
  assert np.abs(shown - np.asarray(gray_picture(seven()), int)).mean() < 5
  assert ".heic" in pictures.suffixes() and pictures.lacks("a.HEIC") == ""


@pytest.mark.slow
@pytest.mark.parametrize(("bits", "color"), [(16, 0), (8, 2), (16, 6)])
def test_the_largest_pictures_take_less_than_a_gigabyte(tmp_path, bits, color):
  (tmp_path / "a.png").write_bytes(blank_png(9400, 9500, bits, color))
  code = (
    "from mnist_mlp import inference\n"
    "assert inference.prepare(inference.load_picture('a.png')).pixels is None\n"
    # Not getrusage, which counts what the parent was before it started this program.
    "status = open('/proc/self/status', encoding='ascii').read()\n"
    "print(status.partition('VmHWM:')[2].split()[0])"
  )
  done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, check=True)
  assert int(done.stdout) < 1_000_000  # kB


@pytest.mark.parametrize("size", [(9500, 9500), (60000, 60000), (1, 90_000_000)])
def test_larger_pictures_are_refused_before_they_are_decoded(size):
  png = blank_png(10, 10, 8, 0)
  header = b"IHDR" + struct.pack(">II", *size) + png[24:29]
  png = png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[33:]
  for load in (read, trained):
    with pytest.raises(RunError, match="picture has more than 89,478,485 pixels; make it smaller"):
      load(png)


def test_files_and_streams_that_are_too_large_are_not_read(tmp_path):
  with open(tmp_path / "a.png", "wb") as file:
    file.truncate(pictures.MOST_BYTES + 1)
  with pytest.raises(RunError, match=r"a\.png has more than 300 MB"):
    pictures.load_picture(tmp_path / "a.png")
  with (
    open("/dev/zero", "rb") as zeros,
    pytest.raises(RunError, match="zeros has more than 300 MB"),
  ):
    pictures.read_stream(zeros, "zeros")


def test_what_is_no_file(tmp_path):
  os.mkfifo(tmp_path / "pipe.png")
  for name, message in (
    ("pipe.png", "pipe.png is not a file"),
    (".", "is not a file"),
    ("missing.png", "missing.png does not exist"),
    ("nul\0.png", r"nul\\x00.png' cannot be the name of a file"),
    ("a" * 300, "cannot be read: File name too long"),
  ):
    with pytest.raises(RunError, match=message):
      pictures.load_picture(f"{tmp_path}/{name}")


def test_a_file_without_permission(tmp_path):
  path = tmp_path / "secret.png"
  gray_picture(seven()).save(path)
  path.chmod(0)
  is_root = os.geteuid() == 0
  if is_root:
    for folder in (tmp_path, *tmp_path.parents[:3]):
      folder.chmod(0o755)
    os.seteuid(65534)
  try:
    with pytest.raises(RunError, match=r"secret.png (cannot be read: Permission|does not exist)"):
      pictures.load_picture(path)
  finally:
    if is_root:
      os.seteuid(0)


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (b"", "picture is empty"),
    (b"#!/bin/sh\n", "picture is not a picture of a known format"),
    (EPS, "picture is not a picture of a known format"),
    ("truncated PNG", "picture is damaged"),
    ("truncated JPEG", "picture is damaged: .*truncated"),
  ],
)
def test_files_that_are_no_pictures(content, message):
  if isinstance(content, str):
    whole = saved(gray_picture(seven()), content.split()[1])
    content = whole[: len(whole) // 2]
  with pytest.raises(RunError, match=message):
    read(content)
