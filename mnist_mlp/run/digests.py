"""Digests by which a checkpoint shows that it is whole."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

# Two names in `about`: the digest of the arrays, and the digest of `about` with that in it.
_ARRAYS, _SEAL = "digest", "seal"


def sealed(about: Mapping[str, Any], tree: Any) -> dict[str, Any]:
  """Returns JSON-able facts with digests of themselves and of the arrays they are about."""
  content = {**about, _ARRAYS: digest(tree)}
  return {**content, _SEAL: _seal(content)}


def opened(about: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the facts without the digests."""
  return {name: value for name, value in about.items() if name not in (_ARRAYS, _SEAL)}


def is_whole(about: Mapping[str, Any], tree: Any) -> bool:
  """Returns whether facts and arrays are those that were sealed.

  Raises:
    KeyError: there is no digest of the arrays.
  """
  content = {name: value for name, value in about.items() if name != _SEAL}
  # Version 0.2.0 and those before it sealed the arrays alone.
  return about[_ARRAYS] == digest(tree) and about.get(_SEAL, _seal(content)) == _seal(content)


def _seal(content: Mapping[str, Any]) -> str:
  return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def digest(tree: Any) -> str:
  """Returns the SHA-256, hexadecimal, of all leaves: their paths, dtypes, shapes and bytes."""
  sha = hashlib.sha256()
  for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
    array = np.asarray(leaf)
    sha.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}\n".encode())
    sha.update(array.reshape(-1).view(np.uint8).data)  # Some dtypes, like bfloat16, lack a buffer.
  return sha.hexdigest()
