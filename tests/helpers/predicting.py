"""The commands of pages that predict, run in a folder that has what a checkout has."""

import json
import re
from pathlib import Path

import handwriting
import numpy as np
import sheets
from commands import RUN, SHORT, shell

from mnist_mlp import config, data


def predict_as_json(command):
  shell(f"{RUN} {SHORT} --workdir=runs/adam")
  write_pictures()
  rows = json.loads(shell(command))
  assert [row["picture"] for row in rows] == ["photo.jpg", "scans/1.png", "scans/2.png"]


def read_form(command):
  image, rng = sheets.digits(1)[0], np.random.default_rng(0)
  page = sheets.paper(200, 380)
  for left in (20, 140, 260):
    sheets.write(page, image, rng, (100, left + 50), 60)
    sheets.frame(page, (45, left, 155, left + 100))
  sheets.scanned(page, rng).save("form.png")
  output = shell(command)
  assert re.search(r"^form.png +\d{3} .* a frame was left out", output, re.MULTILINE), output
  assert Path("digits.png").read_bytes().startswith(b"\x89PNG")


def predict(command):
  shell(f"{RUN} {SHORT} --workdir=runs/adam")
  write_pictures()
  output = shell(command)
  for name in ("photo.jpg", "scans/1.png", "scans/2.png"):
    assert re.search(rf"^{name} +\d", output, re.MULTILINE), output
  assert Path("seen.png").read_bytes().startswith(b"\x89PNG")


def write_pictures():
  options = config.default().data
  options.update(name="digits", validation_examples=0)
  images, rng = data.load(options).test.images[..., 0], np.random.default_rng(0)
  Path("photo.jpg").write_bytes(handwriting.photograph(images[0], rng))
  Path("scans").mkdir()
  for i in (1, 2):
    handwriting.drawing(images[i], rng).save(f"scans/{i}.png")
