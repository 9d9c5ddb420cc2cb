"""Configs of any values, of the wrong types too: each trains, or is refused in one sentence."""

import os

import chances
import processes
import pytest

CODE = "import runpy; runpy.run_module('any_config', run_name='__main__')"


@pytest.mark.parametrize(
  ("number", "examples"),
  [
    pytest.param(0, 20, marks=pytest.mark.slow),
    *(pytest.param(number, 50, marks=pytest.mark.hundredfold) for number in range(1, 11)),
  ],
)
def test_any_config_trains_or_is_refused_in_one_sentence(
  number, examples, digits_dir, tmp_path, count
):
  seed = int(os.environ[chances.FAULTS_SEED]) + number
  code = f"import os; os.chdir({str(tmp_path)!r})\n{CODE}"
  variables = {"HOME": str(tmp_path), "TFDS_DATA_DIR": str(digits_dir)}
  done = processes.python(code, examples, seed, digits_dir, timeout=3000, **variables)
  assert done.returncode == 0, done.stderr[-8000:]
  trained, refused = map(int, done.stdout.split())
  assert trained > examples // 5 and refused > 0
  count("configs trained", trained)
  count("configs refused", refused)
