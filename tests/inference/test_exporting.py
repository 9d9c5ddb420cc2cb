"""Exported nets: run without this package, they say what the package says."""

import importlib.metadata
import json
import os
import re
import subprocess
import sys

import numpy as np
import processes
import pytest
from packaging.requirements import Requirement

from mnist_mlp import inference
from mnist_mlp.inference import exporting

ALONE = """
import json, sys
sys.path.insert(0, sys.argv[1])
import jax.export
import numpy as np
facts = json.load(open(sys.argv[2] + "/net.json"))
images = np.load(sys.argv[3])
file = sys.argv[2] + "/" + facts["file"]
np.save(sys.argv[4], eval(facts["call"]))
loaded = {name.partition(".")[0] for name in sys.modules}
assert not {"mnist_mlp", "flax", "optax", "orbax", "tensorflow"} & loaded
"""


def packages_of(name, found):
  """Adds to `found` the packages that a package requires, and itself."""
  if name not in found:
    found[name] = importlib.metadata.distribution(name)
    for text in found[name].requires or ():
      requirement = Requirement(text)
      if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
        packages_of(requirement.name, found)
  return found


@pytest.fixture(scope="session")
def jax_alone(tmp_path_factory):
  """A folder with JAX and what it needs, and nothing else."""
  folder = tmp_path_factory.mktemp("jax_alone")
  found = packages_of("jax", {})
  packages_of("flatbuffers", found)
  for distribution in found.values():
    tops = {file.parts[0] for file in distribution.files if file.parts[0] not in ("..", "bin")}
    for top in tops - {"__pycache__"}:
      (folder / top).symlink_to(distribution.locate_file(top))
  return folder


def test_stablehlo_runs_with_jax_alone_to_the_same_bits(net, test_split, jax_alone, tmp_path):
  exporting.export(net, tmp_path, "stablehlo")
  images = test_split.images[:100]
  np.save(tmp_path / "images.npy", images)
  words = [jax_alone, tmp_path, tmp_path / "images.npy", tmp_path / "said.npy"]
  done = subprocess.run(
    [sys.executable, "-I", "-S", "-c", ALONE, *map(str, words)], capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr
  said = np.load(tmp_path / "said.npy")
  assert said.dtype == np.float32
  np.testing.assert_array_equal(said, net.probabilities(net.logits(images)).astype(np.float32))


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_any_number_of_images_may_be_given(net, test_split, tmp_path, batch):
  path = exporting.export(net, tmp_path, "stablehlo")
  images = test_split.images[:batch]
  wanted = net.probabilities(net.logits(images))
  np.testing.assert_allclose(exporting.run_file(path, images), wanted, atol=1e-6)


def test_images_are_read_piece_by_piece(net, test_split, tmp_path, monkeypatch):
  path = exporting.export(net, tmp_path, "stablehlo")
  images = test_split.images[:7]
  at_once = exporting.run_file(path, images)
  monkeypatch.setattr(exporting, "_AT_ONCE", 3)
  np.testing.assert_allclose(exporting.run_file(path, images), at_once, atol=1e-6)


def test_a_committee_averages(net, test_split, tmp_path):
  committee = inference.Committee((net, net))
  path = exporting.export(committee, tmp_path, "stablehlo")
  images = test_split.images[:5]
  wanted = committee.probabilities(committee.logits(images))
  np.testing.assert_allclose(exporting.run_file(path, images), wanted, atol=1e-6)
  assert len(json.loads((tmp_path / "net.json").read_text())["runs"]) == 2


@pytest.mark.parametrize("dtype", exporting.DTYPES)
def test_the_file_is_hardly_larger_than_its_weights(net, tmp_path, dtype):
  path = exporting.export(net, tmp_path, "stablehlo", dtype)
  function = exporting.program(net, dtype)
  ((_, stored),) = function.args[0]
  size = sum(leaf.nbytes for leaf in stored["params"].values() for leaf in leaf.values())
  assert size < path.stat().st_size < size + 20_000


def test_bfloat16_is_rounded_and_right(net, test_split, tmp_path):
  path = exporting.export(net, tmp_path, "stablehlo", "bfloat16")
  said = exporting.run_file(path, test_split.images)
  wanted = net.probabilities(net.logits(test_split.images))
  assert 0 < np.abs(said - wanted).max() < 0.1
  assert (said.argmax(-1) == wanted.argmax(-1)).mean() > 0.99


def test_the_json_says_what_goes_in_and_out(net, tmp_path):
  exporting.export(net, tmp_path, "stablehlo")
  facts = json.loads((tmp_path / "net.json").read_text())
  assert facts["input"]["shape"] == ["batch", *net.image_shape]
  assert facts["class_names"] == net.class_names
  assert facts["dataset"]["fingerprint"] == net.facts["fingerprint"]
  assert sorted(os.listdir(tmp_path)) == ["net.json", "net.stablehlo"]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", exporting.DTYPES)
def test_onnx_gives_the_same_labels(net, test_split, tmp_path, dtype):
  pytest.importorskip("jax2onnx", exc_type=ImportError)
  pytest.importorskip("onnxruntime")
  path = exporting.export(net, tmp_path, "onnx", dtype)
  said = exporting.run_file(path, test_split.images)
  wanted = exporting.program(net, dtype)(test_split.images)
  np.testing.assert_allclose(said, wanted, atol=2e-6)
  np.testing.assert_array_equal(said.argmax(-1), np.argmax(wanted, -1))
  weights = sum(leaf.size for layer in net.state.params.values() for leaf in layer.values())
  assert path.stat().st_size < weights * np.dtype(dtype).itemsize + 20_000


@pytest.mark.slow
def test_the_command_says_what_it_wrote(trained_run, tmp_path):
  arguments = f"--workdir={trained_run}", f"--out={tmp_path / 'new' / 'folder'}"
  done = processes.run(*arguments, "--dtype=bfloat16", module="mnist_mlp.export")
  assert done.returncode == 0, done.stderr
  assert re.search(r"net\.stablehlo: [\d,]+ bytes; images, uint8 \[batch, ", done.stdout)
  assert re.search(r"bfloat16 weights: \d+\.\d\d% of [\d,]+ test images right, with", done.stdout)


@pytest.mark.parametrize(
  ("arguments", "said"),
  [
    ([], "--workdir is missing"),
    (["--workdir=RUN"], "--out is missing"),
    (["--workdir=RUN", "--out=x", "--format=tflite"], "--format=tflite"),
    (["--workdir=no/run", "--out=x"], "no/run does not exist"),
    (["--workdir=RUN", "--out=FILE/x"], "cannot write to"),
    (["--workdir=RUN", "--out=FILE"], "must be the name of a folder, which may be new"),
    (
      ["--workdir=RUN", "--out=x", "--files=y"],
      "--files is given, but float32 weights are written",
    ),
    (["--workdir=RUN", "--out=x", "--files="], "--files is empty; name a folder"),
  ],
)
@pytest.mark.slow
def test_bad_input_is_one_sentence(trained_run, tmp_path, arguments, said):
  (tmp_path / "file").touch()
  places = {"RUN": str(trained_run), "FILE": str(tmp_path / "file")}
  words = [re.sub("RUN|FILE", lambda found: places[found[0]], word) for word in arguments]
  done = processes.run(*words, module="mnist_mlp.export")
  assert done.returncode in (1, 2) and said in done.stderr
  assert len(done.stderr.splitlines()) == 1
