"""The commands that a Markdown page shows, and a shell that runs them."""

import os
import re
import subprocess

SHORT = (
  "--config.data.name=digits --config.data.validation_examples=200 "
  "--config.num_epochs=1 --config.batch_size=64"
)
RUN = "python -m mnist_mlp.main --config=configs/adam.py"

INLINE = ("pip ", "python ", "pytest", "tensorboard ", "ray ", "ruff ", "git ", ".ci/run")


def sections_of(page):
  """Returns {heading: [command, ...]}, in their order; commands joined by && are several.

  Commands stand in shell blocks, in blocks of Python, in the excerpt of a terminal, and between
  backticks in the text.
  """
  sections, texts = {}, re.split(r"^## (.*)\n", page, flags=re.MULTILINE)
  for heading, text in zip(["", *texts[1::2]], texts[::2], strict=True):
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
