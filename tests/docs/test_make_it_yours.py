"""Every change of docs/make-it-yours.md is applied as the page shows it, trained with, and used."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import commands
import processes
import pytest
from PIL import Image

from mnist_mlp import config, data

PAGE = (processes.ROOT / "docs" / "make-it-yours.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
# (change, anchor of its section, what it is trained with, files, lines)
ROWS = re.findall(r"^\| \[(.*?)\]\(#(.*?)\) \| `(.*?)` \| (\d+) \| (\d+) \|$", PAGE, re.MULTILINE)
TRAIN, EVALUATE = re.search(r"```sh\n(.*?)\n(.*?)\n```", PAGE).groups()
SHORT = "--config.data.validation_examples=100 --config.num_epochs=1 --config.batch_size=64"
SMALL = f"{SHORT} --config.model.features=8 --config.cnn.channels=4"


def shell(command):
  """Returns the output of a command, which may take long where other tests run beside it."""
  return commands.shell(command, timeout=600)


def section(anchor):
  """Returns the text of the section that an anchor leads to."""
  return next(
    text
    for heading, text in SECTIONS.items()
    if re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") == anchor
  )


@pytest.fixture
def clone(tmp_path, monkeypatch, digits_dir):
  """A repository that has what a checkout has, as the current folder, with prepared digits."""
  root = tmp_path / "clone"
  root.mkdir()
  for name in ("mnist_mlp", "configs", "scripts", "tests"):
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(processes.ROOT / name, root / name, ignore=ignored)
  shutil.copy(processes.ROOT / "pyproject.toml", root)
  monkeypatch.chdir(root)
  shutil.copytree(digits_dir, tmp_path / "data")
  monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
  monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
  monkeypatch.setenv("PYTHONPATH", str(root))
  git("init", "-q")
  git("add", ".")
  git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "as it is")
  return root


def git(*words, text=""):
  done = subprocess.run(["git", *words], input=text, capture_output=True, text=True, check=False)
  assert done.returncode == 0, done.stderr
  return done.stdout


def train(options, words=SMALL):
  """Trains as the page says, on little data; returns what the terminal showed."""
  command = TRAIN.replace("--config.FIELD=VALUE", f"--config.{options}")
  if not options.startswith("data."):
    words += " --config.data.name=digits"
  return shell(f"{command} {words}".replace("fashion_mnist", "digits"))


def evaluate():
  output = shell(EVALUATE)
  (report,) = Path("runs/mine/evaluation").glob("*/report.json")
  return output, json.loads(report.read_text())


def write_pictures():
  """Writes digits into a folder for each class."""
  options = config.default().data
  options.update(name="digits", validation_examples=0)
  loaded = data.load(options)
  for split, count in (("train", 300), ("test", 60)):
    images, labels = getattr(loaded, split)
    for index in range(count):
      folder = Path("my_pictures", split, str(labels[index]))
      folder.mkdir(parents=True, exist_ok=True)
      Image.fromarray(images[index, :, :, 0]).save(folder / f"{index}.png")


def check_pictures(shown):
  assert "of all 60 images of my_pictures" in shown
  assert "my_pictures/test/0" in shell(
    "python -m mnist_mlp.predict --workdir=runs/mine my_pictures/test/0"
  )


def check_metric(shown):
  """The metric is everywhere, a sweep included."""
  assert shown.count(" top3_accuracy ") == 2  # of validation, of test
  row = json.loads(Path("runs/mine/metrics.jsonl").read_text().splitlines()[-1])
  result = json.loads(Path("runs/mine/result.json").read_text())
  assert row["validation/top3_accuracy"] == result["validation"]["top3_accuracy"] > 0.3
  events = b"".join(path.read_bytes() for path in Path("runs/mine").glob("events.out.*"))
  for split in ("validation", "test"):
    assert f"{split}/top3_accuracy".encode() in events
  text, report = evaluate()
  assert report["top3_accuracy"] == pytest.approx(result["test"]["top3_accuracy"], abs=1e-6)
  assert f"top3_accuracy {report['top3_accuracy']:.2%}" in text
  table = shell(
    "python -m mnist_mlp.sweep --config=configs/sweep_seeds.py --points=0:2 --workdir=runs/seeds "
    f"--config.data.name=digits {SMALL}"
  )
  assert " top3_accuracy " in table
  assert "validation_top3_accuracy" in Path("runs/seeds/sweep.csv").read_text().splitlines()[0]


def check_own_net(shown):
  """Without the module, a run is neither used nor gone on with, in one sentence each."""
  del shown
  evaluate()
  Path("my_net.py").unlink()
  shutil.rmtree("__pycache__", ignore_errors=True)
  for command in (EVALUATE, f"{EVALUATE.replace('evaluate', 'predict')} my_net.png"):
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1 and "there is no module 'my_net'" in done.stderr


CHECKS = {
  "A net of your own": check_own_net,
  "Your own pictures": check_pictures,
  "Another metric": check_metric,
}


def test_the_table_has_all_sections_but_two():
  anchors = {anchor for _, anchor, *_ in ROWS}
  assert all(map(section, anchors))
  assert len(SECTIONS) == len(anchors) + 2  # "Less of it" and "Another name"
  assert max(int(files) for *_, files, _ in ROWS) <= 2
  assert max(int(lines) for *_, lines in ROWS) <= 25


@pytest.mark.slow
@pytest.mark.parametrize(
  ("change", "anchor", "options", "files", "lines"), ROWS, ids=[row[0] for row in ROWS]
)
def test_a_change_works_as_it_is_shown(clone, change, anchor, options, files, lines):
  text = section(anchor)
  for name, program in re.findall(r"`(my_\w+\.py)`.*?\n\n```python\n(.*?)```", text, re.DOTALL):
    Path(name).write_text(program)
  for patch in re.findall(r"```diff\n(.*?)```", text, re.DOTALL):
    git("apply", text=patch)
  changed = git("diff", "--numstat", "--", "mnist_mlp").split("\n")[:-1]
  numbers = [sum(map(int, line.split()[:2])) for line in changed]
  assert (len(numbers), sum(numbers)) == (int(files), int(lines))
  if options.startswith("data.files"):
    write_pictures()
  shown = train(options)
  assert re.search(r"^test: \d+\.\d+% error", shown, re.MULTILINE)
  if change in CHECKS:
    CHECKS[change](shown)
  else:
    text, report = evaluate()
    assert f"accuracy {report['accuracy']:.2%}" in text
  saved = json.loads(Path("runs/mine/config.json").read_text())
  name, _, value = options.replace("fashion_mnist", "digits").partition("=")
  part, _, leaf = name.rpartition(".")
  assert str((saved[part] if part else saved)[leaf]).endswith(value)


@pytest.mark.slow
def test_the_package_can_have_another_name(clone):
  (renaming,) = re.findall(r"```sh\n(.*?)```", section("another-name"), re.DOTALL)
  shell(renaming)
  words = f"--config.data.name=digits {SMALL}"
  shell(TRAIN.replace("mnist_mlp", "my_app").replace("--config.FIELD=VALUE", words))
  assert "accuracy" in shell(EVALUATE.replace("mnist_mlp", "my_app"))
  assert not Path("mnist_mlp").exists()
