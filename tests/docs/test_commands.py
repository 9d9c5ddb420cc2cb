"""Every command of the README and of docs/ is run as it stands there; what is appended shortens it.

Each command that a page shows must be known here: a new one needs an entry in KNOWN, one that is
gone must leave it. The commands of a section run one after the other, in a folder that has what a
checkout has. Some are not run as they stand: `pip install`, of which it is checked that
pyproject.toml has the extras (CI runs it); `pytest`, which here only collects the tests; commands
that take hours, which are asked for their help; and `srun` of SLURM, which is left out.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import urllib.request
from concurrent import futures
from pathlib import Path

import commands
import drawing
import predicting
import processes
import pytest
import tensorboard_server
from commands import RUN, SHORT, shell
from PIL import Image

from mnist_mlp import config, data

ROOT = processes.ROOT
# These have tests of their own: test_python_page.py and test_make_it_yours.py.
ELSEWHERE = ("make-it-yours.md", "python.md")
DOCS = sorted(f"docs/{page.name}" for page in ROOT.glob("docs/*.md") if page.name not in ELSEWHERE)
PAGES = ["README.md", "CONTRIBUTING.md", *DOCS]


# What is done with a command, in the folder of its section.


def check_extras(command):
  (target,) = shlex.split(command.removeprefix("pip install").replace(" -e ", " "))
  project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
  extras = re.fullmatch(r"\.(?:\[(.*)\])?", target)[1]
  for extra in extras.split(",") if extras else ():
    assert extra in project["optional-dependencies"]


def collect(command):
  output = shell(f"{command} --collect-only -q -n 0")
  assert "::test_" in output and "error" not in output.splitlines()[-1]


def train(command):
  """Runs the command, and then the one that it prints for going on, which finds a finished run."""
  output = shell(f"{command} {SHORT}")
  assert re.search(r"^test: \d+\.\d+% error, \d+ of all 297 images", output, re.MULTILINE)
  (again,) = re.findall(r"^this run again, from where it stands:  (.*)", output, re.MULTILINE)
  assert "is finished: " in shell(again)
  return output


def train_and_trace(command):
  assert "profiled steps" in train(f"{command} --config.eval_every_steps=7")
  assert list(Path("runs").glob("*/plugins/profile/*/*"))


def make_longer(command):
  shell(f"{RUN} {SHORT} --workdir=runs/adam")
  before = json.loads(Path("runs/adam/result.json").read_text())["steps"]
  shell(command.replace("=10", "=0.5"))
  assert json.loads(Path("runs/longer/result.json").read_text())["steps"] > before


def start_with_weights(command):
  assert "starting with the weights of step" in shell(f"{command} {SHORT}")


def train_on_own_files(command):
  options = config.default().data
  options.update(name="digits", validation_examples=0)
  dataset = data.load(options)
  images, labels = dataset.train
  for index in range(300):
    folder = Path("my_pictures", str(labels[index]))
    folder.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(images[index, :, :, 0]).convert(("L", "RGB")[index % 2])
    picture = picture.resize((20 + index % 70, 30)) if index % 3 == 0 else picture
    picture.save(folder / f"{index}.{('png', 'webp', 'jpg', 'gif', 'bmp')[index % 5]}")
  output = shell(f"{command} {SHORT} --config.data.validation_examples=0.1")
  (test,) = re.findall(r"^data: the files have no test split, so (\d+) of 300", output, re.M)
  assert re.search(r"^data: 300 pictures .* all become 28x28 pixels, grayscale;", output, re.M)
  assert f"of all {test} images of my_pictures (own files) wrong" in output


def export(command):
  shell(f"{RUN} {SHORT} --workdir=runs/adam")
  assert "how to call it" in shell(command)
  assert {"net.json"} < {path.name for path in Path("exported").iterdir()}


def export_onnx(command):
  pytest.importorskip("jax2onnx", exc_type=ImportError)
  export(command)


def call_exported(program):
  export("python -m mnist_mlp.export --workdir=runs/adam --out=exported")
  images = "import numpy as np\n\nimages = np.zeros((3, 28, 28, 1), np.uint8)\n"
  check = "assert probabilities.shape == (3, 10)\n"
  subprocess.run([sys.executable, "-c", images + program + check], check=True)


def serve_page(command):
  for package in ("starlette", "uvicorn"):
    pytest.importorskip(package)
  shell(f"{RUN} {SHORT} --workdir=runs/adam")
  module, *arguments = shlex.split(command.removeprefix("python -m "))
  assert module == "mnist_mlp.demo"
  with drawing.serve(*arguments) as url, urllib.request.urlopen(url) as answer:
    assert b"Draw a digit" in answer.read()


def look(command):
  """Runs what the newest run told to run, which must be what the README shows."""
  workdir = max(Path("runs").iterdir(), key=lambda path: path.stat().st_mtime)
  assert command in shell(f"{RUN} --workdir={workdir} {SHORT}").splitlines()[-2]
  with tensorboard_server.serve("runs", command=shlex.split(command), timeout=240) as server:
    assert set(server.runs()) == {path.name for path in Path("runs").iterdir()} != set()
    assert server.scalars(workdir.name, "train/loss")


def compare(command):
  logdir = command.rpartition("=")[2]
  with tensorboard_server.serve(logdir, command=shlex.split(command), timeout=240) as server:
    assert set(server.runs()) == {path.name for path in Path(logdir).iterdir()} != set()


def compare_members(command):
  shell(
    "python -m mnist_mlp.sweep --config=configs/sweep_learning_rate.py --workdir=runs/lr "
    f"--points=8:10 {SHORT}"
  )
  compare(command)


def execute(program):
  shorter = 'c.data.update(name="digits", validation_examples=200)\nc.num_epochs = 1.0'
  assert "c.num_epochs = 2.0\n" in program
  Path("program.py").write_text(program.replace("c.num_epochs = 2.0", shorter))
  shell(f"{shlex.quote(sys.executable)} program.py")
  assert json.loads(Path("runs/mine/result.json").read_text())["epochs"] == 1


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


def sweep_a_file(program):
  """Trains the sweep file that the page shows."""
  Path("own_sweep.py").write_text(program)
  output = shell(f"python -m mnist_mlp.sweep --config=own_sweep.py --workdir=runs/own {SHORT}")
  assert "winner by validation accuracy: " in output


def check_cluster(command):
  """Nobody answers where there is no cluster. test_engine_ray.py has clusters."""
  done = subprocess.run(
    ["bash", "-c", f"{command} {SHORT}".replace("=auto", "=127.0.0.1:1")],
    capture_output=True,
    text=True,
    timeout=200,
  )
  missing = "which is not installed" in done.stderr
  assert missing or "cannot reach a Ray cluster at --ray_address=127.0.0.1:1" in done.stderr


def array(command):
  assert command == "#SBATCH --array=0-3"


def slurm(command):
  """Runs the four jobs of the array at the same time, as SLURM does, from the beginning."""
  shutil.rmtree("runs/lr", ignore_errors=True)
  assert command.startswith("srun ")
  job = f"{command.removeprefix('srun ')} {SHORT}"
  with futures.ThreadPoolExecutor() as pool:
    jobs = [pool.submit(shell, job, SLURM_ARRAY_TASK_ID=str(i)) for i in range(4)]
  for each in jobs:
    each.result()
  assert sorted(statuses()) == list(range(32))
  assert set(statuses().values()) <= {"finished", "diverged"}


def ask_for_help(command):
  """Checks that the script has the flags; what it does takes too long."""
  program, *flags = shlex.split(command.replace("python ", "", 1))
  output = shell(f"python {program} --help")
  for flag in flags:
    if flag.startswith("--"):
      assert flag.partition("=")[0].removeprefix("--") in output


def check_file(command):
  assert os.access(ROOT / command, os.X_OK)


def leave(command):
  """Changes the machine, or needs a repository: not run."""


def check_style(command):
  if shutil.which(command.split()[0]) is None:
    pytest.skip(f"{command.split()[0]} is not installed")
  if command == "ruff format .":  # would change files
    command = "ruff format --check ."
  done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == 0, done.stdout + done.stderr


KNOWN = {
  ("README.md", "Start"): [
    ("pip install -e .", check_extras),
    (RUN, train),
    ("pip install -e '.[test]'", check_extras),
    ("pytest", collect),
    ("pip install -e '.[cuda]'", check_extras),
  ],
  ("README.md", "What you see"): [(RUN, train), ("tensorboard --logdir=runs", look)],
  ("README.md", "The map"): [
    (
      'import mnist_mlp as mm\n\nc = mm.recipe("adam")\nc.num_epochs = 2.0\n'
      'mm.train_and_evaluate(c, "runs/mine")\nmm.plot_metrics("runs/mine")\n',
      execute,
    )
  ],
  ("README.md", "Using a trained net"): [
    (
      "python -m mnist_mlp.predict --workdir=runs/adam photo.jpg scans/ --show=seen.png",
      predicting.predict,
    ),
    ("python -m mnist_mlp.evaluate --workdir=runs/adam", evaluate),
  ],
  ("README.md", "Sweeps"): [
    ("python -m mnist_mlp.sweep --config=configs/sweep_learning_rate.py --workdir=runs/lr", sweep)
  ],
  ("CONTRIBUTING.md", "Set-up"): [
    ("pip install -e '.[test,lint,parquet,ray]'", check_extras),
    ("pre-commit install", leave),
  ],
  ("CONTRIBUTING.md", "Tests"): [
    ("pytest", collect),
    ("pytest -m slow", collect),
    ("pytest -m hundredfold", collect),
    (".ci/run", check_file),
    ("git worktree add ../before main", leave),
    ("python scripts/same_bits.py --record=before.json --checkout=../before", ask_for_help),
    ("python scripts/same_bits.py --record=after.json", ask_for_help),
    ("python scripts/same_bits.py --compare before.json after.json", ask_for_help),
    ("python scripts/same_speed.py --before=../before", ask_for_help),
  ],
  ("CONTRIBUTING.md", "Style"): [
    ("ruff check .", check_style),
    ("ruff format .", check_style),
    ("codespell", check_style),
    ("mypy", check_style),
    ("ruff format", leave),
  ],
  ("CONTRIBUTING.md", "How to add"): [
    ("python scripts/recipes.py --recipes=NAME --seeds=0:5 --update", ask_for_help)
  ],
  ("docs/configs.md", "Running one"): [
    (
      f"{RUN} --config.model.features=1024,1024 --config.optimizer.learning_rate=3e-3 "
      "--config.num_epochs=10 --config.seed=1",
      train,
    )
  ],
  ("docs/configs.md", "Longer, or from other weights"): [
    (
      "python -m mnist_mlp.main --start_from=runs/adam --more_epochs=10 --workdir=runs/longer",
      make_longer,
    ),
    (
      "python -m mnist_mlp.main --start_from=runs/adam --config=configs/quick.py "
      "--workdir=runs/tuned",
      start_with_weights,
    ),
  ],
  ("docs/configs.md", "What a run leaves"): [(f"{RUN} --profile", train_and_trace)],
  ("docs/data.md", "Your own pictures"): [
    (f"{RUN} --config.data.files=my_pictures", train_on_own_files),
    ("pip install -e '.[parquet]'", check_extras),
  ],
  ("docs/export.md", ""): [
    ("python -m mnist_mlp.export --workdir=runs/adam --out=exported", export)
  ],
  ("docs/export.md", "StableHLO"): [
    (
      "import jax\n\n"
      'program = jax.export.deserialize(bytearray(open("exported/net.stablehlo", "rb").read()))\n'
      "probabilities = program.call(images)\n",
      call_exported,
    )
  ],
  ("docs/export.md", "ONNX"): [
    ("pip install -e '.[onnx]'", check_extras),
    ("python -m mnist_mlp.export --workdir=runs/adam --out=exported --format=onnx", export_onnx),
  ],
  ("docs/performance.md", ""): [
    ("pip install -e '.[benchmark]'", check_extras),
    ("python scripts/benchmark.py --update_page", ask_for_help),
  ],
  ("docs/performance_details.md", "Where the time of a step goes"): [
    (f"{RUN} --config.model.dropout=0 --profile", train_and_trace)
  ],
  ("docs/pictures.md", ""): [
    (
      "python -m mnist_mlp.predict --workdir=runs/adam photo.jpg scans/ --json",
      predicting.predict_as_json,
    ),
    (
      "python -m mnist_mlp.predict --workdir=runs/adam --several form.png --show=digits.png",
      predicting.read_form,
    ),
  ],
  ("docs/pictures.md", "What is read"): [("pip install -e '.[heif]'", check_extras)],
  ("docs/pictures.md", "A page to draw on"): [
    ("pip install -e '.[demo]'", check_extras),
    ("python -m mnist_mlp.demo --workdir=runs/adam", serve_page),
  ],
  ("docs/results.md", ""): [
    ("python scripts/recipes.py --recipes=quick --seeds=0:5 --update", ask_for_help)
  ],
  ("docs/sweeps.md", ""): [
    ("python -m mnist_mlp.sweep --config=configs/sweep_learning_rate.py --workdir=runs/lr", sweep),
    (
      "from mnist_mlp import config, sweeps\n\n\ndef get_config():\n  return config.default()\n\n\n"
      'def sweep():\n  return sweeps.grid({"optimizer.learning_rate": [1e-3, 1e-2], '
      '"seed": range(3)})\n',
      sweep_a_file,
    ),
  ],
  ("docs/sweeps.md", "Several machines"): [
    ("pip install -e '.[ray]'", check_extras),
    (
      "python -m mnist_mlp.sweep --config=configs/sweep_learning_rate.py --workdir=runs/ray "
      "--engine=ray --ray_address=auto",
      check_cluster,
    ),
    ("#SBATCH --array=0-3", array),
    (
      "srun python -m mnist_mlp.sweep --config=configs/sweep_learning_rate.py --workdir=runs/lr "
      "--points=$SLURM_ARRAY_TASK_ID::4",
      slurm,
    ),
  ],
  ("docs/sweeps.md", "TensorBoard"): [("tensorboard --logdir=runs/lr/members", compare_members)],
}


def test_the_pages_have_the_commands_that_are_known_here():
  shown = {
    (page, section): found
    for page in PAGES
    for section, found in commands.sections_of((ROOT / page).read_text()).items()
  }
  known = {place: [command for command, _ in entries] for place, entries in KNOWN.items()}
  assert known == shown


@pytest.mark.slow
@pytest.mark.parametrize("place", KNOWN, ids=[f"{page} {section}" for page, section in KNOWN])
def test_the_commands_of_a_section_work(place, tmp_path, monkeypatch, digits_dir):
  for name in ("configs", "mnist_mlp", "scripts", "tests", "pyproject.toml", "README.md"):
    (tmp_path / name).symlink_to(ROOT / name)
  monkeypatch.chdir(tmp_path)
  shutil.copytree(digits_dir, tmp_path / "data")  # Own files are prepared beside the digits.
  monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
  monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
  for name in [name for name in os.environ if name.startswith("PYTEST_")]:
    monkeypatch.delenv(name)
  for command, work in KNOWN[place]:
    work(command)
