"""Programs in ONNX, by jax2onnx. The only module that needs the extra 'onnx'."""

import contextlib
import io
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import ml_dtypes
import numpy as np
from etils import epy

from mnist_mlp.errors import UsageError

with epy.lazy_imports():
  import jax2onnx
  import onnx
  import onnxruntime

OPSET = 23


def convert(function: Any, image: jax.ShapeDtypeStruct) -> bytes:
  """Returns a function of images as an ONNX model, serialized.

  Args:
    function: takes images and returns probabilities: the names of the model's input and output.
    image: shape and dtype of the images; an axis may be symbolic.

  Raises:
    UsageError: jax2onnx is not installed.
  """
  with _needed("jax2onnx"), _quiet():
    model = jax2onnx.to_onnx(
      function,
      [image],
      model_name="net",
      opset=OPSET,
      input_names=["images"],
      output_names=["probabilities"],
    )
  for tensor in model.graph.initializer:
    _narrow(model, tensor)
  return model.SerializeToString()


def _narrow(model: "onnx.ModelProto", tensor: "onnx.TensorProto") -> None:
  """Stores a matrix whose numbers all are bfloat16 as such, with half the bytes.

  jax2onnx computes what is constant, so it stores float32.
  """
  values = onnx.numpy_helper.to_array(tensor)
  narrow = values.astype(ml_dtypes.bfloat16)
  if values.ndim < 2 or values.dtype != np.float32 or (narrow.astype(np.float32) != values).any():
    return
  name, stored, kind = tensor.name, f"{tensor.name}_bfloat16", onnx.TensorProto.BFLOAT16
  tensor.CopyFrom(onnx.helper.make_tensor(stored, kind, values.shape, narrow.tobytes(), raw=True))
  cast = onnx.helper.make_node("Cast", [stored], [name], to=onnx.TensorProto.FLOAT)
  model.graph.node.insert(0, cast)


def load(path: Path) -> Callable[[np.ndarray], np.ndarray]:
  """Returns the function that a model is; raises a UsageError if onnxruntime is not installed."""
  with _needed("onnxruntime"):
    session = onnxruntime.InferenceSession(path)
  return lambda images: session.run(None, {"images": np.asarray(images)})[0]


@contextlib.contextmanager
def _needed(package: str) -> Iterator[None]:
  try:
    yield
  except ImportError as error:
    raise UsageError(f"ONNX needs {package}: pip install 'mnist_mlp[onnx]'") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
  """Silences jax2onnx, which reports its plugins for libraries that are not there."""
  logging.disable(logging.CRITICAL)
  try:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
      yield
  finally:
    logging.disable(logging.NOTSET)
