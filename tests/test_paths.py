import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from mnist_mlp.errors import UsageError
from mnist_mlp.paths import expand


def test_home_folders_are_expanded(monkeypatch):
  monkeypatch.setenv("HOME", "/somewhere")
  assert expand("~") == expand(Path("~")) == Path("/somewhere")
  assert expand("~/runs/a") == expand(expand("~/runs/a")) == Path("/somewhere/runs/a")
  own = pwd.getpwuid(os.getuid())
  assert expand(f"~{own.pw_name}/runs") == Path(own.pw_dir, "runs")


@pytest.mark.parametrize("path", ["runs", "a/~/b", "a~", "[0-9]*?", r"a\b", "$HOME", "ä b", "."])
def test_all_else_is_literal(path):
  assert expand(path) == expand(Path(path)) == Path(path)


def test_a_folder_that_is_called_like_home_can_be_named():
  assert expand("./~/a") == expand(expand("./~/a")) == Path.cwd() / "~" / "a"


def test_a_path_that_names_nothing_is_refused():
  with pytest.raises(UsageError, match=r"'~nobody_of_that_name/x' .* no user called 'nobody_of"):
    expand("~nobody_of_that_name/x")
  with pytest.raises(UsageError, match=r"'a\\x00b' holds a NUL"):
    expand("a\0b")


ASCII = """
from mnist_mlp.paths import expand
print(ascii(expand(b"\\xc3\\xa4".decode("ascii", "surrogateescape"))))
expand("\\xe4")
"""


def test_a_path_that_the_locale_cannot_name_is_one_sentence():
  """From a command line all bytes arrive. A config file or a program may have other letters."""
  variables = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
  done = subprocess.run(
    [sys.executable, "-c", ASCII],
    env={**os.environ, **variables},
    capture_output=True,
    text=True,
    timeout=60,
  )
  assert done.stdout == "PosixPath('\\udcc3\\udca4')\n", done.stderr
  assert "UsageError: the path '\\xe4' cannot be named in ascii" in done.stderr
  assert "LC_ALL to C.UTF-8" in done.stderr


HOMELESS = """
import os
from mnist_mlp.paths import expand
os.setreuid(54321, 0)  # Has no entry in the list of users, but may read whatever root may.
print(expand("runs"))
expand("~/runs")
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become a user without an entry")
def test_without_a_home_only_paths_that_need_one_are_refused():
  variables = {name: value for name, value in os.environ.items() if name != "HOME"}
  done = subprocess.run(
    [sys.executable, "-c", HOMELESS], env=variables, capture_output=True, text=True, timeout=60
  )
  assert done.stdout == "runs\n", done.stderr
  assert "UsageError: the home folder of the path '~/runs' is not known: HOME is" in done.stderr
