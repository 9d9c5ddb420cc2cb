"""Every command of the README and of docs/ is run as it stands there; what is appended shortens it.

Each command that a page shows must be known here: a new one needs an entry in KNOWN, one that is
gone must leave it. The commands of a section run one after the other, in a folder that has what a
checkout has. Some are not run as they stand: `pip install`, of which it is checked that
pyproject.toml has the extras (CI runs it); `pytest`, which here only collects the tests; commands
that take hours, which are asked for their help; and `srun` of SLURM, which is left out.
"""

import os
import shutil
import sys
from pathlib import Path

import commands
import predicting
import processes
import pytest
from commands import RUN
from on_pages import (
  array,
  ask_for_help,
  call_exported,
  check_cluster,
  check_extras,
  check_file,
  check_style,
  collect,
  compare_members,
  evaluate,
  execute,
  export,
  export_onnx,
  leave,
  look,
  make_longer,
  serve_page,
  slurm,
  start_with_weights,
  sweep,
  sweep_a_file,
  train,
  train_and_trace,
  train_cnn_on_own_files,
  train_on_own_files,
  train_together,
)

ROOT = processes.ROOT
# These have tests of their own: test_python_page.py and test_make_it_yours.py.
ELSEWHERE = ("make-it-yours.md", "python.md")
DOCS = sorted(f"docs/{page.name}" for page in ROOT.glob("docs/*.md") if page.name not in ELSEWHERE)
PAGES = ["README.md", "CONTRIBUTING.md", *DOCS]


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
      'mm.train_and_evaluate(c, "runs/mine")\nmm.plot_metrics("runs/mine").savefig("curves.png")\n',
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
    (
      "python -m mnist_mlp.main --config=configs/cnn.py --config.data.files=my_pictures "
      "--config.data.image_size=32,32 --config.batch_size=16 --config.num_epochs=30",
      train_cnn_on_own_files,
    ),
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
    (
      "python -m mnist_mlp.export --workdir=runs/adam --out=exported_onnx --format=onnx",
      export_onnx,
    ),
  ],
  ("docs/performance.md", ""): [
    ("pip install -e '.[benchmark]'", check_extras),
    ("python scripts/benchmark.py --update_page", ask_for_help),
  ],
  ("docs/performance_details.md", "Where the time of a step goes"): [
    (f"{RUN} --config.model.dropout=0 --profile", train_and_trace)
  ],
  ("docs/performance_details.md", "Data on the host"): [
    ("python scripts/placements.py", ask_for_help)
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
    ("python scripts/drawing.py --workdir=runs/adam", ask_for_help),
  ],
  ("docs/reliability.md", "Faults at random"): [("pytest -m hundredfold", collect)],
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
  ("docs/scaling.md", "Several processes, on one machine or on several"): [
    (
      f"{RUN} --workdir=/shared/runs/adam --coordinator=node-a:7777 --num_processes=2 "
      f"--process_id={i}",
      train_together,
    )
    for i in range(2)
  ],
  ("docs/scaling.md", "What it costs here"): [
    ("python scripts/scaling.py --update_page", ask_for_help)
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
