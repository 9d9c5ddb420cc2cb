"""Takes the README's pictures of TensorBoard; browser.py says what that needs.

    python -m mnist_mlp.main --config=configs/adam.py --workdir=runs/adam
    python -m mnist_mlp.main --config=configs/quick.py --workdir=runs/quick
    python -m mnist_mlp.main --config=configs/momentum.py --config.num_epochs=8 \
        --workdir=runs/momentum
    python -m mnist_mlp.sweep --config=configs/sweep_regularization.py --config.num_epochs=3 \
        --workdir=runs/regularization
    python scripts/screenshots.py --runs runs/adam runs/momentum runs/quick \
        --sweep=runs/regularization
"""

import argparse
import contextlib
import sys
import tempfile
import time
from pathlib import Path

import browser
from PIL import Image
from tensorboard import program

DOCS = Path(__file__).resolve().parents[1] / "docs"
SIZE = (1400, 930)  # pixels
SCALARS = "(train|validation)/(loss|accuracy)|learning_rate|gradient_norm"
COLUMNS = [
  "loss.label_smoothing",
  "optimizer.learning_rate",
  "optimizer.weight_decay",
  "validation/accuracy",
]
COLORS = 128


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument(
    "--runs",
    type=Path,
    nargs="+",
    required=True,
    help="workdirs, compared under the names of their folders; the first one's images are shown",
  )
  parser.add_argument(
    "--sweep", type=Path, required=True, help="workdir of configs/sweep_regularization.py"
  )
  options = parser.parse_args()
  if browser.missing():
    sys.exit(f"error: {browser.missing()} not found; Debian: apt install chromium chromium-driver")
  for path in (*options.runs, options.sweep / "members"):
    if not path.is_dir():
      sys.exit(f"error: there is no folder {path}")
  for take, paths, name in (
    (take_scalars, options.runs, "scalars"),
    (take_images, options.runs[:1], "images"),
    (take_hparams, [options.sweep / "members"], "hparams"),
  ):
    with page_of(paths) as page:
      take(page)
      save(page, f"tensorboard_{name}.png")


@contextlib.contextmanager
def page_of(paths):
  """Yields the page of a TensorBoard that shows the folders, as if they were alone in 'runs'."""
  paths = [path.absolute() for path in paths]
  with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
    Path("runs").mkdir()
    for path in paths:
      Path("runs", path.name).symlink_to(path)
    server = program.TensorBoard()
    server.configure(
      (
        "",
        "--logdir=runs",
        "--port=0",
        "--load_fast=false",
        "--reload_interval=0",
        "--reload_task=blocking",
      )
    )
    with browser.tensorboard_page(server.launch(), *SIZE) as page:
      yield page


def take_scalars(page):
  page.open("timeseries", f"tagFilter={SCALARS}&smoothing=0")
  page.wait_for(page.time_series, lambda drawn: len(drawn) == 6 and all(drawn.values()))
  page.run("""
deep('[aria-label="Toggle settings side pane"]', document)[0].click();
for (const element of deep('*', document)) element.scrollTop = 0;
""")
  time.sleep(2)  # seconds, for the animations


def take_images(page):
  page.open("images")
  page.wait_for(page.images, lambda images: len(images) == 3 and all(images.values()))
  page.run("deep('paper-checkbox', document).find(box => /actual/.test(box.textContent)).click()")
  time.sleep(2)


def take_hparams(page):
  """Opens the plots of the result over each swept field."""
  page.open("hparams")
  page.wait_for(page.hparams_table)
  page.run(
    """
for (const box of deep('.hparam-checkbox, .metric-checkbox', document))
  if (box.checked != arguments[0].includes(box.textContent.trim())) box.click();
deep('paper-tab', document).find(tab => /scatter/i.test(tab.textContent)).click();
""",
    COLUMNS,
  )
  visible = "deep('[name=LOG]', document).filter(button => button.offsetParent)"
  page.wait_for(lambda: page.run(f"return {visible}.length") == len(COLUMNS))
  page.run(f"{visible}.filter(button => /rate|decay/.test(button.id)).forEach(b => b.click())")
  time.sleep(2)


def save(page, name):
  """Writes the picture with few colors, which halves its size."""
  picture = page.picture().quantize(COLORS, dither=Image.Dither.NONE)
  DOCS.mkdir(exist_ok=True)
  picture.save(DOCS / name, optimize=True)
  print(f"{DOCS / name}: {(DOCS / name).stat().st_size // 1000} kB")


if __name__ == "__main__":
  main()
