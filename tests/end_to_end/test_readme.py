"""Every command of README.md is run as it stands there; what is appended only makes it shorter.

Commands of the shell blocks, of the excerpt and between backticks in the text are found, and each
must be known here: a new one needs an entry in KNOWN, one that is gone must leave it. The commands
of a section run one after the other in a folder that has what a checkout has. Two are not run:
`pip install`, of which it is checked that pyproject.toml has the extras (CI runs it), and `pytest`,
which here collects the tests and no more; and SLURM's `srun` is left out.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from concurrent import futures
from pathlib import Path

import handwriting
import numpy as np
import pytest
import tensorboard_server

from mnist_mlp import config
from mnist_mlp.data import dataset as data

ROOT = Path(__file__).resolve().parents[2]
SHORT = (
  "--config.data.name=digits --config.data.validation_examples=200 "
  "--config.num_epochs=1 --config.batch_size=64"
)
RUN = "python -m mnist_mlp.main --config=configs/adam.py"
INLINE = ("pip ", "python ", "pytest", "tensorboard ", "ray ", "ruff ")


def sections_of(readme):
  """Returns {heading: [command, ...]}, in their order; commands joined by && are several."""
  sections, texts = {}, re.split(r"^## (.*)\n", readme, flags=re.MULTILINE)
  for heading, text in zip(texts[1::2], texts[2::2], strict=True):
    commands = []
    for fenced, language, block, inline in re.findall(
      r"(^```(\w*)\n(.*?)^```$)|`([^`\n]+)`", text, flags=re.MULTILINE | re.DOTALL
    ):
      if language == "sh":
        commands += [
          command
          for line in block.replace("\\\n", " ").splitlines()
          for command in line.split(" && ")
        ]
      elif language == "python":
        commands.append(block)
      elif fenced:
        commands += re.findall(r"^\$ (.*)|^look at it:  (.*)", block, flags=re.MULTILINE)
      elif inline.startswith(INLINE):
        commands.append(inline)
    commands = ["".join(command) for command in commands]
    if commands:
      sections[heading] = [re.sub(r" {2,}", " ", c) if "\n" not in c else c for c in commands]
  return sections


README = (ROOT / "README.md").read_text()
SECTIONS = sections_of(README)


# What is done with a command, in the folder of its section.


def shell(command, timeout=200, **variables):
  done = subprocess.run(
    ["bash", "-c", command],
    env={**os.environ, **variables},
    capture_output=True,
    text=True,
    timeout=timeout,
    stdin=subprocess.DEVNULL,
  )
  assert done.returncode == 0, f"$ {command}\n{done.stdout}{done.stderr}"
  assert "Traceback" not in done.stderr, done.stderr
  return done.stdout


def check_extras(command):
  (target,) = shlex.split(command.removeprefix("pip install").replace(" -e ", " "))
  project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
  extras = re.fullmatch(r"\.(?:\[(.*)\])?", target)[1]
  for extra in extras.split(",") if extras else ():
    assert extra in project["optional-dependencies"]


def collect(command):
  output = shell(f"{command} --collect-only -q -n 0")
  assert "test_readme.py" in output and "error" not in output.splitlines()[-1]


def train(command):
  """Runs the command, and then the one that it prints for going on, which finds a finished run."""
  output = shell(f"{command} {SHORT}")
  assert re.search(r"^test: \d+\.\d+% error, \d+ of all 297 images", output, re.MULTILINE)
  (again,) = re.findall(r"^this run again, or the rest of it:  (.*)", output, re.MULTILINE)
  assert "is finished: " in shell(again)


def look(command):
  """Runs what the newest run told to run, which must be what the README shows, but for its name."""
  workdir = max(Path("runs").iterdir(), key=lambda path: path.stat().st_mtime)
  own = re.sub(r"runs/adam-[0-9-]+$", str(workdir), command)
  assert own in shell(f"{RUN} --workdir={workdir} {SHORT}")
  with tensorboard_server.serve(workdir, command=shlex.split(own), timeout=240) as server:
    assert server.scalars(".", "train/loss")


def compare(command):
  with tensorboard_server.serve("runs", command=shlex.split(command), timeout=240) as server:
    assert set(server.runs()) == {path.name for path in Path("runs").iterdir()} != set()


def execute(program):
  shorter = 'c.data.update(name="digits", validation_examples=200)\nc.num_epochs = 1.0'
  assert "c.num_epochs = 2.0\n" in program
  Path("program.py").write_text(program.replace("c.num_epochs = 2.0", shorter))
  shell(f"{shlex.quote(sys.executable)} program.py")
  assert json.loads(Path("runs/mine/result.json").read_text())["epochs"] == 1


def predict(command):
  shell(f"{RUN} {SHORT} --workdir=runs/adam")
  options = config.default().data
  options.update(name="digits", validation_examples=0)
  images, rng = data.load(options).test.images[..., 0], np.random.default_rng(0)
  Path("photo.jpg").write_bytes(handwriting.photograph(images[0], rng))
  Path("scans").mkdir()
  for i in (1, 2):
    handwriting.drawing(images[i], rng).save(f"scans/{i}.png")
  output = shell(command)
  for name in ("photo.jpg", "scans/1.png", "scans/2.png"):
    assert re.search(rf"^{name} +\d", output, re.MULTILINE), output
  assert Path("seen.png").read_bytes().startswith(b"\x89PNG")


def evaluate(command):
  output = shell(command)
  assert "of 297 images wrong" in output
  report = json.loads(Path("runs/adam/evaluation/digits-test/report.json").read_text())
  assert f"accuracy {report['accuracy']:.2%}" in output


def statuses():
  rows = json.loads(Path("runs/lr/sweep.json").read_text())["runs"]
  return {row["point"]: row["status"] for row in rows}


def sweep(command):
  output = shell(f"{command} {SHORT}")
  assert "winner by validation accuracy: " in output
  assert sorted(statuses()) == list(range(32))
  assert set(statuses().values()) <= {"finished", "diverged"}


def array(command):
  assert command == "#SBATCH --array=0-3"


def slurm(command):
  """Runs the four jobs of the array at the same time, as SLURM does, from the beginning."""
  shutil.rmtree("runs/lr")
  assert command.startswith("srun ")
  job = f"{command.removeprefix('srun ')} {SHORT}"
  with futures.ThreadPoolExecutor() as pool:
    jobs = [pool.submit(shell, job, SLURM_ARRAY_TASK_ID=str(i)) for i in range(4)]
  for each in jobs:
    each.result()
  assert sorted(statuses()) == list(range(32))
  assert set(statuses().values()) <= {"finished", "diverged"}


def ask_for_help(command):
  assert "--recipes" in shell(f"{command} --help")


KNOWN = {
  "Start": [
    ("pip install -e .", check_extras),
    (RUN, train),
    ("pip install -e '.[test]'", check_extras),
    ("pytest", collect),
    ("pip install -e '.[cuda]'", check_extras),
  ],
  "What you see": [
    (RUN, train),
    ("tensorboard --logdir=runs/adam-20261121-120000", look),
    ("tensorboard --logdir=runs", compare),
  ],
  "Configs": [
    (
      f"{RUN} --config.model.features=1024,1024 --config.optimizer.learning_rate=3e-3 "
      "--config.num_epochs=10 --config.seed=1",
      train,
    ),
    ("python scripts/recipes.py", ask_for_help),
  ],
  "Using a trained net": [
    ("python -m mnist_mlp.predict --workdir=runs/adam photo.jpg scans/ --show=seen.png", predict),
    ("python -m mnist_mlp.evaluate --workdir=runs/adam", evaluate),
  ],
  "Sweeps": [
    ("python -m mnist_mlp.sweep --config=configs/sweep_learning_rate.py --workdir=runs/lr", sweep),
    ("pip install -e '.[ray]'", check_extras),
    ("#SBATCH --array=0-3", array),
    (
      "srun python -m mnist_mlp.sweep --config=configs/sweep_learning_rate.py --workdir=runs/lr "
      "--points=$SLURM_ARRAY_TASK_ID::4",
      slurm,
    ),
  ],
  "Data": [("pip install -e '.[parquet]'", check_extras)],
  "The code": [
    (
      "from mnist_mlp import config, train\n\nc = config.default()\nc.num_epochs = 2.0\n"
      'state = train.train_and_evaluate(c, "runs/mine")\n',
      execute,
    )
  ],
}


def test_the_readme_has_the_commands_that_are_known_here():
  known = {section: [command for command, _ in entries] for section, entries in KNOWN.items()}
  assert known == SECTIONS


@pytest.mark.slow
@pytest.mark.parametrize("section", KNOWN)
def test_the_commands_of_a_section_work(section, tmp_path, monkeypatch, digits_dir):
  for name in ("configs", "mnist_mlp", "scripts", "tests", "pyproject.toml", "README.md"):
    (tmp_path / name).symlink_to(ROOT / name)
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv("TFDS_DATA_DIR", str(digits_dir))
  monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
  for name in [name for name in os.environ if name.startswith("PYTEST_")]:
    monkeypatch.delenv(name)
  for command, work in KNOWN[section]:
    work(command)


def test_flags_between_backticks_exist():
  programs = [
    subprocess.run(
      [sys.executable, "-m", f"mnist_mlp.{name}", "--help"],
      cwd=ROOT,
      text=True,
      check=True,
      capture_output=True,
    ).stdout
    for name in ("main", "sweep", "predict", "evaluate")
  ]
  flags = set(re.findall(r"^ +--(?:\[no\])?(\w+)", "".join(programs), re.MULTILINE))
  mentioned = set(re.findall(r"`--([\w.]+)[^`]*`", README))
  assert {"workdir", "halving", "config.data.offline"} <= mentioned
  fields = {f"config.{name}" for name in config.flatten(config.default())}
  assert mentioned <= flags | fields


def test_files_that_the_readme_names_exist():
  links = re.findall(r"\]\(([^):#]+)\)", README)
  assert "docs/first_layer.png" in links
  assert [path for path in links if not (ROOT / path).exists()] == []
