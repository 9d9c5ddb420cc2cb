"""Folders of runs that earlier versions left: they can be resumed, evaluated and used.

`old_runs/` holds one archive a version: a run that was killed, but for its event files. In it,
`expected.jsonl` is the metrics.jsonl of the same run when that version trained it to its end.
"""

import json
import tarfile
from pathlib import Path

import jax
import numpy as np
import processes
import pytest
import small_run

from mnist_mlp.core.metrics import TrainMetrics
from mnist_mlp.core.spec import DataSpec
from mnist_mlp.core.state import initializer
from mnist_mlp.core.traced import traced
from mnist_mlp.run import checkpoint, resuming
from mnist_mlp.run.workdir import Workdir

ARCHIVES = sorted((Path(__file__).parent / "old_runs").glob("*.tar.gz"))
# The command with which the runs were started.
COMMAND = (
  "--config=configs/adam.py",
  "--config.data.name=digits",
  "--config.data.validation_examples=100",
  "--config.model.features=(3,)",
  "--config.model.inputs=standardized",
  "--config.model.norm=batch",
  "--config.batch_size=100",
  "--config.num_epochs=60",
  "--config.eval_every_epochs=2",
  "--config.checkpoint_every_steps=5",
  "--config.optimizer.clip_norm=1.0",
  "--config.ema.decay=0.9",
  "--config.augment.rotation=5.0",
)


@pytest.fixture(params=ARCHIVES, ids=[path.name.removesuffix(".tar.gz") for path in ARCHIVES])
def old_run(request, tmp_path):
  with tarfile.open(request.param) as archive:
    archive.extractall(tmp_path / "run", filter="data")
  return tmp_path / "run"


def rows(path):
  return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.slow
def test_a_run_of_an_earlier_version_goes_on_to_the_same_end(old_run, digits_dir):
  before = rows(old_run / "metrics.jsonl")
  assert 0 < len(before) < 30
  done = processes.run(*COMMAND, f"--workdir={old_run}", TFDS_DATA_DIR=str(digits_dir))
  assert done.returncode == 0, done.stderr
  assert "resuming at step 160 of 840" in done.stdout
  found, expected = rows(old_run / "metrics.jsonl"), rows(old_run / "expected.jsonl")
  assert [row["step"] for row in found] == [row["step"] for row in expected]
  for row, other in zip(found, expected, strict=True):
    assert [name for name in row if name in other] == list(other), "later versions measure more"
  # The same bits on the same machine; elsewhere differences grow with the steps.
  for row, other in zip(found[:12], expected[:12], strict=True):
    assert {name: row[name] for name in other} == pytest.approx(other, rel=1e-3, abs=1e-4)
  assert found[-1]["validation/loss"] == pytest.approx(expected[-1]["validation/loss"], rel=0.05)


@pytest.mark.slow
def test_a_run_of_an_earlier_version_can_be_evaluated(old_run, digits_dir):
  done = processes.run(
    f"--workdir={old_run}",
    "--split=validation",
    "--json",
    module="mnist_mlp.evaluate",
    TFDS_DATA_DIR=str(digits_dir),
  )
  assert done.returncode == 0, done.stderr
  report = json.loads(done.stdout)
  assert report["runs"][0]["step"] == 160 and report["examples"] == 100


@pytest.mark.parametrize("lines", [0, 4])
def test_a_run_of_an_earlier_version_says_which_rows_it_lost(old_run, lines):
  """Its checkpoints hold no copy of metrics.jsonl."""
  path = old_run / "metrics.jsonl"
  path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:lines]) + b'{"st')
  run = small_run.run_of(old_run, num_steps=840, eval_every_steps=28)
  with checkpoint.Checkpoints(old_run / "checkpoints") as checkpoints:
    about = checkpoints.about(160)
  assert "rows" not in about
  resuming.start_rows(run, 160, about.get("rows"))
  (line,) = run.console.lines
  assert line.startswith(f"{5 - lines} of the evaluations up to step 160 are lost")
  assert len(run.folder.metrics()) == lines


def test_a_run_of_a_version_with_another_field_names_it(old_run):
  """Its config says something that this program does not understand."""
  path = old_run / "config.json"
  settings = json.loads(path.read_text())
  settings["model"]["sparsity"] = 0.5
  path.write_text(json.dumps(settings))
  done = processes.run(*COMMAND, f"--workdir={old_run}")
  assert done.returncode == 2
  assert done.stderr == (
    f"error: {path}: this version of the program has no field config.model.sparsity, which another "
    "version wrote; use another --workdir\n"
  )


def test_a_run_of_an_earlier_version_can_be_restored(old_run):
  """Its checkpoint has the structure that the code of today expects."""
  config = Workdir(old_run).config()
  facts = Workdir(old_run).read_json("dataset.json")
  spec = DataSpec(tuple(facts["image_shape"]), facts["num_classes"], facts["examples"]["train"])
  template = jax.eval_shape(initializer(config, spec), traced(config))
  step, (state, _) = checkpoint.read(old_run / "checkpoints", (template, TrainMetrics.empty()))
  assert step == int(state.step) == 160
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))
