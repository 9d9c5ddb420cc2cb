"""The pages of the project: links, flags, files and lengths."""

import re
import subprocess
import sys
from pathlib import Path

import processes
import pytest

from mnist_mlp import config

ROOT = processes.ROOT
LONGEST = {"README.md": 140, "CHANGELOG.md": 150, "CONTRIBUTING.md": 150}
PAGES = [*LONGEST, *sorted(f"docs/{path.name}" for path in ROOT.glob("docs/*.md"))]


def text_of(page):
  return (ROOT / page).read_text()


def anchors_of(page):
  """Returns the anchors of a page's headings, as GitHub makes them."""
  headings = re.findall(r"^#+ (.*)", text_of(page), flags=re.MULTILINE)
  return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
  for target in re.findall(r"\]\(([^)]+)\)", text_of(page)):
    if target.startswith(("http://", "https://")):
      assert re.fullmatch(r"https://[\w./#-]+", target), target
      continue
    name, _, anchor = target.partition("#")
    path = (ROOT / page).parent / name if name else ROOT / page
    assert path.exists(), target
    if anchor:
      assert anchor in anchors_of(str(path.resolve().relative_to(ROOT))), target


def test_pictures_of_docs_are_shown_somewhere():
  shown = {
    Path(target).name
    for page in PAGES
    for target in re.findall(r"!\[.*?\]\((.*?)\)", text_of(page))
  }
  assert {path.name for path in ROOT.glob("docs/*.png")} == shown


@pytest.mark.parametrize("page", PAGES)
def test_pages_are_short(page):
  assert text_of(page).count("\n") <= LONGEST.get(page, 149)


def test_flags_between_backticks_exist():
  programs = [
    subprocess.run(
      [sys.executable, "-m", f"mnist_mlp.{name}", "--help"],
      cwd=ROOT,
      text=True,
      check=True,
      capture_output=True,
    ).stdout
    for name in ("main", "sweep", "predict", "evaluate", "export", "demo")
  ]
  flags = set(re.findall(r"^ +--(?:\[no\])?(\w+)", "".join(programs), re.MULTILINE))
  pages = "".join(map(text_of, ["README.md", *PAGES[3:]]))
  mentioned = {
    flag
    for flag in re.findall(r"`--([\w.]+)[^`]*`", pages)
    if not flag.startswith("xla_") and flag != "config.FIELD"
  }
  assert {"workdir", "halving", "config.data.offline"} <= mentioned
  fields = {f"config.{name}" for name in config.FIELDS}
  assert mentioned <= flags | fields


@pytest.mark.parametrize("page", PAGES)
def test_modules_that_a_page_names_exist(page):
  for name in re.findall(
    r"`((?:mnist_mlp|configs|scripts|tests|core|data|run|docs)/[\w./]+)`", text_of(page)
  ):
    places = (ROOT, ROOT / "mnist_mlp", ROOT / "tests")
    assert any((place / name).exists() for place in places), name


def test_tests_that_the_page_on_reliability_names_exist():
  named = set(re.findall(r"`([\w/]*test_\w+\.py)`", text_of("docs/reliability.md")))
  assert len(named) > 30
  assert not [name for name in named if not (ROOT / "tests" / name).is_file()]
  faults = {f"faults/{path.name}" for path in ROOT.glob("tests/faults/test_*.py")}
  assert faults <= named, "a fault has no row"
