"""`python -m mnist_mlp.evaluate`, as a process: its numbers against the run and the data."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess

import numpy as np
import processes
import pytest
from PIL import Image
from sklearn import metrics

from mnist_mlp import data, inference
from mnist_mlp.core.spec import Examples
from mnist_mlp.train import train_and_evaluate

EVALUATE = "mnist_mlp.evaluate"


@pytest.fixture(scope="module")
def workdir(trained_run, tmp_path_factory):
  copy = tmp_path_factory.mktemp("evaluate") / "run"
  shutil.copytree(trained_run, copy)
  return copy


@pytest.fixture(scope="module")
def dataset(workdir):
  return data.load(inference.load_run(workdir).config.data, report=lambda line: None)


def test_the_test_split(workdir, dataset):
  done = processes.run(f"--workdir={workdir}", "--json", module=EVALUATE)
  assert done.returncode == 0, done.stderr
  report = json.loads(done.stdout)
  result = json.loads((workdir / "result.json").read_text())
  assert report["accuracy"] == pytest.approx(result["test"]["accuracy"], abs=1e-6)
  for name in ("loss", "cross_entropy"):
    assert report[name] == pytest.approx(result["test"][name], rel=1e-5)
  assert report["split"] == "test"
  calibration = result["calibration"]
  assert report["runs"] == [
    {"workdir": str(workdir), "step": result["steps"], "temperature": calibration["temperature"]}
  ]
  for name, value in calibration["test"].items():
    assert report[name] == pytest.approx(value, abs=1e-3), name
  before = report["expected_calibration_error"]
  assert before > 0.05  # Labels were smoothed.
  most = 0.02 if dataset.name == "mnist" else before / 2  # The stand-in has 297 test images.
  assert report["calibrated_expected_calibration_error"] < most
  assert report["calibrated_cross_entropy"] < report["cross_entropy"]
  assert report["order"] == (
    f"from 0 as TFDS stores the test split of {dataset.name}, not as the original files do"
  )

  labels = dataset.test.labels
  predictions = inference.load_run(workdir).logits(dataset.test.images).argmax(-1)
  matrix = np.array(report["confusion_matrix"])
  assert (matrix.sum(1) == np.bincount(labels, minlength=10)).all()
  assert (matrix.sum(0) == np.bincount(predictions, minlength=10)).all()
  assert report["mistakes"] == (labels != predictions).sum() == matrix.sum() - np.trace(matrix)
  rows = report["classes"]
  assert [row["name"] for row in rows] == list("0123456789")
  assert np.mean([row["f1"] for row in rows]) == pytest.approx(
    metrics.f1_score(labels, predictions, average="macro")
  )
  assert rows[3]["recall"] == pytest.approx(matrix[3, 3] / matrix[3].sum())
  assert rows[3]["precision"] == pytest.approx(matrix[3, 3] / matrix[:, 3].sum())

  worst = report["worst_mistakes"]
  assert 0 < len(worst) <= 25
  for mistake in worst:
    assert mistake["label"] == str(labels[mistake["index"]]) != mistake["predicted"]
    assert mistake["predicted"] == str(predictions[mistake["index"]])
    assert mistake["file"] is None  # It lies in files of TFDS.
  likelihoods = [mistake["probability_of_label"] for mistake in worst]
  assert likelihoods == sorted(likelihoods)

  folder = workdir / "evaluation" / f"{dataset.name}-test"
  assert json.loads((folder / "report.json").read_text()) == report
  for name in ("confusion_matrix", "worst_mistakes", "reliability_diagram"):
    with Image.open(folder / f"{name}.png") as image:
      assert image.width >= 800


@pytest.mark.slow
def test_text_of_validation_and_best(workdir, dataset):
  done = processes.run(f"--workdir={workdir}", "--split=validation", "--best", module=EVALUATE)
  assert done.returncode == 0, done.stderr
  best = json.loads((workdir / "result.json").read_text())["best_validation"]
  first, second, third, *_ = done.stdout.splitlines()
  assert f"{dataset.name} validation" in first and first.endswith(f"at step {best['step']}")
  assert f"accuracy {best['accuracy']:.2%}" in second
  temperature = json.loads((workdir / "result.json").read_text())["calibration"]["best_temperature"]
  assert third.startswith(f"calibrated at temperature {temperature:.3f}: ")
  assert f"from 0 as TFDS stores the validation split of {dataset.name}" in done.stdout
  written = workdir / "evaluation" / f"{dataset.name}-validation-best" / "report.txt"
  assert written.read_text() == done.stdout


@pytest.mark.slow
def test_another_dataset(workdir, mnist_files, digits_dir, tmp_path):
  """MNIST's net on the embedded digits, whose images look alike."""
  copy = tmp_path / "run"
  shutil.copytree(workdir, copy)
  settings = json.loads((copy / "config.json").read_text())
  settings["data"]["data_dir"] = str(digits_dir)
  (copy / "config.json").write_text(json.dumps(settings))
  done = processes.run(f"--workdir={copy}", "--dataset=digits", "--json", module=EVALUATE)
  assert done.returncode == 0, done.stderr
  report = json.loads(done.stdout)
  assert (report["dataset"], report["examples"]) == ("digits", 297)
  assert 0.3 < report["accuracy"] < 0.99


def test_calibration_of_a_net_that_knows_nothing(workdir, dataset):
  net = inference.load_run(workdir)
  zeros = {
    key: {k: np.zeros_like(v) for k, v in layer.items()} for key, layer in net.state.params.items()
  }
  net = dataclasses.replace(net, state=net.state.replace(params=zeros))
  images, labels = dataset.test.images[:200], dataset.test.labels[:200]
  report = inference.measure(
    inference.Evaluation(net, dataset.name, "test", Examples(images, labels))
  )
  assert report["accuracy"] == pytest.approx(np.mean(labels == 0))
  assert report["loss"] == pytest.approx(np.log(10), rel=1e-5)
  # Nothing can be sharpened.
  assert report["calibrated_cross_entropy"] == pytest.approx(np.log(10))
  expected = abs(0.1 - np.mean(labels == 0))
  assert report["expected_calibration_error"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
  ("arguments", "code", "message"),
  [
    ([], 2, "--workdir is missing"),
    (["--workdir=no/run"], 2, "the workdir no/run does not exist"),
    (["--workdir={}", "--split=tset"], 2, "did you mean 'test'?"),
    (["--workdir={}", "--out={}/config.json"], 2, "must be the name of a folder"),
    (["--workdir={}", "stray"], 2, "'stray' is not a flag"),
    (["--workdir={}", "--dataset=mnits"], 2, "--dataset=mnits cannot be used"),
  ],
)
def test_errors(workdir, arguments, code, message):
  done = processes.run(*(a.format(workdir) for a in arguments), module=EVALUATE)
  assert done.returncode == code, done.stderr
  assert message in done.stderr and "Traceback" not in done.stderr
  assert done.stderr.splitlines()[-1].startswith("error: ")


def without_privileges(*command):
  """Returns a command whose process cannot write where permissions forbid it, not even as root."""
  if os.geteuid() != 0:
    return command
  if not shutil.which("setpriv"):
    pytest.skip("root may write everywhere")
  return "setpriv", "--bounding-set=-dac_override", "--inh-caps=-all", *command


@pytest.mark.slow
def test_a_run_that_one_may_only_read(workdir, tmp_path):
  copy, out = tmp_path / "run", tmp_path / "new" / "report"
  shutil.copytree(workdir, copy, ignore=shutil.ignore_patterns("evaluation"))
  before = {path: path.stat().st_mtime_ns for path in copy.rglob("*")}
  for path in (copy, *copy.rglob("*")):
    path.chmod(path.stat().st_mode & 0o555)

  def evaluated(*arguments):
    command = processes.command(f"--workdir={copy}", *arguments, module=EVALUATE)
    return subprocess.run(
      without_privileges(*command), cwd=processes.ROOT, capture_output=True, text=True
    )

  refused, done = evaluated(), evaluated(f"--out={out}")
  assert refused.returncode == 1 and "accuracy" in refused.stdout
  last = refused.stderr.splitlines()[-1]
  assert last.startswith(f"error: cannot write the report to {copy}/evaluation/")
  assert last.endswith("Permission denied; give another place by --out")
  assert done.returncode == 0, done.stderr
  assert done.stderr.endswith(f"figures and this report: {out}\n")
  assert sorted(path.name for path in out.iterdir()) == [
    "confusion_matrix.png",
    "reliability_diagram.png",
    "report.json",
    "report.txt",
    "worst_mistakes.png",
  ]
  assert (out / "report.txt").read_text() == done.stdout == refused.stdout
  assert {path: path.stat().st_mtime_ns for path in copy.rglob("*")} == before


@pytest.fixture(scope="module")
def other(workdir, tmp_path_factory):
  """A run on the same data, of another and smaller net."""
  folder = tmp_path_factory.mktemp("evaluate-other") / "run"
  c = inference.load_run(workdir).config.copy_and_resolve_references()
  c.model.features, c.num_epochs = (8,), 1.0
  train_and_evaluate(c, folder)
  return folder


@pytest.mark.slow
def test_a_committee_averages_what_its_members_say(workdir, other, dataset):
  done = processes.run(f"--workdir={workdir}", f"--workdir={other}", "--json", module=EVALUATE)
  assert done.returncode == 0, done.stderr
  report = json.loads(done.stdout)
  images, labels = dataset.test
  nets = [inference.load_run(folder) for folder in (workdir, other)]
  mean = sum(net.probabilities(net.logits(images)) for net in nets) / 2
  assert report["accuracy"] == pytest.approx((mean.argmax(-1) == labels).mean())
  raw = sum(net.probabilities(net.logits(images), calibrated=False) for net in nets) / 2
  for name, probabilities in (("loss", raw), ("calibrated_cross_entropy", mean)):
    given = probabilities[np.arange(len(labels)), labels]
    assert report[name] == pytest.approx(-np.log(given).mean())
  assert [one["temperature"] for one in report["runs"]] == [net.temperature for net in nets]
  assert [member["workdir"] for member in report["runs"]] == [str(workdir), str(other)]


@pytest.mark.slow
def test_a_committee_needs_members_of_the_same_data(workdir, other, tmp_path):
  copy = tmp_path / "run"
  shutil.copytree(other, copy)
  facts = json.loads((copy / "dataset.json").read_text())
  (copy / "dataset.json").write_text(json.dumps({**facts, "fingerprint": "another"}))
  done = processes.run(f"--workdir={workdir}", f"--workdir={copy}", module=EVALUATE)
  assert done.returncode == 2
  assert f"a committee needs runs on the same data, but {copy} was trained" in done.stderr


@pytest.mark.slow
def test_a_committee_is_not_asked_what_a_member_was_trained_on(workdir, other, tmp_path):
  same = processes.run(
    f"--workdir={workdir}", f"--workdir={other}", "--split=validation", module=EVALUATE
  )
  assert same.returncode == 0, same.stderr
  copy = tmp_path / "run"
  shutil.copytree(other, copy)
  facts = json.loads((copy / "dataset.json").read_text())
  facts["examples"].update(train=facts["examples"]["train"] + 10, validation=7)
  (copy / "dataset.json").write_text(json.dumps(facts))
  done = processes.run(
    f"--workdir={workdir}", f"--workdir={copy}", "--split=validation", module=EVALUATE
  )
  assert done.returncode == 2
  assert f"{copy} 7; give runs that held out the same" in done.stderr
  assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_reader_that_goes_away_ends_it_without_a_word(workdir):
  with subprocess.Popen(
    processes.command(f"--workdir={workdir}", module=EVALUATE),
    cwd=processes.ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  ) as running:
    running.stdout.close()
    errors = running.stderr.read()
  assert running.returncode == 128 + signal.SIGPIPE
  assert "Error" not in errors and "Traceback" not in errors
