"""A net, or a committee, in files that need nothing of this package: StableHLO or ONNX.

The program takes images and gives probabilities; the weights are constants in it. A JSON file
beside it says how to call it, and what the classes are called.
"""

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export as jax_export

from mnist_mlp.core.probabilities import log_probabilities, probabilities
from mnist_mlp.core.state import evaluation_variables
from mnist_mlp.errors import RunError
from mnist_mlp.inference import onnx_format
from mnist_mlp.inference.nets import Committee, Net
from mnist_mlp.run import durable

DTYPES = ("float32", "bfloat16")  # of the weights in the file; the program computes in float32
PLATFORMS = ("cpu", "cuda", "tpu")  # on which the StableHLO runs
_AT_ONCE = 10_000  # images that a program is given

Member = tuple[Net, Any]  # and its variables, as they are to be stored


def program(net: Net | Committee, dtype: str = "float32") -> "functools.partial[jax.Array]":
  """Returns the function from images, uint8 [N, H, W, C], to probabilities, float32 [N, classes].

  Args:
    net: its temperatures, if it has any, are part of the function.
    dtype: of DTYPES. Biases and what else has less than two axes are always float32.
  """
  return functools.partial(_probabilities, [(m, _stored(m, dtype)) for m in net.members])


def _stored(net: Net, dtype: str) -> Any:
  variables = evaluation_variables(net.state, net.config)
  return jax.tree.map(lambda x: np.asarray(x.astype(dtype) if x.ndim > 1 else x), variables)


def _probabilities(members: Sequence[Member], images: jax.Array) -> jax.Array:
  found = [_of_member(net, variables, images) for net, variables in members]
  return found[0] if len(found) == 1 else functools.reduce(jnp.add, found) / len(found)


def _of_member(net: Net, stored: Any, images: jax.Array) -> jax.Array:
  variables = jax.tree.map(lambda x: jnp.asarray(x).astype(jnp.float32), stored)
  scores = log_probabilities(net.config.loss.name, net.state.apply_fn(variables, images))
  return probabilities(scores, net.inverse_temperature)


def _to_stablehlo(function: Any, image: jax.ShapeDtypeStruct) -> tuple[bytes, dict[str, Any]]:
  exported = jax_export.export(jax.jit(function), platforms=PLATFORMS)(image)
  return bytes(exported.serialize()), {
    "call": "jax.export.deserialize(bytearray(open(file, 'rb').read())).call(images)",
    "needs": "jax and flatbuffers",
    "platforms": list(PLATFORMS),
    "calling_convention_version": exported.calling_convention_version,
  }


def _to_onnx(function: Any, image: jax.ShapeDtypeStruct) -> tuple[bytes, dict[str, Any]]:
  return onnx_format.convert(function, image), {
    "call": "onnxruntime.InferenceSession(file).run(None, {'images': images})[0]",
    "needs": "onnxruntime, or another runtime of ONNX",
    "opset": onnx_format.OPSET,
  }


FORMATS = {"stablehlo": _to_stablehlo, "onnx": _to_onnx}


def export(net: Net | Committee, folder: Path, format: str, dtype: str = "float32") -> Path:
  """Writes net.stablehlo or net.onnx, and net.json, into a folder, which is made if missing.

  Args:
    net: what to export.
    folder: files of these names in it are replaced.
    format: of FORMATS.
    dtype: of DTYPES.

  Returns:
    The path of the program.

  Raises:
    UsageError: ONNX is asked for, and jax2onnx is not installed.
    RunError: the folder cannot be written.
  """
  (batch,) = jax_export.symbolic_shape("batch")
  image = jax.ShapeDtypeStruct((batch, *net.image_shape), jnp.uint8)
  content, how = FORMATS[format](program(net, dtype), image)
  path = folder / f"net.{format}"
  facts = {"format": format, "file": path.name, **how, **_facts(net), "weights": dtype}
  try:
    folder.mkdir(parents=True, exist_ok=True)
    durable.write(path, content)
    durable.write(folder / "net.json", (json.dumps(facts, indent=2) + "\n").encode())
  except OSError as error:
    raise RunError(f"cannot write to {folder}: {error.strerror}; give another --out") from error
  return path


def _facts(net: Net | Committee) -> dict[str, Any]:
  return {
    "input": {
      "name": "images",
      "dtype": "uint8",
      "shape": ["batch", *net.image_shape],
      "meaning": "pixels as the training data have them; of MNIST, 0 is background, 255 is ink",
    },
    "output": {
      "name": "probabilities",
      "dtype": "float32",
      "shape": ["batch", len(net.class_names)],
      "meaning": "of the classes, in the order of class_names",
    },
    "class_names": net.class_names,
    "dataset": {name: net.facts[name] for name in ("name", "fingerprint")},
    "runs": [
      {"workdir": str(m.folder.path), "step": m.step, "temperature": m.temperature}
      for m in net.members
    ],
    "jax": jax.__version__,
  }


def run_file(path: Path, images: np.ndarray) -> np.ndarray:
  """Returns what an exported program says of images, float32 [N, classes].

  Args:
    path: the program.
    images: uint8 [N, H, W, C]; they are read piece by piece, so may be mapped from a large file.

  Raises:
    UsageError: it is ONNX, and onnxruntime is not installed.
  """
  if path.suffix == ".onnx":
    call = onnx_format.load(path)
  else:
    call = jax_export.deserialize(bytearray(path.read_bytes())).call
  starts = range(0, max(1, len(images)), _AT_ONCE)
  return np.concatenate([np.asarray(call(images[start : start + _AT_ONCE])) for start in starts])
