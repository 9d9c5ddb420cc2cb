"""What is done with the commands that pages show, in the folder of their section."""

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

import drawing
import processes
import pytest
import tensorboard_server
import together
from commands import RUN, SHORT, shell
from PIL import Image

from mnist_mlp import config, data

ROOT = processes.ROOT


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


def train_on_own_files(command, size="28x28"):
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
  assert re.search(rf"^data: 300 pictures .* all become {size} pixels, grayscale;", output, re.M)
  assert f"of all {test} images of my_pictures (own files) wrong" in output


def train_cnn_on_own_files(command):
  train_on_own_files(command, "32x32")


def export(command):
  shell(f"{RUN} {SHORT} --workdir=runs/adam")
  assert "how to call it" in shell(command)
  (folder,) = re.findall(r"--out=(\S+)", command)
  assert {"net.json"} < {path.name for path in Path(folder).iterdir()}


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


_TOGETHER = []  # what to run on each of two machines


def train_together(command):
  """Runs what stands for two machines on this one, once both commands have come."""
  port = together.free_port()
  command = command.replace("/shared/", "").replace("node-a:7777", "localhost:PORT")
  _TOGETHER.append(f"{command} {SHORT}")
  if len(_TOGETHER) < 2:
    return
  with futures.ThreadPoolExecutor() as pool:
    done = list(pool.map(shell, (each.replace("PORT", str(port)) for each in _TOGETHER)))
  _TOGETHER.clear()
  assert "on 2 x cpu" in done[0] and not done[1]


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
