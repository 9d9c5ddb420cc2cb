"""Config files, and the many ways in which one can be broken."""

import os
import re
from pathlib import Path

import processes
import pytest

from mnist_mlp import config
from mnist_mlp.errors import UsageError
from mnist_mlp.run.config_files import find, load_config, recipe, recipes

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
  "a slip": (HEAD + "  c.sede = 1\n", "line 5: AttributeError: config.sede is not a field; did"),
  "another's name": (HEAD + "  c.lr = 1\n", "config.lr is not a field; did you mean 'optimizer.le"),
  "a section": (
    HEAD + "  c.loss = 'a'\n",
    "config.loss is a section of fields; did you mean 'loss",
  ),
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
  message = str(caught.value)
  assert str(path) in message and "\n" not in message and len(message) < len(str(path)) + 300


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: None])
def test_what_is_no_file_is_neither_read_nor_waited_for(tmp_path, make):
  make(tmp_path / "c.py")
  with pytest.raises(UsageError, match=r"c\.py' does not exist"):
    load_config(tmp_path / "c.py")


def write(path, seed):
  path.write_text(f"{HEAD}  c.seed = {seed}\n  return c\n")


def test_a_name_means_what_lies_here_before_what_comes_with_the_program(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  shipped = str(processes.ROOT / "configs" / "adam.py")
  for name in ("adam", "adam.py", "configs/adam.py", "configs/adam"):
    assert find(name) == shipped
  for name in ("elsewhere/adam.py", str(tmp_path / "adam"), "no_such", "."):
    assert find(name) == name, "only recipes are looked for elsewhere, and only by their names"
  write(tmp_path / "adam.py", 1)
  assert (find("adam"), find("adam.py"), recipe("adam").seed) == ("adam.py", "adam.py", 1)
  write(tmp_path / "adam", 2)
  assert (find("adam"), find("adam.py"), recipe("adam").seed) == ("adam", "adam.py", 2)
  assert recipe(tmp_path / "adam.py").seed == 1
  monkeypatch.chdir(processes.ROOT)
  assert find("adam") == "configs/adam.py", "short in a checkout"


def test_every_recipe_is_found_by_its_name():
  assert {"adam", "quick"} <= set(recipes())
  for name, path in recipes().items():
    config.validate(recipe(name))
    assert Path(find(name)).samefile(path)


@pytest.mark.parametrize(
  ("name", "hint"),
  [
    ("configs/adm.py", "did you mean 'configs/adam.py'?"),
    ("adm", "did you mean 'adam'?"),
    ("config/adam.py", "did you mean 'adam'?"),
    ("qqqq", "known names are adam, "),
  ],
)
def test_a_misspelt_config_file_gets_a_hint(monkeypatch, name, hint):
  monkeypatch.chdir(processes.ROOT)
  with pytest.raises(UsageError, match=re.escape(f"does not exist; {hint}")):
    recipe(name)
