"""Asking a net from Python: arrays and files in, probabilities and predictions out."""

import os
from collections.abc import Iterable

import numpy as np

from mnist_mlp.data.pictures import load_picture
from mnist_mlp.errors import UsageError, shown
from mnist_mlp.inference.nets import Committee, Net
from mnist_mlp.inference.predictions import Prediction, classify
from mnist_mlp.inference.ways import preparer, way_of


def predict_images(net: Net | Committee, images: np.ndarray) -> np.ndarray:
  """Returns the probabilities of the classes, float64 [N, classes], in the order of their names.

  Args:
    net: the net of a run, or a committee.
    images: uint8 [N, H, W, C], or [N, H, W] if there is one channel, as the net's training data
      are: a digit of MNIST is light on black.

  Raises:
    UsageError: the images are not like that, or the net is none.
  """
  _check_net(net)
  images, (height, width, channels) = np.asarray(images), net.image_shape
  with_channel = images[..., None] if images.ndim == 3 and channels == 1 else images
  if images.dtype != np.uint8 or with_channel.shape[1:] != (height, width, channels):
    raise UsageError(
      f"the images are {images.dtype} {list(images.shape)}, but the net takes "
      f"uint8 [N, {height}, {width}, {channels}]"
    )
  return net.probabilities(net.logits(with_channel))


def predict_files(
  net: Net | Committee, paths: str | os.PathLike | Iterable[str | os.PathLike]
) -> list[Prediction]:
  """Returns what a net says of the picture in each file, as the command `predict` does.

  Args:
    net: the net of a run, or a committee.
    paths: the files; a path alone is that of one file.

  Raises:
    UsageError: the net takes no such pictures, or is none.
    RunError: a file cannot be read; the message names it.
  """
  _check_net(net)
  paths = [paths] if isinstance(paths, str | os.PathLike) else paths
  prepare = preparer(net, way_of(net))
  named = [(load_picture(path, os.fspath(path)), os.fspath(path)) for path in paths]
  return classify(net, [prepare(picture, name) for picture, name in named])


def _check_net(net: Net | Committee) -> None:
  if not isinstance(net, Net | Committee):
    raise UsageError(f"the net is {shown(net)}, but must be what load_run or load_nets returns")
