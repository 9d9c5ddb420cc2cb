"""Files that hold pictures, and files that do not."""

import io
import os

import numpy as np
import pytest
from handwriting import gray_picture, saved, seven
from PIL import Image

from mnist_mlp import inference
from mnist_mlp.errors import RunError


def read(content):
  return inference.load_picture(io.BytesIO(content), "picture")


def test_an_animation_shows_its_first_frame():
  file = io.BytesIO()
  frames = [gray_picture(seven()), gray_picture(seven().T), Image.new("L", (140, 180))]
  frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
  reference = inference.prepare(frames[0]).pixels.astype(int)
  assert np.abs(inference.prepare(read(file.getvalue())).pixels - reference).mean() < 3


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
      inference.load_picture(path)
  finally:
    if is_root:
      os.seteuid(0)


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (b"", "picture is empty"),
    (b"#!/bin/sh\n", "picture is not a picture of a known format"),
    ("truncated PNG", "picture is damaged: .*truncated"),
    ("truncated JPEG", "picture is damaged: .*truncated"),
  ],
)
def test_files_that_are_no_pictures(content, message):
  if isinstance(content, str):
    whole = saved(gray_picture(seven()), content.split()[1])
    content = whole[: len(whole) // 2]
  with pytest.raises(RunError, match=message):
    read(content)
