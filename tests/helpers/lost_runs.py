"""A tiny run on digits that loses some of its files, and what it comes to then."""

import small
from training_runs import last_digest, read_result

from mnist_mlp.errors import UserError
from mnist_mlp.train import train_and_evaluate

# The command of another such run, but for its folders.
COMMAND = (
  "--config=configs/adam.py",
  "--config.data.name=digits",
  "--config.data.validation_examples=100",
  "--config.model.features=(16,)",
  "--config.num_steps=12",
  "--config.eval_every_steps=6",
)


def config_of(digits_dir):
  return small.config_of(
    data__name="digits",
    data__data_dir=str(digits_dir),
    data__validation_examples=100,
    num_steps=24,
    eval_every_steps=6,
  )


def outcome(config, workdir):
  """Trains on; returns the sentence with which that ended, or '' if it came to its end."""
  try:
    train_and_evaluate(config, workdir)
  except UserError as error:
    return str(error)
  return ""


def is_one_sentence(said):
  """Returns whether what a command printed ends with its only error, without a traceback."""
  errors = [line for line in said.splitlines() if line.startswith("error: ")]
  return len(errors) == 1 and said.endswith(f"{errors[0]}\n") and "Traceback" not in said


def same(workdir, finished):
  """Returns whether a run has come to the same end as the undisturbed one."""
  return (
    last_digest(workdir) == last_digest(finished)
    and (workdir / "metrics.jsonl").read_bytes() == (finished / "metrics.jsonl").read_bytes()
    and all(
      read_result(workdir)[name] == read_result(finished)[name]
      for name in ("test", "validation", "train", "best_validation", "dataset")
    )
  )
