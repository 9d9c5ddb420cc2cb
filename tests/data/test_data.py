import collections
import contextlib
import errno
import fcntl
import gzip
import hashlib
import http.server
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import tensorflow_datasets as tfds
from sklearn.datasets import load_digits

from mnist_mlp import config
from mnist_mlp.data import cache, digits
from mnist_mlp.data import dataset as data
from mnist_mlp.errors import RunError, UsageError

UNREACHABLE = "example.org cannot be reached (ConnectionError)"


def options(**changes):
  section = config.default().data
  section.name = "digits"
  section.update(
    {
      key: str(value) if key.endswith("_dir") else value
      for key, value in {"validation_examples": 100, **changes}.items()
    }
  )
  return section


def load(data_dir, only=None, **changes):
  """Returns the dataset and all that was reported."""
  lines = []
  dataset = data.load(options(data_dir=data_dir, **changes), report=lines.append, only=only)
  return dataset, "\n".join(lines)


PRELUDE = """
import itertools, os, sys
import numpy as np
from mnist_mlp import config
from mnist_mlp.data import dataset as data

def load(data_dir, name="digits"):
  options = config.default().data
  options.update(name=name, data_dir=data_dir, validation_examples=100)
  return data.load(options)
"""


def run_python(code, *prefix, returncode=0):
  """Runs code, for which `load` is defined, in a process of its own; returns the process."""
  process = subprocess.run(
    [*prefix, sys.executable, "-c", PRELUDE + code],
    text=True,
    capture_output=True,
    timeout=100,
    check=False,
  )
  assert process.returncode == returncode, process.stderr
  return process


def listing_of(folder):
  return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def assert_same(a, b):
  for split in ("train", "validation", "test"):
    for x, y in zip(getattr(a, split), getattr(b, split), strict=True):
      assert x.dtype == y.dtype
      np.testing.assert_array_equal(x, y)
  assert (a.class_names, a.version, a.fingerprint) == (b.class_names, b.version, b.fingerprint)


@pytest.fixture
def digits_copy(digits_dir, tmp_path):
  """A digits folder that a test may spoil; its cache is valid."""
  shutil.copytree(digits_dir, tmp_path / "data")
  return tmp_path / "data"


@pytest.fixture
def uncached(digits_copy):
  """A folder with prepared digits, never decoded."""
  shutil.rmtree(digits_copy / "mnist_mlp")
  return digits_copy


@pytest.fixture
def no_network(monkeypatch):
  monkeypatch.setattr(data, "_probe", lambda urls: UNREACHABLE)


# What is loaded.


def test_digits(digits_dir):
  dataset, _ = load(digits_dir)
  assert (dataset.name, dataset.stand_in_for, dataset.num_classes) == ("digits", "", 10)
  assert dataset.image_shape == (28, 28, 1)
  assert dataset.class_names == tuple("0123456789")
  sizes = [split.num_examples for split in (dataset.train, dataset.validation, dataset.test)]
  assert sizes == [1400, 100, 297]
  for split in (dataset.train, dataset.validation, dataset.test):
    assert split.images.dtype == np.uint8 and split.labels.dtype == np.int32
    assert split.images.shape == (split.num_examples, 28, 28, 1)
    assert type(split.images) is np.ndarray and not split.images.flags.writeable
  labels = np.concatenate([dataset.train.labels, dataset.validation.labels])
  source = load_digits()
  assert collections.Counter(labels.tolist()) == collections.Counter(source.target[:1500].tolist())
  assert (np.bincount(dataset.test.labels) == np.bincount(source.target[1500:])).all()
  assert json.loads(json.dumps(dataset.describe())) == {
    "name": "digits",
    "version": "1.0.0",
    "fingerprint": dataset.fingerprint,
    "stand_in_for": "",
    "num_classes": 10,
    "class_names": list("0123456789"),
    "image_shape": [28, 28, 1],
    "examples": {"train": 1400, "validation": 100, "test": 297},
  }


def test_digits_look_like_mnist(digits_dir):
  images = load(digits_dir)[0].train.images
  frame = np.ones((28, 28), bool)
  frame[4:24, 4:24] = False
  assert images[:, frame].max() == 0
  assert images.min() == 0 and images.max() == 255
  assert 20 < images.mean() < 60  # light ink on dark: MNIST's mean is 33


def test_digits_keep_picture_and_label_together():
  images, labels = digits._mnist_style_digits()
  source = load_digits()
  assert (labels == source.target).all()
  small = images[:, 4:24, 4:24, 0].reshape(-1, 20, 20)
  for image, reference in zip(small[::100], source.images[::100], strict=True):
    assert np.corrcoef(image[1::5, 1::5].ravel(), reference[::2, ::2].ravel())[0, 1] > 0.6


def test_embedded_version_is_the_builders():
  assert {"digits": str(digits.Digits.VERSION)} == data._EMBEDDED


def test_mnist_from_its_original_files(mnist_dir, mnist_files):
  dataset, _ = load(mnist_dir, name="mnist", validation_examples=5000)
  sizes = [split.num_examples for split in (dataset.train, dataset.validation, dataset.test)]
  assert sizes == [55000, 5000, 10000] and dataset.version == "3.0.1"
  with gzip.open(mnist_files / "t10k-images-idx3-ubyte.gz") as file:
    images = np.frombuffer(file.read()[16:], np.uint8).reshape(-1, 784)
  with gzip.open(mnist_files / "t10k-labels-idx1-ubyte.gz") as file:
    labels = np.frombuffer(file.read()[8:], np.uint8)
  expected = collections.Counter(
    (image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True)
  )
  assert expected == collections.Counter(
    (image.tobytes(), int(label)) for image, label in zip(*dataset.test, strict=True)
  )


def test_validation_is_the_tail_of_train(digits_dir):
  whole, _ = load(digits_dir, validation_examples=0)
  assert whole.validation.images.shape == (0, 28, 28, 1)
  assert whole.validation.labels.shape == (0,)
  parts, _ = load(digits_dir, validation_examples=300)
  np.testing.assert_array_equal(parts.validation.images, whole.train.images[1200:])
  np.testing.assert_array_equal(parts.validation.labels, whole.train.labels[1200:])
  np.testing.assert_array_equal(parts.train.images, whole.train.images[:1200])
  assert parts.fingerprint == whole.fingerprint


@pytest.mark.parametrize("examples", [1500, 99999])
def test_validation_leaves_something_to_train_on(digits_dir, examples):
  with pytest.raises(UsageError, match=f"{examples}, but must be less than the 1500"):
    load(digits_dir, validation_examples=examples)


def test_default_folder_is_that_of_tfds(digits_dir, monkeypatch):
  monkeypatch.setenv("TFDS_DATA_DIR", str(digits_dir))
  assert str(digits_dir) in load("")[0].source


# What is imported.


def test_cached_data_takes_neither_tensorflow_nor_tfds(digits_dir):
  run_python(f"""
load({str(digits_dir)!r})
assert "tensorflow_datasets" not in sys.modules and "tensorflow" not in sys.modules""")


def test_prepared_data_takes_no_tensorflow(uncached):
  run_python(f"""
load({str(uncached)!r})
assert "tensorflow_datasets" in sys.modules and "tensorflow" not in sys.modules""")


def test_only_preparing_needs_tensorflow_installed(uncached, tmp_path):
  process = run_python(f"""
from importlib.machinery import PathFinder
class WithoutTensorFlow(PathFinder):
  @classmethod
  def find_spec(cls, name, *args):
    return None if name == "tensorflow" else PathFinder.find_spec(name, *args)
sys.meta_path[sys.meta_path.index(PathFinder)] = WithoutTensorFlow
load({str(uncached)!r})
try:
  load({str(tmp_path / "empty")!r})
except data.RunError as error:
  print(error)""")
  assert "this takes TensorFlow, once, which is not installed" in process.stdout


# The cache.


def flip(path, offset):
  content = bytearray(path.read_bytes())
  content[offset] ^= 1
  path.write_bytes(content)


DAMAGES = {
  "truncated images": lambda cache: os.truncate(cache / "train_images.npy", 500_000),
  "flipped pixel": lambda cache: flip(cache / "test_images.npy", 100_000),
  "flipped label": lambda cache: flip(cache / "train_labels.npy", 2000),
  "flipped shape": lambda cache: flip(cache / "train_images.npy", 65),
  "missing file": lambda cache: (cache / "test_labels.npy").unlink(),
  "empty file": lambda cache: (cache / "test_labels.npy").write_bytes(b""),
  "swapped files": lambda cache: os.replace(cache / "test_labels.npy", cache / "train_labels.npy"),
  "flipped class name": lambda cache: (cache / "facts.json").write_text(
    (cache / "facts.json").read_text().replace('"7"', '"8"')
  ),
  "empty facts": lambda cache: (cache / "facts.json").write_text(""),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_cache_is_rebuilt(digits_dir, digits_copy, damage):
  reference, _ = load(digits_dir)
  DAMAGES[damage](digits_copy / "mnist_mlp" / "digits")
  dataset, said = load(digits_copy)
  assert "decoded once" in said
  assert_same(dataset, reference)
  dataset, said = load(digits_copy)
  assert "decoded once" not in said
  assert_same(dataset, reference)
  assert listing_of(digits_copy) == listing_of(digits_dir)


def test_cache_follows_the_prepared_files(digits_copy):
  prepared = digits_copy / "digits" / "1.0.0"
  os.utime(next(prepared.glob("*train*")), (1, 1))
  assert "decoded once" in load(digits_copy)[1]
  shutil.rmtree(prepared)
  assert "preparing digits" in load(digits_copy)[1]


@pytest.mark.parametrize(
  "module, name, value", [(cache, "_FORMAT", 99), (data, "_EMBEDDED", {"digits": "9.0.0"})]
)
def test_cache_of_other_code_is_rebuilt(digits_copy, monkeypatch, module, name, value):
  monkeypatch.setattr(module, name, value)
  assert "decoded once" in load(digits_copy)[1]


def test_cache_of_another_tfds_is_rebuilt(digits_copy, monkeypatch):
  monkeypatch.setattr(cache.importlib.metadata, "version", lambda package: "99.0")
  assert "decoded once" in load(digits_copy)[1]


def test_killed_while_caching(digits_dir, uncached):
  run_python(
    f"""
saves = itertools.count()
save = np.save
np.save = lambda *args: os.kill(os.getpid(), 9) if next(saves) == 2 else save(*args)
load({str(uncached)!r})""",
    returncode=-9,
  )
  assert (uncached / "mnist_mlp" / ".unfinished" / "cache").is_dir()
  assert_same(load(uncached)[0], load(digits_dir)[0])
  assert listing_of(uncached) == listing_of(digits_dir)


def test_folder_that_cannot_be_written_costs_only_the_cache(digits_dir, uncached):
  (uncached / "mnist_mlp").write_text("in the way")
  dataset, said = load(uncached)
  assert "decode digits anew" in said
  assert_same(dataset, load(digits_dir)[0])
  assert not dataset.train.images.flags.writeable


def test_full_disk_costs_only_the_cache(digits_dir, uncached, monkeypatch):
  def save(path, array):
    path.write_bytes(b"half")
    raise OSError(errno.ENOSPC, "No space left on device")

  monkeypatch.setattr(np, "save", save)
  dataset, said = load(uncached)
  assert "No space left on device" in said
  assert_same(dataset, load(digits_dir)[0])
  assert listing_of(uncached / "mnist_mlp") == [".lock"]


# Preparing.


def test_killed_while_preparing(digits_dir, tmp_path):
  folder = tmp_path / "data"
  run_python(
    f"""
from mnist_mlp.data import digits
def examples(self, images, labels):
  yield 0, {{"image": images[0], "label": 3}}
  os.kill(os.getpid(), 9)
digits.Digits._generate_examples = examples
load({str(folder)!r})""",
    returncode=-9,
  )
  assert (folder / "mnist_mlp" / ".unfinished").is_dir()
  assert_same(load(folder)[0], load(digits_dir)[0])
  assert listing_of(folder) == listing_of(digits_dir)


@pytest.mark.slow
def test_two_processes_prepare_at_once_and_ask_no_network(digits_dir, tmp_path):
  code = f"""
import socket
def refuse(*args, **kwargs):
  print("NETWORK", args)
  raise OSError
socket.getaddrinfo = socket.socket.connect = refuse
print(load({str(tmp_path)!r}).fingerprint)"""
  with contextlib.ExitStack() as stack:
    outcomes = []
    threads = [threading.Thread(target=lambda: outcomes.append(run_python(code))) for _ in range(2)]
    for thread in threads:
      thread.start()
      stack.callback(thread.join)
  assert len(outcomes) == 2
  for outcome in outcomes:
    assert outcome.stdout.endswith(load(digits_dir)[0].fingerprint + "\n")
    assert outcome.stdout.count("\n") <= 3, outcome.stdout
    assert outcome.stderr == ""
  assert listing_of(tmp_path) == listing_of(digits_dir)


def test_waits_for_the_lock_and_then_takes_what_the_other_made(digits_dir, digits_copy):
  cache = digits_copy / "mnist_mlp" / "digits"
  cache.rename(digits_copy / "aside")
  said = []
  with open(digits_copy / "mnist_mlp" / ".lock") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)

    def report(line):
      said.append(line)
      if "waiting for another process" in line:
        (digits_copy / "aside").rename(cache)
        fcntl.flock(lock, fcntl.LOCK_UN)

    dataset = data.load(options(data_dir=digits_copy), report=report)
  assert "waiting for another process" in said[-1]
  assert_same(dataset, load(digits_dir)[0])


def test_data_dir_that_cannot_be_made(tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(RunError, match=f"cannot be written.*{tmp_path}/file"):
    load(tmp_path / "file")


def test_incomplete_folder_in_the_way(tmp_path):
  (tmp_path / "digits" / "1.0.0").mkdir(parents=True)
  with pytest.raises(RunError, match=f"{tmp_path}/digits/1.0.0: .*no complete dataset"):
    load(tmp_path)


def test_damaged_prepared_files(uncached):
  path = next((uncached / "digits" / "1.0.0").glob("*train.array_record*"))
  os.truncate(path, path.stat().st_size // 2)
  with pytest.raises(RunError, match=f"cannot be read from {uncached}"):
    load(uncached)


@pytest.mark.parametrize(
  "features, complaint",
  [
    (
      {
        "image": tfds.features.Image(shape=(28, 28, 1)),
        "label": tfds.features.ClassLabel(num_classes=5),
      },
      "but there are 5 classes",
    ),
    (
      {
        "image": tfds.features.Image(shape=(14, 14, 1)),
        "label": tfds.features.ClassLabel(num_classes=10),
      },
      r"image 0 is uint8 \(28, 28, 1\)",
    ),
  ],
)
def test_decoded_examples_are_checked(uncached, monkeypatch, features, complaint):
  monkeypatch.setattr(
    digits.Digits,
    "_info",
    lambda self: tfds.core.DatasetInfo(
      builder=self,
      features=tfds.features.FeaturesDict(features),
      supervised_keys=("image", "label"),
    ),
  )
  with pytest.raises(RunError, match=complaint):
    load(uncached)


def test_number_of_decoded_examples_is_checked(uncached, monkeypatch):
  records = data._records
  monkeypatch.setattr(data, "_records", lambda *args: itertools.islice(records(*args), 200))
  with pytest.raises(RunError, match="cannot be read"):
    load(uncached)


def test_tfrecord_prepared_elsewhere(digits_dir, tmp_path):
  builder = tfds.builder("digits", data_dir=tmp_path)
  builder.download_and_prepare(file_format="tfrecord")
  dataset, said = load(tmp_path)
  assert "preparing" not in said
  assert_same(dataset, load(digits_dir)[0])
  assert "decoded" not in load(tmp_path)[1]


# Datasets of files that are downloaded, or lie in manual_dir.


class _Pixels(tfds.core.GeneratorBasedBuilder):
  """Two 4x4 pictures a split, filled with a byte of the one file of the dataset."""

  VERSION = tfds.core.Version("1.0.0")
  SPLITS = ("train", "test")

  def _info(self):
    return tfds.core.DatasetInfo(
      builder=self,
      supervised_keys=("picture", "kind"),
      features=tfds.features.FeaturesDict(
        {
          "id": tfds.features.Text(),
          "picture": tfds.features.Image(shape=(4, 4, 3)),
          "kind": tfds.features.ClassLabel(names=["cat", "dog"]),
        }
      ),
    )

  def _split_generators(self, dl_manager):
    path = dl_manager.download_and_extract(next(iter(self.url_infos)))
    return {split: self._generate_examples(path) for split in self.SPLITS}

  def _generate_examples(self, path):
    for kind, value in enumerate(path.read_bytes()[:2]):
      yield kind, {"id": "x", "picture": np.full((4, 4, 3), value, np.uint8), "kind": kind}


class PixelsOne(_Pixels):
  pass


class PixelsTwo(_Pixels):
  pass


class PixelsTrainOnly(_Pixels):
  SPLITS = ("train",)


@pytest.fixture
def make_files(tmp_path, monkeypatch):
  """Returns a function that gives a builder its file, in a folder that it returns."""

  def make(builder, values, base_url="https://example.org"):
    content = gzip.compress(bytes(values), mtime=0)
    info = tfds.download.checksums.UrlInfo(
      size=len(content), checksum=hashlib.sha256(content).hexdigest(), filename="pixels.gz"
    )
    monkeypatch.setattr(builder, "url_infos", {f"{base_url}/{builder.name}/pixels.gz": info})
    folder = tmp_path / "files" / builder.name
    folder.mkdir(parents=True)
    (folder / "pixels.gz").write_bytes(content)
    return folder

  return make


def test_same_file_names_do_not_mix_datasets(tmp_path, make_files):
  for builder, values in [(PixelsOne, (1, 2)), (PixelsTwo, (3, 4))]:
    dataset, said = load(
      tmp_path / "data",
      name=builder.name,
      validation_examples=0,
      manual_dir=make_files(builder, values),
    )
    assert "from the original files in" in said and "original files" in dataset.source
    assert sorted(dataset.train.images[:, 0, 0, 0]) == list(values)
    assert dataset.class_names == ("cat", "dog") and dataset.image_shape == (4, 4, 3)


def test_missing_split(tmp_path, make_files):
  with pytest.raises(UsageError, match="no split test, only train"):
    load(tmp_path, name="pixels_train_only", manual_dir=make_files(PixelsTrainOnly, (1, 2)))


@contextlib.contextmanager
def serve(folder, status=200):
  class Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *args):
      super().__init__(*args, directory=folder)

    def do_GET(self):
      if status == 200:
        super().do_GET()
      else:
        self.send_error(status)

    def log_message(self, *args):
      pass

  with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_download(tmp_path, make_files):
  with serve(tmp_path / "files") as url:
    make_files(PixelsOne, (7, 9), url)
    dataset, said = load(tmp_path / "data", name="pixels_one", validation_examples=0)
  assert "once, from a download" in said
  assert sorted(dataset.train.images[:, 0, 0, 0]) == [7, 9]
  assert "once" not in load(tmp_path / "data", name="pixels_one", validation_examples=0)[1]
  assert not (tmp_path / "data" / "mnist_mlp" / ".unfinished").exists()


def test_failing_download(tmp_path, make_files):
  with serve(tmp_path / "files") as url:
    (make_files(PixelsOne, (7, 9), url) / "pixels.gz").write_bytes(b"something else")
    with pytest.raises(RunError, match=r"could not be prepared in .*checksum"):
      load(tmp_path / "data", name="pixels_one", validation_examples=0)
  assert listing_of(tmp_path / "data") == ["mnist_mlp", "mnist_mlp/.lock"]


MNIST_FIRST = "t10k-images-idx3-ubyte.gz"


@pytest.mark.parametrize(
  "size, complaint",
  [
    (None, "lacks .*" + MNIST_FIRST),
    (1000, MNIST_FIRST + " is truncated: 1000 bytes, expected 1648877"),
    (2000000, MNIST_FIRST + " is too long: 2000000 bytes, expected 1648877"),
    (1648877, MNIST_FIRST + " does not have the expected SHA-256"),
  ],
)
def test_bad_original_files(tmp_path, size, complaint):
  if size:
    (tmp_path / MNIST_FIRST).write_bytes(bytes(size))
  with pytest.raises(UsageError, match=complaint):
    load(tmp_path / "data", name="mnist", manual_dir=tmp_path)
  with pytest.raises(RunError, match=complaint):
    load(tmp_path / "data", name="mnist", manual_dir=tmp_path, only="mnist")
  assert not (tmp_path / "data").exists()


def test_missing_manual_dir(tmp_path):
  with pytest.raises(UsageError, match="nowhere', which is not a folder"):
    load(tmp_path, name="mnist", manual_dir=tmp_path / "nowhere")


@pytest.mark.parametrize(
  "name, complaint",
  [
    ("minst", "'minst', which is not a dataset of TFDS; did you mean 'mnist'"),
    ("MNIST", "did you mean 'mnist'"),
    ("mnist:3.0.1", "did you mean 'mnist'"),
    ("../mnist", "not a dataset of TFDS"),
    ("", "not a dataset of TFDS"),
    ("mnist/x", "mnist has no variant 'x'"),
    ("mnist/", "mnist has no variant ''"),
    ("emnist/digts", "emnist has no variant 'digts'; did you mean 'digits'"),
    ("glue", "not image classification"),
    ("imdb_reviews", "not image classification"),
    ("binarized_mnist", "not image classification"),
    ("imagenet2012", "not uint8 of one fixed size"),
  ],
)
def test_unsuitable_dataset(tmp_path, monkeypatch, name, complaint):
  for function in ("getaddrinfo", "create_connection"):
    monkeypatch.setattr(socket, function, lambda *args: pytest.fail("asks the network"))
  with pytest.raises(UsageError, match=complaint):
    load(tmp_path, name=name)
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["fashion_mnist", "kmnist", "emnist/digits", "cifar10"])
def test_other_datasets_are_known(tmp_path, no_network, name):
  with pytest.raises(RunError, match=f"{name} is not prepared in .*{tmp_path}"):
    load(tmp_path, name=name, offline="")


# No network.


def test_stand_in(digits_dir, no_network):
  dataset, said = load(digits_dir, name="mnist", validation_examples=5000)
  assert (dataset.name, dataset.stand_in_for) == ("digits", "mnist")
  assert dataset.validation.num_examples == 125 and dataset.train.num_examples == 1375
  assert "going on with 'digits' INSTEAD of 'mnist'" in said and UNREACHABLE in said
  assert "validation_examples is 125 rather than 5000" in said
  assert dataset.describe()["stand_in_for"] == "mnist"
  for asked, given in [(0, 0), (1, 1), (30000, 750)]:
    dataset, _ = load(digits_dir, name="mnist", validation_examples=asked)
    assert dataset.validation.num_examples == given


def test_no_stand_in_wanted(tmp_path, no_network):
  with pytest.raises(RunError) as caught:
    load(tmp_path, name="mnist", offline="")
  for word in ("manual_dir", "data_dir", "offline", "train-images-idx3-ubyte.gz", UNREACHABLE):
    assert word in str(caught.value)
  assert not list(tmp_path.iterdir())


def test_resumed_run_keeps_the_stand_in(mnist_dir, digits_dir, tmp_path, monkeypatch):
  monkeypatch.setattr(data, "_probe", lambda urls: pytest.fail("asks the network"))
  shutil.copytree(digits_dir, tmp_path, dirs_exist_ok=True)
  shutil.copytree(mnist_dir, tmp_path, dirs_exist_ok=True)
  assert load(tmp_path, name="mnist")[0].name == "mnist"
  dataset, said = load(tmp_path, name="mnist", validation_examples=5000, only="digits")
  assert (dataset.name, dataset.stand_in_for) == ("digits", "mnist")
  assert dataset.validation.num_examples == 125 and "stands in for mnist" in said


def test_resumed_run_gets_no_stand_in(digits_dir, no_network):
  with pytest.raises(RunError, match="was started on 'mnist' and needs it"):
    load(digits_dir, name="mnist", only="mnist")
  with pytest.raises(RunError, match="was started on 'mnst' and needs it"):
    load(digits_dir, name="mnist", only="mnst")


def can_cut_network():
  return subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(
  not shutil.which("unshare") or not can_cut_network(), reason="unshare -n is not allowed here"
)
def test_cut_network_is_found_out_in_seconds(digits_copy):
  start = time.monotonic()
  process = run_python(
    f"""
print(load({str(digits_copy)!r}, "mnist").stand_in_for)""",
    "unshare",
    "-n",
  )
  assert time.monotonic() - start < 10
  assert "going on with 'digits' INSTEAD of 'mnist'" in process.stdout
  assert process.stdout.endswith("mnist\n")


def test_probe(tmp_path, monkeypatch):
  monkeypatch.setenv("no_proxy", "127.0.0.1")
  (tmp_path / "file").write_text("x")
  with serve(tmp_path) as url:
    assert data._probe([f"{url}/file"]) == ""
    assert "answers 404" in data._probe([f"{url}/other"])
    assert "127.0.0.1:9 cannot be reached" in data._probe(
      [f"{url}/file", "http://127.0.0.1:9/file"]
    )


def test_probe_takes_a_proxys_refusal_for_no(tmp_path, monkeypatch):
  for name in ("no_proxy", "NO_PROXY"):
    monkeypatch.delenv(name, raising=False)
  with serve(tmp_path, status=403) as url:
    monkeypatch.setenv("http_proxy", url)
    monkeypatch.setenv("https_proxy", url)
    assert "example.org answers 403" in data._probe(["http://example.org/file"])
    assert "example.org cannot be reached (ProxyError)" in data._probe(["https://example.org/file"])


def test_probe_has_a_deadline(monkeypatch):
  release = threading.Event()

  def hang(*args, **kwargs):
    release.wait(30)
    raise socket.gaierror

  monkeypatch.setattr(data, "_PROBE_SECONDS", 0.3)
  monkeypatch.setattr(socket, "getaddrinfo", hang)
  start = time.monotonic()
  problem = data._probe(["https://a.example.org/x", "https://b.example.org/x"])
  assert time.monotonic() - start < 10
  release.set()
  for host in ("a.example.org", "b.example.org"):
    assert f"{host} did not answer within 0.3 seconds" in problem
