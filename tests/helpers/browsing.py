"""Pages of TensorBoard in Chromium, and the runs that they show."""

import contextlib

import browser
import pytest
import tensorboard_server

# For `pytestmark`.
MARKS = [
  pytest.mark.slow,
  pytest.mark.skipif(bool(browser.missing()), reason=f"there is no {browser.missing()} here"),
]

SMALL = (
  "--config.data.name=digits",
  "--config.data.validation_examples=200",
  "--config.num_epochs=3",
  "--config.model.features=(32,16)",
)


@contextlib.contextmanager
def page_of(logdir):
  """Yields TensorBoard's page for a folder, high enough for all that a tab shows."""
  with (
    tensorboard_server.serve(logdir) as server,
    browser.tensorboard_page(server.url, 1400, 3000) as page,
  ):
    yield page


def shown(page, tab, read, complete):
  """Returns what `read()` gives for the tab of that name, waiting for it to be `complete`."""
  page.open(tab)
  return page.wait_for(read, complete)


def filled(rows):
  """Returns whether every row of the table of hyperparameters has its result."""
  return bool(rows) and all(row.get("test/accuracy") for row in rows)
