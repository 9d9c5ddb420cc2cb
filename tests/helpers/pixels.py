"""TFDS datasets of one small file each, and a server that offers the files."""

import contextlib
import http.server
import threading

import numpy as np
import tensorflow_datasets as tfds


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
