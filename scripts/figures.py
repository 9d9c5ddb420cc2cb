"""Draws the README's figures of runs and sweeps.

python -m mnist_mlp.main --config=configs/elastic.py --workdir=runs/elastic
python -m mnist_mlp.sweep --config=configs/sweep_seeds.py --workdir=runs/seeds
python -m mnist_mlp.sweep --config=configs/sweep_learning_rate.py --workdir=runs/lr
python scripts/figures.py --run=runs/elastic --seeds=runs/seeds --sweep=runs/lr
"""

import argparse
import shutil
import sys
from pathlib import Path

from PIL import Image

from mnist_mlp import data, inference
from mnist_mlp.run import figures
from mnist_mlp.run.curves import learning_curves
from mnist_mlp.run.reporting import distortions
from mnist_mlp.run.workdir import Workdir

DOCS = Path(__file__).resolve().parents[1] / "docs"


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument(
    "--run", type=Path, required=True, help="workdir of a run with distortions: its test split"
  )
  parser.add_argument(
    "--seeds", type=Path, required=True, help="workdir of a sweep over seeds: its curves"
  )
  parser.add_argument("--sweep", type=Path, required=True, help="workdir of a sweep: its figure")
  options = parser.parse_args()
  members = sorted((options.seeds / "members").glob("*"))
  if not members:
    sys.exit(f"error: {options.seeds} holds no sweep")
  if not (options.sweep / "sweep.png").exists():
    sys.exit(f"error: {options.sweep} holds no finished sweep")
  run = inference.load_run(options.run)
  dataset = data.load(run.config.data)
  labels, probabilities = dataset.test.labels, run.probabilities(run.logits(dataset.test.images))
  curves = {f"{len(members)} seeds": [Workdir(member).metrics() for member in members]}
  save(learning_curves(curves), "learning_curves")
  save(figures.reliability_diagram(labels, probabilities), "reliability")
  save(figures.confusion_matrix(labels, probabilities.argmax(-1), run.class_names), "confusion")
  save(distortions(run.config, dataset), "distortions")
  shutil.copyfile(options.sweep / "sweep.png", DOCS / "sweep.png")


def save(figure, name):
  Image.fromarray(figures.to_image(figure)).convert("RGB").quantize(128).save(
    DOCS / f"{name}.png", optimize=True
  )


if __name__ == "__main__":
  main()
