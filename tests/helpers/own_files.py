"""Folders of files as a user has them: real digits in every format, and ways to spoil a folder."""

import collections
import gzip
import io
import shutil
import struct

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from loading import listing_of
from PIL import Image
from sklearn.datasets import load_digits

from mnist_mlp import config, data
from mnist_mlp.data import files

TRAIN, TEST = slice(0, 120), slice(120, 160)


def examples(split):
  """Returns real digits, uint8 [N, 8, 10], wider than high, and their labels."""
  source = load_digits()
  images = np.pad(source.images[split] * 15, ((0, 0), (0, 0), (2, 0)))
  return images.astype(np.uint8), source.target[split]


def options(root, **changes):
  section = config.default().data
  section.update(files=str(root), **{"validation_examples": 0, **changes})
  return section


def source(root, **changes):
  """Returns the source that a folder is, not yet prepared."""
  return files.find(options(root, **changes))


def load(root, data_dir, **changes):
  """Returns the dataset and all that was reported."""
  lines = []
  section = options(root, data_dir=str(data_dir), **changes)
  return data.load(section, report=lines.append), "\n".join(lines)


def pairs(images, labels):
  both = zip(images, labels, strict=True)
  return collections.Counter((np.squeeze(image).tobytes(), int(label)) for image, label in both)


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


# Damages: each returns a function that spoils a good folder.


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


def assert_refused(folder, kind, case):
  """Asserts that a spoilt folder is refused in one line, and that nothing of it is prepared.

  `case` is (writer, damage, complaint); {root} in the complaint is the spoilt folder.
  """
  write, damage, complaint = case
  root = folder / "mine"
  write(root)
  damage(root)
  with pytest.raises(kind, match=complaint.format(root=root)) as caught:
    load(root, folder / "data")
  assert "\n" not in str(caught.value)
  assert not (folder / "data").exists() or listing_of(folder / "data") == [
    "mnist_mlp",
    "mnist_mlp/.lock",
  ]
