import gzip
import os
import shutil
import socket
import subprocess
import sys
import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from loading import listing_of
from own_files import (
  TEST,
  TRAIN,
  assert_refused,
  encode,
  examples,
  idx,
  load,
  pairs,
  put,
  remove,
  rewrite,
  source,
  table,
  write_idx,
  write_idx_dotted,
  write_parquet,
  write_parquet_in_folders,
  write_pictures,
)

from mnist_mlp import config
from mnist_mlp.data import dataset, files, parquet
from mnist_mlp.errors import RunError, UsageError

WRITERS = [write_idx, write_idx_dotted, write_parquet, write_parquet_in_folders, write_pictures]


@pytest.mark.parametrize("write", WRITERS)
def test_every_format_is_read(tmp_path, write):
  write(tmp_path / "mine")
  dataset, said = load(tmp_path / "mine", tmp_path / "data")
  assert "preparing mine (own files) 1.2.0, once" in said
  assert str(tmp_path / "mine") in dataset.source
  assert (dataset.name, dataset.stand_in_for) == ("mine (own files)", "")
  assert dataset.class_names == tuple("0123456789") and dataset.image_shape == (8, 10, 1)
  for split, part in (("train", TRAIN), ("test", TEST)):
    loaded = getattr(dataset, split)
    assert pairs(*loaded) == pairs(*examples(part))
    assert loaded.images.dtype == np.uint8 and loaded.labels.dtype == np.int32
  # The tail of train is for validation, so it must not be the last class.
  assert len(set(dataset.train.labels[-20:].tolist())) > 4
  again, said = load(tmp_path / "mine", tmp_path / "data")
  assert "once" not in said and again.fingerprint == dataset.fingerprint


def write_large(root, put):
  """Calls put(folder, images, labels) for both splits: 10 images of a megabyte, and labels."""
  root.mkdir()
  images = np.arange(10**6, dtype=np.uint32).astype(np.uint8).reshape(1000, 1000)
  for split in ("train", "t10k"):
    put(root, split, np.stack([images + number for number in range(10)]), np.arange(10) % 4)


def put_idx(root, split, images, labels, packed=lambda content: content, suffix=""):
  (root / f"{split}-images-idx3-ubyte{suffix}").write_bytes(packed(idx(images)))
  (root / f"{split}-labels-idx1-ubyte{suffix}").write_bytes(packed(idx(labels)))


def put_gz(root, split, images, labels):
  put_idx(root, split, images, labels, lambda content: gzip.compress(content, 1), ".gz")


def put_pictures(root, split, images, labels):
  for number, (image, label) in enumerate(zip(images, labels, strict=True)):
    (root / str(label)).mkdir(exist_ok=True)
    (root / str(label) / f"{split}_{number}.bmp").write_bytes(encode(image, "BMP"))


@pytest.mark.parametrize("put", [put_idx, put_gz, put_pictures])
def test_a_few_pictures_are_in_memory_at_a_time(tmp_path, put):
  write_large(tmp_path / "mine", put)
  found = source(tmp_path / "mine")
  tracemalloc.start()
  try:
    assert found.image_shape == (1000, 1000, 1)
    assert sum(1 for split in ("train", "test") for _ in found.examples(split)) == 20
    assert tracemalloc.get_traced_memory()[1] < 7e6
  finally:
    tracemalloc.stop()


def test_formats_agree(tmp_path):
  """The same examples in the same order are the same dataset, whatever file they are from."""
  fingerprints = set()
  for write in (write_idx, write_idx_dotted, write_parquet, write_parquet_in_folders):
    write(tmp_path / write.__name__)
    fingerprints.add(load(tmp_path / write.__name__, tmp_path / "data")[0].fingerprint)
  assert len(fingerprints) == 1


# Changes of the files.


def test_changed_file_is_noticed(tmp_path):
  root, data_dir = tmp_path / "mine", tmp_path / "data"
  write_idx_dotted(root)
  before, _ = load(root, data_dir)
  listed = len(listing_of(data_dir))
  path = root / "train-labels.idx1-ubyte"
  stat, content = path.stat(), bytearray(path.read_bytes())
  content[8] = (content[8] + 1) % 10
  path.write_bytes(content)
  os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # The same size, name and time.
  after, said = load(root, data_dir)
  assert "preparing mine" in said and after.fingerprint != before.fingerprint
  images, labels = examples(TRAIN)
  assert pairs(*after.train) == pairs(images, [(labels[0] + 1) % 10, *labels[1:]])
  assert len(listing_of(data_dir)) == listed  # What was prepared before is gone.


def test_two_folders_of_one_name_are_two_datasets(tmp_path):
  write_idx(tmp_path / "a" / "mine")
  shutil.copytree(tmp_path / "a" / "mine", tmp_path / "b" / "mine")
  (tmp_path / "b" / "mine" / "t10k-labels-idx1-ubyte.gz").write_bytes(
    gzip.compress(idx(np.zeros(40)))
  )
  first, _ = load(tmp_path / "a" / "mine", tmp_path / "data")
  second, _ = load(tmp_path / "b" / "mine", tmp_path / "data")
  assert first.test.labels.any() and not second.test.labels.any()
  assert "once" not in load(tmp_path / "a" / "mine", tmp_path / "data")[1]


def test_prepared_files_take_neither_tensorflow_nor_tfds_nor_pyarrow(tmp_path):
  write_parquet(tmp_path / "mine")
  load(tmp_path / "mine", tmp_path / "data")
  subprocess.run(
    [
      sys.executable,
      "-c",
      f"""
import sys
from mnist_mlp import config, data
options = config.default().data
options.update(files={str(tmp_path / "mine")!r}, data_dir={str(tmp_path / "data")!r},
               validation_examples=0)
data.load(options)
assert not {{"tensorflow", "tensorflow_datasets", "pyarrow"}} & set(sys.modules)""",
    ],
    check=True,
  )


# Folders that are not as they must be.


def bound_socket(path):
  socket.socket(socket.AF_UNIX).bind(path)


BAD_FOLDERS = [
  (write_idx, remove("*"), "{root} holds neither IDX files .* nor Parquet .* nor folders of"),
  (write_idx, remove("t10k*"), "{root} lacks t10k-images-idx3-ubyte; copy it there"),
  (write_idx, remove("t10k-l*"), "{root} lacks t10k-labels-idx1-ubyte"),
  (write_idx, remove("train-i*"), "{root} lacks train-images-idx3-ubyte"),
  (write_idx, put("emnist-letters-test-labels-idx1-ubyte", b""), "of several data sets, '', 'em"),
  (write_parquet, put("rest.parquet", b""), "whether {root}/rest.parquet belongs to train, valid"),
  (write_parquet, put("test_train.parquet", b""), "whether {root}/test_train.parquet belongs"),
  (write_parquet, remove("data/train*"), "{root} has Parquet files for test, but none for train"),
  (write_pictures, put("x.parquet", b""), "{root} holds Parquet files as well as pictures; move"),
  (write_pictures, put("train.parquet", b""), "{root} holds Parquet files as well as pictures"),
  (write_pictures, remove("train"), "{root} has pictures for test, but none for train; call what"),
  (
    write_pictures,
    put("Training/3/a.png", b""),
    "{root}/Training and {root}/train are both of the split 'train'; move one",
  ),
  (write_pictures, put("train/a.png", b""), "{root}/train/a.png is not in the folder of a class"),
  (write_pictures, remove("test/4/*"), "the folder of a class, {root}/test/4, holds no pictures"),
]


@pytest.mark.parametrize("case", BAD_FOLDERS)
def test_bad_folder_is_refused(tmp_path, case):
  assert_refused(tmp_path, UsageError, case)


def test_folders_that_are_called_like_files_are_not_files(tmp_path):
  """As some archives of MNIST unpack, and as Spark writes a table."""
  write_idx_dotted(tmp_path / "idx")
  for path in list((tmp_path / "idx").iterdir()):
    (tmp_path / "idx" / path.name.replace(".idx", "-idx")).mkdir()
  dataset, _ = load(tmp_path / "idx", tmp_path / "data")
  assert pairs(*dataset.test) == pairs(*examples(TEST))
  for name, split in (("train", TRAIN), ("test", TEST)):
    folder = tmp_path / "spark" / f"{name}.parquet"
    folder.mkdir(parents=True)
    pq.write_table(table(*examples(split)), folder / "part-00000.snappy.parquet")
  dataset, _ = load(tmp_path / "spark", tmp_path / "data")
  assert pairs(*dataset.test) == pairs(*examples(TEST))


@pytest.mark.parametrize("write", [write_parquet_in_folders, write_pictures])
def test_links_to_folders_are_followed(tmp_path, write):
  write(tmp_path / "elsewhere")
  (tmp_path / "mine").mkdir()
  for split in ("train", "test"):
    (tmp_path / "mine" / split).symlink_to(tmp_path / "elsewhere" / split)
  dataset, _ = load(tmp_path / "mine", tmp_path / "data")
  assert pairs(*dataset.test) == pairs(*examples(TEST))


def test_links_in_a_circle_are_followed_once(tmp_path):
  write_parquet_in_folders(tmp_path / "mine")
  (tmp_path / "mine" / "again").symlink_to(tmp_path / "mine")
  dataset, _ = load(tmp_path / "mine", tmp_path / "data")
  assert pairs(*dataset.test) == pairs(*examples(TEST))


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, bound_socket])
def test_what_is_no_file_is_never_waited_for(tmp_path, monkeypatch, make):
  """To open a pipe is to wait for whoever writes into it."""
  monkeypatch.chdir(tmp_path)  # The path of a socket must be short.
  write_pictures(tmp_path / "mine")
  make("mine/train/3/odd.png")
  with pytest.raises(RunError, match=r"mine/train/3/odd.png is not a file; move it away"):
    load(tmp_path / "mine", tmp_path / "data")


def test_an_endless_folder_is_refused(tmp_path, monkeypatch):
  monkeypatch.setattr(parquet, "_MOST_FOLDERS", 50)
  with pytest.raises((UsageError, RunError), match="/proc"):
    load("/proc", tmp_path)


def test_a_folder_whose_name_is_no_text_is_refused(tmp_path):
  root = tmp_path / os.fsdecode(b"caf\xe9")
  write_pictures(root)
  with pytest.raises(UsageError, match=r"the name of the folder .*caf.*udce9' is not in UTF-8"):
    load(root, tmp_path / "data")


def idx_of_zeros(root):
  for name in ("train-labels-idx1-ubyte.gz", "t10k-labels-idx1-ubyte.gz"):
    rewrite(name, lambda content: content[:8] + bytes(len(content) - 8))(root)


def parquet_of_zeros(root):
  for path in (root / "data").iterdir():
    images = pq.read_table(path)["image"]
    pq.write_table(pa.table({"image": images, "label": [0] * len(images)}), path)


@pytest.mark.parametrize(
  ("write", "damage"),
  [
    (write_idx, idx_of_zeros),
    (write_parquet, parquet_of_zeros),
    (write_pictures, remove("*/[1-9]")),
  ],
)
def test_one_class_alone_is_refused(tmp_path, write, damage):
  """A net that knows only one answer is never wrong."""
  complaint = r"mine \(own files\) has only one class, '0', but a net needs two"
  assert_refused(tmp_path, RunError, (write, damage, complaint))


def test_one_class_alone_is_refused_where_an_earlier_version_prepared_it(tmp_path, monkeypatch):
  write_idx(tmp_path / "mine")
  idx_of_zeros(tmp_path / "mine")
  with monkeypatch.context() as patch:
    for module in (files, dataset):
      patch.setattr(module, "check_number_of_classes", lambda name, class_names: None)
    load(tmp_path / "mine", tmp_path / "data")
  with pytest.raises(RunError, match="has only one class"):
    load(tmp_path / "mine", tmp_path / "data")


@pytest.mark.parametrize("name", ["nowhere", "a file"])
def test_what_is_no_folder_is_refused(tmp_path, name):
  (tmp_path / "a file").write_text("")
  with pytest.raises(UsageError, match=f"{name}', which is not a folder"):
    load(tmp_path / name, tmp_path / "data")


def test_files_and_manual_dir_exclude_each_other():
  c = config.default()
  c.data.files = c.data.manual_dir = "/somewhere"
  with pytest.raises(UsageError, match="are both set; leave one of them empty: files"):
    config.validate(c)
