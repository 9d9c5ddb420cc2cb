"""Pages as people see them, in a headless Chromium; the tabs of TensorBoard and what they show.

Needs Selenium, of the `test` extra, and Chromium with its driver, which on Debian are the packages
chromium and chromium-driver. Nothing is fetched from the network.
"""

import contextlib
import io
import shutil
import tempfile
import time

import numpy as np
from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

_FLAGS = (
  "--headless=new",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
)

# Most of TensorBoard's tabs are made of custom elements, each with a document of its own inside.
_DEEP = """
const deep = (selector, root) => {
  const found = [];
  for (const scope of [root, root.shadowRoot]) {
    if (!scope) continue;
    found.push(...scope.querySelectorAll(selector));
    for (const element of scope.querySelectorAll('*'))
      if (element.shadowRoot) found.push(...deep(selector, element.shadowRoot));
  }
  return found;
};
const byTag = (selector, read) => Object.fromEntries(
    deep(selector, document).map(card => [card.tag, read(card)]));
"""

_LINES = """
return byTag('tf-scalar-card', card => deep('.render-area path', card)
    .map(path => [path.getAttribute('class'), path.getAttribute('d') || ''])
    .filter(([kind, d]) => kind == 'line' && d || d.includes('A'))
    .map(([kind, d]) => kind == 'line' ? d.split(/[ML]/).length - 1 : 1));
"""
_SHAPES = """
return byTag('%s', card => deep('%s', card)
    .map(path => path.getAttribute('d') || '').filter(d => d && !d.includes('NaN')).length);
"""
_IMAGES = """
return byTag('tf-image-loader', card => deep('img', card)
    .filter(image => image.complete).map(image => [image.naturalWidth, image.naturalHeight]));
"""
_TEXTS = """
return byTag('tf-text-loader', card => deep('.text tf-markdown-view', card)
    .flatMap(view => deep('#markdown', view)).map(element => element.textContent));
"""
_TABLE = """
const grid = deep('vaadin-grid', document)[0];
if (!grid) return [[]];
const rows = selector => [...grid.shadowRoot.querySelectorAll(selector)].filter(
    row => !row.hidden).map(row => [...row.querySelectorAll('th, td')].map(
        cell => cell.querySelector('slot').assignedElements()[0].textContent.trim()));
const names = rows('thead tr').find(row => row.some(name => name)) || [];
return [names, ...rows('tbody tr').filter(row => row.some(text => text))];
"""


def missing():
  """Returns what there is not on this machine for a browser to start, or an empty string."""
  programs = ("chromium", "chromedriver")
  return ", ".join(program for program in programs if shutil.which(program) is None)


@contextlib.contextmanager
def tensorboard_page(url, width=1400, height=900):
  """Yields the `Page` of a browser for the TensorBoard at `url`; sizes are pixels of the page."""
  with started(width, height) as driver:
    yield Page(driver, url.rstrip("/"))


@contextlib.contextmanager
def started(width, height):
  """Yields a Selenium driver, which logs its requests; sizes are pixels of the page."""
  with tempfile.TemporaryDirectory() as profile:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    for flag in (*_FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}"):
      options.add_argument(flag)
    driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
    try:
      driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
      )
      yield driver
    finally:
      driver.quit()


class Page:
  """A browser's page with TensorBoard in it."""

  def __init__(self, driver, url):
    self._driver, self._url = driver, url

  def open(self, tab, query=""):
    """Loads a tab, for example 'images', afresh; see `wait_for` for when it is there."""
    self._driver.get("about:blank")
    self._driver.get(f"{self._url}/?{query}#{tab}")

  def run(self, script, *arguments):
    """Returns what a script returns that can call `deep(selector, root)` and `byTag`."""
    return self._driver.execute_script(_DEEP + script, *arguments)

  def wait_for(self, read, complete=bool, seconds=40):
    """Returns what `read()` gives once it is `complete`, or whatever it gives at the deadline."""
    deadline = time.monotonic() + seconds
    while True:
      value = read()
      if complete(value) or time.monotonic() > deadline:
        return value
      time.sleep(0.2)

  def headings(self):
    """Returns the headings to be seen, such as 'No image data was found.'."""
    return self.run(
      "return deep('h3', document).filter(heading => heading.offsetParent)"
      ".map(heading => heading.textContent.trim())"
    )

  def scalar_lines(self):
    """Returns {tag: [points of each line or dot that is drawn, ...]} of the Scalars tab.

    A line is drawn twice, as it is and smoothed; the triangle that stands for a NaN does not count.
    """
    return self.run(_LINES)

  def histogram_shapes(self):
    """Returns {tag: how many histograms are drawn} of the Histograms tab."""
    return self.run(_SHAPES % ("tf-histogram-loader", ".histogram path"))

  def distribution_shapes(self):
    """Returns {tag: how many bands are drawn} of the Distributions tab."""
    return self.run(_SHAPES % ("tf-distribution-loader", ".area"))

  def images(self):
    """Returns {tag: [(width, height) of each picture that is loaded, ...]} of the Images tab."""
    return self.run(_IMAGES)

  def texts(self):
    """Returns {tag: [text of each step, ...]} of the Text tab."""
    return self.run(_TEXTS)

  def hparams_table(self):
    """Returns the rows of the HParams tab's table, as dicts of text by column, in its order."""
    names, *rows = self.run(_TABLE)
    return [dict(zip(names, row, strict=False)) for row in rows]

  def time_series(self):
    """Returns {tag: share of the chart's width over which a line is drawn} of that tab.

    Its lines are no elements of the page but painted on canvases, so the colored pixels count.
    """
    cards = self.run(
      "return deep('scalar-card', document).map(card => ["
      "deep('tb-truncated-path', card)[0].title, deep('.series-view', card)[0]])"
    )
    return {tag: _colored_columns(chart.screenshot_as_png) for tag, chart in cards if chart}

  def picture(self):
    """Returns what the page looks like, a `PIL.Image.Image`."""
    return Image.open(io.BytesIO(self._driver.get_screenshot_as_png())).convert("RGB")


def _colored_columns(png):
  pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), np.int16)
  colored = np.ptp(pixels, axis=-1) > 20  # TensorBoard paints all but the lines gray
  return float(colored.any(axis=0).mean())
