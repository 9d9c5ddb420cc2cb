"""Commands in odd surroundings: closed streams, no home folder, a Ctrl-C at any moment."""

import io
import os
import runpy
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

import processes
import pytest

from mnist_mlp import startup

SHORT = (
  "--config=configs/sgd.py",
  "--config.data.name=digits",
  "--config.data.validation_examples=100",
  "--config.model.features=(8,)",
  "--config.num_epochs=1",
)


def finished(workdir):
  return (workdir / "result.json").exists()


def shell(line, *arguments, **variables):
  """Runs `line` in a shell, in which "$@" is the command that trains; returns the process."""
  words = ["bash", "-c", line, "bash", *processes.command(*arguments)]
  return subprocess.run(
    words,
    cwd=processes.ROOT,
    env=processes.environment(**variables),
    capture_output=True,
    text=True,
    timeout=100,
  )


@pytest.mark.slow
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_a_closed_stream_stops_nothing(tmp_path, digits_dir, closed):
  workdir = f"--workdir={tmp_path}"
  done = shell(f'"$@" {closed}', *SHORT, workdir, TFDS_DATA_DIR=str(digits_dir))
  assert done.returncode == 0, done.stderr
  assert finished(tmp_path) and "Traceback" not in done.stderr
  # Nothing that was printed went into a file that got the number of a closed stream.
  for path in tmp_path.rglob("*"):
    assert path.is_dir() or b"look at it:" not in path.read_bytes(), path


class Notebook(io.StringIO):
  """A stream that has no number and no encoding, like one of a notebook."""

  reconfigure = property(lambda self: self.missing)
  fileno = property(lambda self: self.missing)


@pytest.mark.parametrize("arguments", [["--help"], ["--workdir="], ["--config=no.py"]])
def test_a_command_runs_where_the_streams_are_replaced(monkeypatch, arguments):
  """As `%run -m mnist_mlp.main` in a notebook."""
  out, errors = Notebook(), Notebook()
  monkeypatch.setattr(sys, "argv", ["main", *arguments])
  handler = signal.getsignal(signal.SIGINT)
  with monkeypatch.context() as patch, pytest.raises(SystemExit) as caught:
    patch.setattr(sys, "stdout", out)
    patch.setattr(sys, "stderr", errors)
    runpy.run_module("mnist_mlp.main", run_name="__main__", alter_sys=True)
  assert caught.value.code in (None, 0, 2)
  assert "Trains a config" in out.getvalue() or errors.getvalue().startswith("error: ")
  assert signal.getsignal(signal.SIGINT) is handler, "the notebook's own interrupts are gone"


@pytest.fixture
def open_to_all(digits_dir):
  """A folder that any user may write to, with the embedded digits in `data`."""
  with tempfile.TemporaryDirectory() as folder:
    shutil.copytree(digits_dir, os.path.join(folder, "data"))
    os.chmod(folder, 0o777)
    yield folder


@pytest.mark.slow
@pytest.mark.skipif(
  os.geteuid() != 0 or not shutil.which("setpriv"), reason="only root can become an unknown user"
)
@pytest.mark.parametrize(
  ("data_dir", "code", "said"),
  [("{}/data", 0, ""), ("", 2, "the home folder of the path '~/tensorflow_datasets' is not known")],
)
def test_a_user_without_a_home_folder_can_train(open_to_all, data_dir, code, said):
  where = f"--workdir={open_to_all}/run", f"--config.data.data_dir={data_dir.format(open_to_all)}"
  program = processes.command(*SHORT, *where)[1:]
  variables = {k: v for k, v in os.environ.items() if k not in ("HOME", "TFDS_DATA_DIR")}
  paths = [str(processes.ROOT), sysconfig.get_paths()["purelib"]]
  done = subprocess.run(
    ["setpriv", "--ruid=54321", "--clear-groups", os.path.realpath(sys.executable), *program],
    cwd=processes.ROOT,
    env={**variables, "PYTHONPATH": os.pathsep.join(paths), "JAX_COMPILATION_CACHE_DIR": ""},
    capture_output=True,
    text=True,
    timeout=100,
  )
  assert done.returncode == code, done.stderr
  assert "Traceback" not in done.stderr and said in done.stderr
  assert finished(Path(open_to_all, "run")) == (code == 0)


@pytest.mark.slow
@pytest.mark.parametrize("module", ["mnist_mlp.main", "mnist_mlp.predict"])
def test_ctrl_c_at_any_moment_of_the_start_is_one_line(tmp_path, digits_dir, module):
  for step in range(12):
    running = subprocess.Popen(
      processes.command(*SHORT, f"--workdir={tmp_path / str(step)}")
      if module.endswith("main")
      else processes.command("--workdir=no/run", "-", module=module),
      cwd=processes.ROOT,
      env=processes.environment(TFDS_DATA_DIR=str(digits_dir)),
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )
    time.sleep(0.3 + 0.25 * step)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=100)
    assert "Traceback" not in errors and "Exception ignored" not in errors
    assert running.returncode in (130, 0, 2), errors
    if running.returncode == 130:
      assert "interrupted" in errors.splitlines()[-1] or "resume with: " in errors


IMPORTING = """
import os, signal, sys
sys.argv[0] = "-m"
import mnist_mlp
{0}
os.kill(os.getpid(), signal.SIGINT)
for _ in range(10**9): pass
"""


def test_ctrl_c_while_modules_are_imported_is_one_line():
  done = processes.python(IMPORTING.format(""))
  assert (done.returncode, done.stderr) == (130, "interrupted\n")


def test_ctrl_c_while_python_is_torn_down_changes_no_exit_code():
  """Python takes every handler away before it ends; SIGINT would kill the process in silence."""
  late = """
class Late:
  def __del__(self, kill=os.kill, pid=os.getpid(), number=signal.SIGINT):
    kill(pid, number)
    print("still here")
late = Late()
sys.exit(2)
"""
  done = processes.python(IMPORTING.format(late))
  assert (done.returncode, done.stdout, done.stderr) == (2, "still here\n", "")


def test_ctrl_c_while_an_error_is_said_adds_no_other():
  code = """
from mnist_mlp.errors import UserError
from mnist_mlp.run import cli
def fails(line):
  raise UserError("what is wrong")
class Interrupted:
  def write(self, text, kill=os.kill):
    os.write(2, text.encode())
    sys.stderr = sys.__stderr__
    kill(os.getpid(), signal.SIGINT)
  def flush(self):
    pass
sys.stderr = Interrupted()
cli.run(fails, lambda values, arguments: None, argv=["fails"])
"""
  done = processes.python(IMPORTING.format(code))
  assert (done.returncode, done.stderr) == (130, "error: what is wronginterrupted\n")


@pytest.mark.slow
def test_ctrl_c_within_an_import_is_raised_after_it(tmp_path):
  """Modules written in C take a KeyboardInterrupt for an error of their own."""
  (tmp_path / "slow_module.py").write_text(
    "import os, signal, time\n"
    "os.kill(os.getpid(), signal.SIGINT)\n"
    "time.sleep(0.3)\n"
    "print('imported whole')\n"
  )
  code = f"""
import sys, time
sys.argv[0] = "-m"
from mnist_mlp import startup
from mnist_mlp.run import cli
sys.path.insert(0, {str(tmp_path)!r})
with startup.interruptible(), cli.user_errors():
  import slow_module
  time.sleep(5)
"""
  done = processes.python(code)
  assert (done.returncode, done.stdout) == (130, "imported whole\n")
  assert done.stderr == "interrupted; what was saved before is kept\n"


@pytest.mark.slow
def test_ctrl_c_while_jax_looks_for_a_tpu_leaves_no_timer_behind():
  """The signal comes when the timer has just been started; it waits for a minute."""
  code = """
import os, signal, sys, threading, time
sys.argv[0] = "-m"
from mnist_mlp import startup
from mnist_mlp.run import cli
from jax._src import xla_bridge
class Timer(threading.Timer):
  def start(self):
    super().start()
    if self.interval > 1:
      os.kill(os.getpid(), signal.SIGINT)
      time.sleep(0.01)
xla_bridge.threading.Timer = Timer
with cli.user_errors(), startup.interruptible():
  try:
    xla_bridge.tpu_client_timer_callback(60)
  except Exception:
    pass
  time.sleep(5)
"""
  started = time.monotonic()
  done = processes.python(code)
  assert done.returncode == 130
  assert done.stderr == "interrupted; what was saved before is kept\n"
  assert time.monotonic() - started < 40


def test_what_ignores_ctrl_c_goes_on_ignoring_it():
  """As under nohup, and as a job in the background of a shell."""
  code = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n" + IMPORTING
  done = processes.python(code.format("os.kill(os.getpid(), signal.SIGINT); sys.exit(7)"))
  assert (done.returncode, done.stderr) == (7, "")


def test_importing_the_package_elsewhere_leaves_ctrl_c_alone():
  assert signal.getsignal(signal.SIGINT) is not startup.leave
