"""Config files, and the many ways in which one can be broken."""

import os
import re

import pytest

from mnist_mlp.errors import UsageError
from mnist_mlp.run.config_files import load_config

HEAD = """from mnist_mlp import config
from ml_collections import ConfigDict, FrozenConfigDict, config_dict
def get_config():
  c = config.default()
"""

BROKEN = {
  "no function": ("x = 1\n", "has no function get_config()"),
  "no code": ("x = (\n", "line 1: SyntaxError: '(' was never closed"),
  "a NUL": ("x = '\0'\n", "is broken: SyntaxError: source code string cannot contain null bytes"),
  "a missing module": ("import no_such_module\n", "line 1: ModuleNotFoundError"),
  "a slip": (HEAD + "  c.sede = 1\n", "line 5: AttributeError"),
  "a NumPy number": (HEAD + "  import numpy\n  c.seed = numpy.int64(3)\n", "line 6: TypeError"),
  "too large a number": (HEAD + "  c.optimizer.b1 = 10**400\n", "line 5: OverflowError"),
  "an exit": (HEAD + "  raise SystemExit(3)\n", "line 5: SystemExit: 3"),
  "recursion": (HEAD + "  return get_config()\n", "RecursionError"),
  "nothing": (HEAD, "get_config() returned a NoneType, not a ConfigDict"),
  "a dict": (HEAD + "  return c.to_dict()\n", "returned a dict, not a ConfigDict"),
  "a frozen one": (HEAD + "  return FrozenConfigDict(c)\n", "returned a FrozenConfigDict, not a"),
  "a missing value": (
    HEAD + "  return ConfigDict({'a': config_dict.required_placeholder(int)})\n",
    "RequiredValueError",
  ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_config_file_is_one_sentence(tmp_path, case):
  content, said = BROKEN[case]
  path = tmp_path / "c.py"
  path.write_text(content)
  with pytest.raises(UsageError, match=re.escape(said)) as caught:
    load_config(path)
  assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: None])
def test_what_is_no_file_is_neither_read_nor_waited_for(tmp_path, make):
  make(tmp_path / "c.py")
  with pytest.raises(UsageError, match=r"c\.py' does not exist"):
    load_config(tmp_path / "c.py")
