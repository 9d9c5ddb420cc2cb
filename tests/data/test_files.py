import collections
import gzip
import io
import json
import os
import re
import shutil
import struct
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from processes import run
from sklearn.datasets import load_digits

from mnist_mlp import config
from mnist_mlp.data import dataset as data
from mnist_mlp.data import files
from mnist_mlp.errors import RunError, UsageError
from mnist_mlp.train import train_and_evaluate

TRAIN, TEST = slice(0, 120), slice(120, 160)


def examples(split):
  """Returns real digits, uint8 [N, 8, 10], wider than high, and their labels."""
  source = load_digits()
  images = np.pad(source.images[split] * 15, ((0, 0), (0, 0), (2, 0)))
  return images.astype(np.uint8), source.target[split]


def load(root, data_dir, **changes):
  """Returns the dataset and all that was reported."""
  options, lines = config.default().data, []
  options.update(files=str(root), data_dir=str(data_dir), **{"validation_examples": 0, **changes})
  return data.load(options, report=lines.append), "\n".join(lines)


def pairs(images, labels):
  both = zip(images, labels, strict=True)
  return collections.Counter((np.squeeze(image).tobytes(), int(label)) for image, label in both)


def listing_of(folder):
  return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def encode(image, kind="PNG", **options):
  file = io.BytesIO()
  Image.fromarray(image).save(file, kind, **options)
  return file.getvalue()


# Writers of the three formats.


def idx(array):
  return (
    struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape)
    + array.astype(np.uint8).tobytes()
  )


def write_idx(root, name="{}-images-idx3-ubyte.gz {}-labels-idx1-ubyte.gz"):
  root.mkdir(parents=True)
  for prefix, split in (("train", TRAIN), ("t10k", TEST)):
    for file, array in zip(name.format(prefix, prefix).split(), examples(split), strict=True):
      content = idx(array)
      (root / file).write_bytes(gzip.compress(content) if file.endswith(".gz") else content)


def write_idx_dotted(root):
  write_idx(root, "{}-images.idx3-ubyte {}-labels.idx1-ubyte")


def table(images, labels, image_type=None, label_type=None):
  """Returns a table as Hugging Face exports it, or with other types."""
  image_type = image_type or pa.struct([("bytes", pa.binary()), ("path", pa.string())])
  contents = [encode(image) if isinstance(image, np.ndarray) else image for image in images]
  if pa.types.is_struct(image_type):
    contents = [content and {"bytes": content, "path": None} for content in contents]
  return pa.table(
    {"image": pa.array(contents, image_type), "label": pa.array(labels, label_type or pa.int64())}
  )


def write_parquet(root):
  """Two shards of train, with other columns besides."""
  images, labels = examples(TRAIN)
  (root / "data").mkdir(parents=True)
  for shard, part in enumerate((slice(0, 50), slice(50, None))):
    rows = table(images[part], labels[part])
    rows = rows.add_column(0, "id", [list(map(str, range(len(rows))))])
    pq.write_table(rows, root / "data" / f"train-0000{shard}-of-00002.parquet")
  pq.write_table(table(*examples(TEST)), root / "data" / "test-00000-of-00001.parquet")


def write_parquet_in_folders(root):
  for name, split in (("train", TRAIN), ("test", TEST)):
    (root / name).mkdir(parents=True)
    rows = table(*examples(split), pa.large_binary(), pa.uint8())
    pq.write_table(rows, root / name / "latest.parquet", row_group_size=33)


def write_pictures(root):
  for name, split in (("train", TRAIN), ("test", TEST)):
    for index, (image, label) in enumerate(zip(*examples(split), strict=True)):
      folder = root / name / str(label)
      folder.mkdir(parents=True, exist_ok=True)
      (folder / f"{index}.png").write_bytes(encode(image))
  (root / "train" / "3" / ".DS_Store").write_bytes(b"not for us")


WRITERS = [write_idx, write_idx_dotted, write_parquet, write_parquet_in_folders, write_pictures]


@pytest.mark.parametrize("write", WRITERS)
def test_every_format(tmp_path, write):
  write(tmp_path / "mine")
  dataset, said = load(tmp_path / "mine", tmp_path / "data")
  assert "preparing mine 1.0.0, once" in said and str(tmp_path / "mine") in dataset.source
  assert (dataset.name, dataset.stand_in_for) == ("mine", "")
  assert dataset.class_names == tuple("0123456789") and dataset.image_shape == (8, 10, 1)
  for split, part in (("train", TRAIN), ("test", TEST)):
    loaded = getattr(dataset, split)
    assert pairs(*loaded) == pairs(*examples(part))
    assert loaded.images.dtype == np.uint8 and loaded.labels.dtype == np.int32
  # The tail of train is for validation, so it must not be the last class.
  assert len(set(dataset.train.labels[-20:].tolist())) > 4
  again, said = load(tmp_path / "mine", tmp_path / "data")
  assert "once" not in said and again.fingerprint == dataset.fingerprint


def test_formats_agree(tmp_path):
  """The same examples in the same order are the same dataset, whatever file they are from."""
  fingerprints = set()
  for write in (write_idx, write_idx_dotted, write_parquet, write_parquet_in_folders):
    write(tmp_path / write.__name__)
    fingerprints.add(load(tmp_path / write.__name__, tmp_path / "data")[0].fingerprint)
  assert len(fingerprints) == 1


@pytest.mark.parametrize(
  ("names", "expected"),
  [(["0", "10", "9", "1"], ("0", "1", "9", "10")), (["zebra", "10", "9"], ("10", "9", "zebra"))],
)
def test_class_folders_are_sorted(tmp_path, names, expected):
  for split in ("train", "test"):
    for index, name in enumerate(names):
      (tmp_path / split / name).mkdir(parents=True)
      (tmp_path / split / name / "x.png").write_bytes(encode(np.full((4, 4), index, np.uint8)))
  source = files.find(str(tmp_path))
  assert source.class_names == expected
  for split in ("train", "test"):
    for _, example in source.examples(split, (4, 4, 1)):
      assert expected[example["label"]] == names[example["image"][0, 0, 0]]


def test_colour_jpegs_and_palettes(tmp_path):
  colours = np.zeros((16, 16, 3), np.uint8)
  colours[..., 0] = 200
  palette = Image.fromarray(colours).convert("P", palette=Image.Palette.ADAPTIVE)
  for split in ("train", "test"):
    (tmp_path / split / "red").mkdir(parents=True)
    (tmp_path / split / "red" / "a.jpg").write_bytes(encode(colours, "JPEG"))
    palette.save(tmp_path / split / "red" / "b.png")
  images = [example["image"] for _, example in files.find(str(tmp_path)).examples("train", None)]
  assert [image.shape for image in images] == [(16, 16, 3)] * 2
  for image in images:
    np.testing.assert_allclose(image, colours, atol=6)


def test_plain_file_counts_more_than_compressed(tmp_path):
  write_idx_dotted(tmp_path / "mine")
  (tmp_path / "mine" / "train-labels.idx1-ubyte.gz").write_bytes(b"not looked at")
  assert len(list(files.find(str(tmp_path / "mine")).examples("train", None))) == 120


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
from mnist_mlp import config
from mnist_mlp.data import dataset as data
options = config.default().data
options.update(files={str(tmp_path / "mine")!r}, data_dir={str(tmp_path / "data")!r},
               validation_examples=0)
data.load(options)
assert not {{"tensorflow", "tensorflow_datasets", "pyarrow"}} & set(sys.modules)""",
    ],
    check=True,
  )


# Folders and files that are not as they must be. `damage` spoils a good folder.


def rewrite(name, change):
  def damage(root):
    path = root / name
    content = path.read_bytes()
    content = gzip.decompress(content) if name.endswith(".gz") else content
    content = change(content)
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)

  return damage


def rows(images=None, labels=None, **types):
  """Returns a damage that gives the test file other rows: the first ones as given."""

  def damage(root):
    good = examples(TEST)
    mixed = [
      list(new or []) + list(old)[len(new or []) :]
      for new, old in zip((images, labels), good, strict=True)
    ]
    pq.write_table(table(*mixed, **types), root / "data" / "test-00000-of-00001.parquet")

  return damage


def drop(column):
  def damage(root):
    path = root / "data" / "test-00000-of-00001.parquet"
    pq.write_table(pq.read_table(path).drop_columns(column), path)

  return damage


def put(name, content):
  def damage(root):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(content)

  return damage


def remove(*patterns):
  def damage(root):
    for path in [path for pattern in patterns for path in root.glob(pattern)]:
      shutil.rmtree(path) if path.is_dir() else path.unlink()

  return damage


def flip_bytes(root):
  """Damages data pages, which no footer checks."""
  path = root / "data" / "train-00001-of-00002.parquet"
  content = bytearray(path.read_bytes())
  content[200 : len(content) // 2] = bytes(len(content) // 2 - 200)
  path.write_bytes(content)


def flipped(png):
  """Returns the file with a bit of its pixels changed, which may well be decoded."""
  middle = png.index(b"IDAT") + 20
  return png[:middle] + bytes([png[middle] ^ 1]) + png[middle + 1 :]


GOOD = examples(TEST)[0][0]
TEST_PARQUET = "test-00000-of-00001.parquet: "
BAD_FOLDERS = [
  (write_idx, remove("*"), "{root} holds neither IDX files .* nor Parquet .* nor folders of"),
  (write_pictures, put("x.parquet", b""), "whether {root}/x.parquet belongs to train or to test"),
  (write_pictures, put("train.parquet", b""), "{root} holds Parquet files as well as pictures"),
  (write_parquet, put("valid.parquet", b""), "whether {root}/valid.parquet belongs to train or"),
  (write_parquet, put("test_train.parquet", b""), "whether {root}/test_train.parquet belongs"),
  (write_idx, remove("t10k*"), "{root} has IDX files for train, but none for test; a run needs"),
  (write_parquet, remove("data/train*"), "{root} has Parquet files for test, but none for train"),
  (write_pictures, remove("test"), "{root} has pictures for train, but none for test"),
  (write_idx, remove("t10k-l*"), "{root} lacks t10k-labels-idx1-ubyte"),
  (write_idx, remove("train-i*"), "{root} lacks train-images-idx3-ubyte"),
  (write_pictures, put("train/a.png", b""), "{root}/train/a.png is not in the folder of a class"),
  (write_pictures, remove("test/4/*"), "the folder of a class, {root}/test/4, is empty"),
]
BAD_FILES = [
  (
    write_idx,
    rewrite("train-images-idx3-ubyte.gz", lambda c: b"\1" + c[1:]),
    "train-images-idx3-ubyte.gz is not such an IDX file: .* 2051",
  ),
  (
    write_idx,
    rewrite("t10k-labels-idx1-ubyte.gz", lambda c: c[:3]),
    "t10k-labels-idx1-ubyte.gz is not such an IDX file: .* 2049",
  ),
  (
    write_idx,
    rewrite("train-images-idx3-ubyte.gz", lambda c: c[:-1]),
    "train-images-idx3-ubyte.gz is truncated: it holds 9615 bytes, but 9616 .*120, 8, 10",
  ),
  (
    write_idx,
    rewrite("train-labels-idx1-ubyte.gz", lambda c: c + b"1"),
    "train-labels-idx1-ubyte.gz is too long: it holds 129 bytes, but 128",
  ),
  (
    write_idx,
    lambda root: os.truncate(root / "train-images-idx3-ubyte.gz", 500),
    "train-images-idx3-ubyte.gz is damaged or cannot be read: .*ended before",
  ),
  (
    write_idx,
    put("t10k-images-idx3-ubyte.gz", b"PK"),
    "t10k-images-idx3-ubyte.gz is damaged or cannot be read: Not a gzipped",
  ),
  (
    write_idx,
    put("t10k-labels-idx1-ubyte.gz", gzip.compress(idx(np.zeros(39)))),
    "t10k-images-idx3-ubyte.gz holds 40 images, but {root}/t10k-labels-idx1-ubyte.gz 39 labels",
  ),
  (
    write_idx,
    put("t10k-images-idx3-ubyte.gz", gzip.compress(idx(np.zeros((40, 0, 9))))),
    r"t10k-images-idx3-ubyte.gz is empty: its dimensions are \(40, 0, 9\)",
  ),
  (
    write_idx,
    put("t10k-images-idx3-ubyte.gz", gzip.compress(idx(np.zeros((40, 9, 8))))),
    "t10k-images-idx3-ubyte.gz: image 0 is 9x8x1, but the first one of train is 8x10x1",
  ),
  (
    write_idx,
    rewrite("train-labels-idx1-ubyte.gz", lambda c: c[:11] + b"\x17" + c[12:]),
    "train-labels-idx1-ubyte.gz: item 3 has label 23, but the 11 different labels of train must",
  ),
  (
    write_idx,
    rewrite("t10k-labels-idx1-ubyte.gz", lambda c: c[:-1] + b"\x0a"),
    "t10k-labels-idx1-ubyte.gz: item 39 has label 10, which train has not; .* 0 to 9",
  ),
  (write_parquet, put("data/train-2.parquet", b"PAR"), "train-2.parquet is not a Parquet file"),
  (write_parquet, flip_bytes, "train-00001-of-00002.parquet is not a Parquet file, or is da"),
  (write_parquet, drop("label"), TEST_PARQUET[:-2] + " has no column 'label', only 'image'"),
  (write_parquet, drop("image"), TEST_PARQUET[:-2] + " has no column 'image', only 'label'"),
  (write_parquet, rows(label_type=pa.float32()), "column 'label' is of type float, but must be"),
  (write_parquet, rows(labels=["7"] * 40, label_type=pa.string()), "is of type string, but"),
  (
    write_parquet,
    rows(images=["x"] * 40, image_type=pa.string()),
    TEST_PARQUET + "column 'image' is of type string, but must be binary",
  ),
  (write_parquet, rows(labels=[1, 2, None]), TEST_PARQUET + "row 2 has no label: it is null"),
  (write_parquet, rows(labels=[1, 2, 3, -4]), TEST_PARQUET + "row 3 has label -4, which train"),
  (write_parquet, rows(labels=[1, 10]), TEST_PARQUET + "row 1 has label 10, which train has not"),
  (write_parquet, rows(images=[GOOD, None]), TEST_PARQUET + "row 1 has no image: it is null"),
  (
    write_parquet,
    rows(images=[GOOD, None], image_type=pa.binary()),
    TEST_PARQUET + "row 1 has no image: it is null",
  ),
  (
    write_parquet,
    rows(images=[GOOD, GOOD, b"GIF"]),
    TEST_PARQUET + "the picture of row 2 is not a PNG or JPEG picture, or is damaged",
  ),
  (
    write_parquet,
    rows(images=[encode(GOOD)[:-20]]),
    TEST_PARQUET + "the picture of row 0 is not a PNG or JPEG picture, or is damaged",
  ),
  (
    write_parquet,
    rows(images=[GOOD, flipped(encode(GOOD))]),
    TEST_PARQUET + "the picture of row 1 is not a PNG or JPEG picture, or is damaged",
  ),
  (write_parquet, rows(images=[GOOD, GOOD[:-1]]), TEST_PARQUET + "the picture of row 1 is 7x1"),
  (write_parquet, put("data/test-00000-of-00001.parquet", b"PAR1"), "is not a Parquet file"),
  (
    write_parquet,
    lambda root: pq.write_table(table([], []), root / "data" / "test-00000-of-00001.parquet"),
    "test-00000-of-00001.parquet has no rows, nor has any other file of test",
  ),
  (write_pictures, put("train/3/a.png", b"no"), "train/3/a.png is not a PNG or JPEG picture, or"),
  (write_pictures, put("train/3/a.png", encode(GOOD[1:])), "train/3/a.png is 7x10x1, but the"),
  (write_pictures, put("test/3/a.png", encode(np.stack([GOOD] * 3, -1))), "a.png is 8x10x3, but"),
  (write_pictures, put("test/3/a.png", encode(np.stack([GOOD] * 4, -1))), "a.png .* is RGBA"),
  (write_pictures, put("test/3/a.png", encode(GOOD.astype(np.uint16))), "a.png .* is I;16"),
  (write_pictures, put("test/3/a.png", encode(GOOD, transparency=0)), "without transparency"),
  (write_pictures, put("test/3/a/b.png", b""), "test/3/a cannot be read: Is a directory"),
  (
    write_pictures,
    put("test/10/a.png", encode(GOOD)),
    "{root}/test/10/a.png is of the class '10', which train does not have",
  ),
]


@pytest.mark.parametrize(
  ("kind", "write", "damage", "complaint"),
  [*((UsageError, *case) for case in BAD_FOLDERS), *((RunError, *case) for case in BAD_FILES)],
)
def test_bad_files(tmp_path, kind, write, damage, complaint):
  root = tmp_path / "mine"
  write(root)
  damage(root)
  with pytest.raises(kind, match=complaint.format(root=root)) as caught:
    load(root, tmp_path / "data")
  assert "\n" not in str(caught.value)
  assert not (tmp_path / "data").exists() or listing_of(tmp_path / "data") == [
    "mnist_mlp",
    "mnist_mlp/.lock",
  ]


def test_folders_that_are_called_like_files(tmp_path):
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


def test_a_folder_whose_name_is_no_text(tmp_path):
  root = tmp_path / os.fsdecode(b"caf\xe9")
  write_pictures(root)
  with pytest.raises(UsageError, match=r"the name of the folder .*caf.*udce9' is not in UTF-8"):
    load(root, tmp_path / "data")


@pytest.mark.parametrize("name", ["nowhere", "a file"])
def test_no_folder(tmp_path, name):
  (tmp_path / "a file").write_text("")
  with pytest.raises(UsageError, match=f"{name}', which is not a folder"):
    load(tmp_path / name, tmp_path / "data")


def test_no_pyarrow(tmp_path, monkeypatch):
  write_parquet(tmp_path / "mine")
  monkeypatch.setitem(sys.modules, "pyarrow", None)
  with pytest.raises(RunError, match=re.escape("pip install 'mnist_mlp[parquet]'")):
    load(tmp_path / "mine", tmp_path / "data")


def test_files_and_manual_dir_exclude_each_other():
  c = config.default()
  c.data.files = c.data.manual_dir = "/somewhere"
  with pytest.raises(UsageError, match="are both set; files are one's own"):
    config.validate(c)


@pytest.mark.parametrize(
  ("damage", "code", "complaint"),
  [
    (remove("*"), 2, "holds neither IDX files"),
    (rewrite("train-images-idx3-ubyte.gz", lambda c: c[:-1]), 1, "is truncated"),
  ],
)
def test_command_line(tmp_path, damage, code, complaint):
  write_idx(tmp_path / "mine")
  damage(tmp_path / "mine")
  process = run(
    "--config=configs/quick.py",
    f"--config.data.files={tmp_path / 'mine'}",
    f"--config.data.data_dir={tmp_path / 'data'}",
    f"--workdir={tmp_path / 'run'}",
  )
  assert process.returncode == code and complaint in process.stderr
  assert "Traceback" not in process.stderr
  assert listing_of(tmp_path) == [
    "mine",
    *(f"mine/{name}" for name in listing_of(tmp_path / "mine")),
  ]


# Runs.


def test_run_on_parquet(tmp_path):
  write_parquet(tmp_path / "mine")
  c = config.default()
  c.data.files, c.data.data_dir = str(tmp_path / "mine"), str(tmp_path / "data")
  c.data.validation_examples, c.batch_size, c.num_epochs = 20, 20, 30.0
  c.eval_every_epochs = 15.0
  c.model.features = (32,)
  train_and_evaluate(c, tmp_path / "run")
  result = json.loads((tmp_path / "run" / "result.json").read_text())
  assert result["dataset"]["name"] == "mine" and result["dataset"]["stand_in_for"] == ""
  assert result["dataset"]["examples"] == {"train": 100, "validation": 20, "test": 40}
  assert result["test"]["accuracy"] > 0.6
  rows(labels=[0] * 40)(tmp_path / "mine")
  with pytest.raises(RunError, match="was started on other data of the name 'mine'"):
    train_and_evaluate(c, tmp_path / "run")


@pytest.mark.slow
def test_commands_on_pictures(tmp_path, digits_dir):
  write_pictures(tmp_path / "mine")
  shutil.copytree(digits_dir, tmp_path / "data")
  workdir = f"--workdir={tmp_path / 'run'}"
  process = run(
    "--config=configs/quick.py",
    f"--config.data.files={tmp_path / 'mine'}",
    workdir,
    f"--config.data.data_dir={tmp_path / 'data'}",
    "--config.data.validation_examples=20",
    "--config.batch_size=20",
    "--config.model.features=32,",
  )
  assert process.returncode == 0, process.stderr
  result = json.loads((tmp_path / "run" / "result.json").read_text())
  process = run("--json", workdir, module="mnist_mlp.evaluate")
  report = json.loads(process.stdout)
  assert report["dataset"] == "mine" and report["examples"] == 40
  assert report["accuracy"] == pytest.approx(result["test"]["accuracy"])
  process = run("--dataset=digits", workdir, module="mnist_mlp.evaluate")
  assert process.returncode == 2 and "'digits', with images of (28, 28, 1)" in process.stderr


def test_mnists_original_files(mnist_files):
  source = files.find(str(mnist_files))
  assert source.class_names == tuple("0123456789") and source.image_shape == (28, 28, 1)
  for split, size, first in (("train", 60_000, [5, 0, 4]), ("test", 10_000, [7, 2, 1])):
    labels = [example["label"] for _, example in source.examples(split, (28, 28, 1))]
    assert len(labels) == size and labels[:3] == first


@pytest.mark.slow
def test_mnists_original_files_are_mnist(mnist_files, mnist_dir, tmp_path):
  """The same bits, in the same order, as TFDS's own dataset: the same runs."""
  ours, _ = load(mnist_files, tmp_path)
  theirs, _ = load("", mnist_dir)
  assert ours.fingerprint == theirs.fingerprint and ours.class_names == theirs.class_names
