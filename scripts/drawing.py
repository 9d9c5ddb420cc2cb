"""Takes the pictures of the page to draw on, and measures how soon it answers.

    python -m mnist_mlp.main --config=configs/adam.py --workdir=runs/adam
    python scripts/drawing.py --workdir=runs/adam

Needs what browser.py needs, and the extra 'demo'.
"""

import argparse
import contextlib
import io
import itertools
import json
import math
import re
import subprocess
import sys
import time
from pathlib import Path

import browser
import numpy as np
from PIL import Image

DOCS = Path(__file__).resolve().parents[1] / "docs"
WIDE, NARROW = (1000, 640), (390, 1040)  # pixels; a telephone is narrow
PICTURES = {(WIDE, "light"): "drawing.png", (NARROW, "dark"): "drawing_phone.png"}


def arc(x, y, radii, start, end):
  """Returns points of an ellipse's arc; angles in degrees, clockwise from the right."""
  angles = [math.radians(start + (end - start) * i / 20) for i in range(21)]
  return [(x + radii[0] * math.cos(a), y + radii[1] * math.sin(a)) for a in angles]


# Strokes of each digit as people write it; x to the right and y down, from 0 to 1.
DIGITS = {
  "0": [arc(0.5, 0.5, (0.2, 0.32), -90, 270)],
  "1": [[(0.42, 0.28), (0.53, 0.18), (0.5, 0.82)]],
  "2": [[*arc(0.5, 0.35, (0.18, 0.17), 180, 390), (0.3, 0.8), (0.72, 0.8)]],
  "3": [[*arc(0.47, 0.34, (0.18, 0.16), 200, 450), *arc(0.47, 0.66, (0.2, 0.17), -90, 150)]],
  "4": [[(0.35, 0.18), (0.3, 0.52), (0.72, 0.52)], [(0.63, 0.2), (0.6, 0.84)]],
  "5": [[(0.68, 0.2), (0.38, 0.2), (0.36, 0.46), *arc(0.46, 0.63, (0.2, 0.19), -100, 140)]],
  "6": [[(0.6, 0.17), (0.42, 0.38), *arc(0.49, 0.66, (0.17, 0.17), 180, 540)]],
  "7": [[(0.3, 0.21), (0.7, 0.21), (0.45, 0.83)]],
  "8": [[*arc(0.5, 0.34, (0.14, 0.15), 90, 450), *arc(0.5, 0.66, (0.17, 0.17), -90, 270)]],
  "9": [[*arc(0.5, 0.36, (0.16, 0.16), 0, 360), (0.66, 0.4), (0.6, 0.83)]],
}


class DrawingPage:
  """The page to draw on, in a browser."""

  def __init__(self, driver, url):
    """Opens the page and waits until it is ready."""
    self._driver = driver
    driver.get(url)
    self.wait(lambda: driver.execute_script("return document.body.dataset.ready") == "yes")

  def wait(self, holds, seconds=30):
    """Waits until `holds()`; raises a TimeoutError if that takes too long."""
    deadline = time.monotonic() + seconds
    while not holds():
      if time.monotonic() > deadline:
        raise TimeoutError(f"waited {seconds} s for the page")
      time.sleep(0.02)

  def run(self, script, *arguments):
    """Returns what a script returns."""
    return self._driver.execute_script(script, *arguments)

  def draw(self, strokes):
    """Draws by the events of a mouse: press, move, release."""
    left, top, width, height = self.run(
      "const box = document.getElementById('drawing').getBoundingClientRect();"
      "return [box.left, box.top, box.width, box.height];"
    )
    for stroke in strokes:
      points = [(left + x * width, top + y * height) for x, y in stroke]
      self._mouse("mousePressed", points[0])
      for point in points[1:]:
        self._mouse("mouseMoved", point)
      self._mouse("mouseReleased", points[-1])
    self.settle()

  def _mouse(self, kind, point):
    self._driver.execute_cdp_cmd(
      "Input.dispatchMouseEvent",
      {
        "type": kind,
        "x": point[0],
        "y": point[1],
        "button": "left",
        "buttons": 0 if kind == "mouseReleased" else 1,
        "clickCount": 1,
      },
    )

  def settle(self):
    """Waits until the last change is answered."""
    self.wait(lambda: self.run("return !asking && !changed"))

  def press(self, key):
    """Presses a key, by its name in JavaScript."""
    for kind in ("keyDown", "keyUp"):
      self._driver.execute_cdp_cmd("Input.dispatchKeyEvent", {"type": kind, "key": key})
    self.settle()

  def choose(self, path):
    """Opens a picture, as the button does."""
    self._driver.find_element("id", "file").send_keys(str(path))
    self.settle()

  def label(self):
    """Returns the label that the page shows."""
    return self.run("return document.getElementById('label').textContent")

  def note(self):
    """Returns the note beside it."""
    return self.run("return document.getElementById('note').textContent")

  def bars(self):
    """Returns {label: share of the bar's track that it fills}."""
    return self.run(
      "return Object.fromEntries([...document.querySelectorAll('.row')].map(row =>"
      "[row.dataset.label, row.querySelector('.bar').getBoundingClientRect().width /"
      " row.querySelector('.track').getBoundingClientRect().width]))"
    )

  def latencies(self):
    """Returns the milliseconds from each change of the drawing to the bars that show it."""
    return self.run("return window.latencies")

  def picture(self):
    """Returns what the page looks like, a `PIL.Image.Image`."""
    return Image.open(io.BytesIO(self._driver.get_screenshot_as_png())).convert("RGB")


def requests_of(driver):
  """Returns the addresses that the browser asked since the last call, but those of Chromium."""
  messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
  found = [
    message["params"]["request"]["url"]
    for message in messages
    if message["method"] == "Network.requestWillBeSent"
  ]
  return [url for url in found if not url.startswith(("data:", "blob:", "chrome:"))]


@contextlib.contextmanager
def serve(*arguments):
  """Yields the address of the page that the command serves; ends it as Ctrl-C does."""
  words = [sys.executable, "-m", "mnist_mlp.demo", "--port=0", *map(str, arguments)]
  with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
    try:
      for line in process.stdout:
        if found := re.match(r"draw at:  (\S+)", line):
          yield found[1]
          break
    finally:
      process.send_signal(2)


def use_scheme(driver, scheme):
  """Makes pages believe that the user prefers 'light' or 'dark'."""
  features = [{"name": "prefers-color-scheme", "value": scheme}]
  driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--workdir", type=Path, action="append", required=True)
  options = parser.parse_args()
  if browser.missing():
    sys.exit(f"error: {browser.missing()} not found; Debian: apt install chromium chromium-driver")
  milliseconds = []
  with serve(*(f"--workdir={path}" for path in options.workdir)) as url:
    for size, scheme in itertools.product((WIDE, NARROW), ("light", "dark")):
      with browser.started(*size) as driver:
        use_scheme(driver, scheme)
        page = DrawingPage(driver, url)
        for digit, strokes in DIGITS.items():
          page.press("c")
          page.draw(strokes)
          print(f"{digit} is read as {page.label()}")
        milliseconds += page.latencies()
        page.press("c")
        page.draw(DIGITS["3"])
        if (size, scheme) in PICTURES:
          page.picture().save(DOCS / PICTURES[size, scheme], optimize=True)
  print(
    f"{len(milliseconds)} changes: answered within {np.median(milliseconds):.0f} ms (median), "
    f"{np.percentile(milliseconds, 95):.0f} ms (95%), {max(milliseconds):.0f} ms (longest)"
  )


if __name__ == "__main__":
  main()
