"""Brings the README's terminal excerpt and pictures up to date, from a real run of the reference.

    python scripts/readme.py [--workdir=runs/readme] [further arguments of mnist_mlp.main]

The excerpt is what `python -m mnist_mlp.main --config=configs/adam.py` prints, shortened; the
pictures are those that TensorBoard shows of the run.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

import pages
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

ROOT = Path(__file__).resolve().parents[1]
COMMAND = "python -m mnist_mlp.main --config=configs/adam.py"
PICTURES = {"weights/first_layer": "first_layer.png", "test/worst_mistakes": "worst_mistakes.png"}


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--workdir", type=Path, default=Path("runs/readme"))
  options, others = parser.parse_known_args()
  if (options.workdir / "result.json").exists():
    sys.exit(f"error: {options.workdir} holds a finished run; give another --workdir")
  arguments = [sys.executable, *COMMAND.split()[1:], f"--workdir={options.workdir}", *others]
  done = subprocess.run(arguments, stdout=subprocess.PIPE, text=True, check=True)
  readme = ROOT / "README.md"
  excerpt = f"```\n{shorten(done.stdout, options.workdir)}\n```"
  readme.write_text(pages.replace_part(readme.read_text(), "excerpt", "readme", excerpt))
  save_pictures(options.workdir, ROOT / "docs")


def shorten(output, workdir):
  """Returns the output with dots for the middle epochs and the parameters; without local paths."""
  output = re.sub(r"prepared in \S+", "prepared in ~/tensorflow_datasets/mnist/3.0.1", output)
  output = re.sub(r"^this run again.*\n", "", output, flags=re.MULTILINE)
  output = re.sub(r"^([+|].*\n)+", "...\n", output, flags=re.MULTILINE)
  lines = output.replace(str(workdir), "runs/adam-20261121-120000").splitlines()
  epochs = [i for i, line in enumerate(lines) if line.startswith("epoch")]
  kept = [*lines[: epochs[3]], "...", *lines[epochs[-1] :]]
  return "\n".join([f"$ {COMMAND}", *kept])


def save_pictures(workdir, folder):
  """Writes the pictures of the run's event files as PNG files."""
  events = EventAccumulator(str(workdir), size_guidance={"tensors": 0})
  events.Reload()
  folder.mkdir(exist_ok=True)
  for tag, name in PICTURES.items():
    _, _, png = events.Tensors(tag)[-1].tensor_proto.string_val  # width, height, picture
    (folder / name).write_bytes(png)


if __name__ == "__main__":
  main()
