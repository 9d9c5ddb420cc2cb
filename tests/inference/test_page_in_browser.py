"""The page to draw on, in a real browser that draws with the events of a mouse."""

import browser
import browsing
import drawing
import numpy as np
import pytest
from drawn import one
from PIL import Image

pytestmark = browsing.MARKS


@pytest.fixture(scope="module")
def url_of_committee(trained_run):
  with drawing.serve(f"--workdir={trained_run}", f"--workdir={trained_run}") as url:
    yield url


@pytest.fixture(scope="module")
def driver():
  with browser.started(*drawing.WIDE) as driver:
    yield driver


@pytest.fixture
def page(driver, page_url):
  return drawing.DrawingPage(driver, page_url)


def test_ten_digits_are_drawn_and_their_bars_read(page, driver, page_url):
  drawing.requests_of(driver)
  right = 0
  for digit, strokes in drawing.DIGITS.items():
    page.press("c")
    page.draw(strokes)
    bars = page.bars()
    assert abs(sum(bars.values()) - 1) < 0.02
    assert max(bars, key=bars.get) == page.label()
    right += page.label() == digit
  assert right >= 6, "a net of digits of 8x8 pixels reads most of them"
  asked = drawing.requests_of(driver)
  assert asked and all(address.startswith(page_url) for address in asked)
  assert len(page.latencies()) > 20


def test_bars_move_while_the_pen_does(page):
  page.draw(drawing.DIGITS["8"])
  assert len(page.latencies()) > 2


def test_undo_and_clear(page):
  page.draw(drawing.DIGITS["4"])
  whole = page.bars()
  page.draw([[(0.1, 0.9), (0.9, 0.9)]])
  assert page.bars() != whole
  page.press("u")
  assert page.bars() == whole
  page.press("c")
  assert (page.label(), page.note()) == ("?", "no ink")


def test_a_picture_is_dropped(page, tmp_path):
  Image.fromarray(255 - one()).save(tmp_path / "one.png")
  page.choose(tmp_path / "one.png")
  assert page.label() != "?"
  (tmp_path / "no.png").write_bytes(b"nothing")
  page.choose(tmp_path / "no.png")
  assert "not a picture of a known format" in page.note()


@pytest.mark.parametrize("size", [drawing.WIDE, drawing.NARROW])
def test_all_of_it_is_to_be_seen(size, page_url):
  with browser.started(*size) as driver:
    page = drawing.DrawingPage(driver, page_url)
    page.draw(drawing.DIGITS["3"])
    assert page.run("return document.documentElement.scrollWidth") <= size[0]
    assert page.run("return document.documentElement.scrollHeight") <= size[1]


def test_the_colours_follow_the_user(driver, page_url):
  paper = {}
  for scheme in ("light", "dark"):
    drawing.use_scheme(driver, scheme)
    paper[scheme] = np.asarray(drawing.DrawingPage(driver, page_url).picture())[5, 5].mean()
  drawing.use_scheme(driver, "light")
  assert paper["light"] > 200 and paper["dark"] < 50


def test_a_committee_shows_the_bars_of_its_members(driver, url_of_committee):
  page = drawing.DrawingPage(driver, url_of_committee)
  page.draw(drawing.DIGITS["1"])
  assert page.run("return document.querySelectorAll('.row .member').length") == 20
  widths = page.run(
    "return [...document.querySelectorAll('.row.likeliest .member')].map(b => b.style.width)"
  )
  assert len(widths) == 2 and widths[0] == widths[1] != "0%"
