"""What is handed out: the source distribution and the wheel, which works without the checkout."""

import os
import subprocess
import sys
import tarfile
import zipfile

import processes
import pytest

FOLDERS = ("mnist_mlp", "configs", "tests", "docs", "scripts")
GONE = {"__pycache__", ".pytest_cache"}


def run(*command, cwd, **variables):
  done = subprocess.run(
    command,
    cwd=cwd,
    env={**os.environ, **variables},
    capture_output=True,
    text=True,
    timeout=300,
    stdin=subprocess.DEVNULL,
  )
  assert done.returncode == 0, done.stdout + done.stderr
  return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
  """The source distribution and the wheel, made of what the source distribution holds."""
  folder = tmp_path_factory.mktemp("dist")
  build = (sys.executable, "-m", "build", "--no-isolation", f"--outdir={folder}")
  run(*build, str(processes.ROOT), cwd=folder)
  (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
  return sdist, wheel


def files_of_the_checkout():
  paths = [path for folder in FOLDERS for path in (processes.ROOT / folder).rglob("*")]
  relative = [path.relative_to(processes.ROOT) for path in paths if path.is_file()]
  return {str(path) for path in relative if not GONE & set(path.parts)}


@pytest.mark.slow
def test_the_source_distribution_is_whole(built):
  with tarfile.open(built[0]) as archive:
    held = {name.partition("/")[2] for name in archive.getnames()}
  assert len(files_of_the_checkout()) > 200
  assert files_of_the_checkout() - held == set()
  assert {"pyproject.toml", "README.md", "CONTRIBUTING.md", "LICENSE", ".ci/run"} <= held


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_the_recipes_alone(built):
  with zipfile.ZipFile(built[1]) as archive:
    held = {name for name in archive.namelist() if ".dist-info/" not in name}
  files = files_of_the_checkout()
  package = {name for name in files if name.startswith("mnist_mlp/")}
  recipes = {f"mnist_mlp/{name}" for name in files if name.startswith("configs/")}
  assert held == package | recipes


@pytest.mark.slow
def test_the_installed_wheel_trains_a_recipe_by_its_name(built, tmp_path, digits_dir):
  site, folder = tmp_path / "site", tmp_path / "empty"
  folder.mkdir()
  pip = (sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--no-compile")
  run(*pip, f"--target={site}", str(built[1]), cwd=folder)
  short = ("--config.data.name=digits", "--config.data.validation_examples=200")
  for number, recipe in enumerate(("sgd", "configs/sgd.py")):
    output = run(
      *(sys.executable, "-m", "mnist_mlp.main", f"--config={recipe}"),
      *(*short, "--config.num_epochs=1", f"--workdir={tmp_path / str(number)}"),
      cwd=folder,
      PYTHONPATH=str(site),
      TFDS_DATA_DIR=str(digits_dir),
    )
    assert f"--config={site}/mnist_mlp/configs/sgd.py" in output, "another installation ran"
    assert (tmp_path / str(number) / "result.json").exists()
