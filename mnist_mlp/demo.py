"""Serves a page to draw digits on: python -m mnist_mlp.demo --workdir=RUN [--port=8000].

Beside the drawing stands what the net sees of it, and what it says, while you draw. A picture can
be dropped or pasted. Several --workdir make a committee.
"""

import contextlib
import importlib.util
import socket
from collections.abc import Sequence

from absl import flags
from etils import epy

from mnist_mlp.errors import RunError, UsageError
from mnist_mlp.run import cli
from mnist_mlp.run.link import LOOPBACK

with epy.lazy_imports():  # JAX takes seconds, for which --help and errors need not wait.
  import uvicorn

  from mnist_mlp import inference
  from mnist_mlp.inference import ways
  from mnist_mlp.inference.page import server
  from mnist_mlp.run import environment

_ALL = ("0.0.0.0", "::")  # all addresses of this machine


def define_flags(values: flags.FlagValues, arguments: Sequence[str]) -> None:
  """Defines this command's flags."""
  cli.define_nets(values, "asked")
  flags.DEFINE_integer("port", 8000, "port of the page; 0 is any that is free", 0, 65535, values)
  flags.DEFINE_string(
    "host", "127.0.0.1", "address to listen on; the default is for this machine alone", values
  )


def main(line: cli.CommandLine) -> None:
  """Serves the page until Ctrl-C."""
  values = line.flags
  if not values.workdir:
    raise UsageError("--workdir is missing: the folder of a run, for example runs/adam")
  for package in ("starlette", "uvicorn"):
    if importlib.util.find_spec(package) is None:
      raise UsageError(f"the page needs {package}: pip install 'mnist_mlp[demo]'")
  if not values.host:
    raise UsageError("--host is empty; 0.0.0.0 are all addresses of this machine")
  is_open = values.host not in LOOPBACK
  with _listening(values.host, values.port) as listener:
    environment.use_compilation_cache()
    net = inference.load_nets(values.workdir, best=values.best)
    inference.check_takes_digits(net)
    app = server.Page(net).app(("*",) if is_open else server.LOOPBACK)
    for caution in inference.cautions(net, ways.STROKES):
      print(f"note: {caution}")
    if is_open:
      print("note: whoever reaches this address can use the page, and nothing is encrypted")
    server_of_page = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
    with contextlib.suppress(KeyboardInterrupt):
      print(f"draw at:  {_address(values.host, listener)}  (Ctrl-C ends it)", flush=True)
      server_of_page.run(sockets=[listener])


def _address(host: str, listener: socket.socket) -> str:
  """Returns what a browser is given: of all addresses, the name of this machine."""
  name = socket.gethostname() if host in _ALL else host
  shown = f"[{name}]" if ":" in name else name
  return f"http://{shown}:{listener.getsockname()[1]}/"


def _listening(host: str, port: int) -> socket.socket:
  """Returns a listening socket; raises a RunError if there can be none."""
  family = socket.AF_INET6 if ":" in host else socket.AF_INET
  try:
    return socket.create_server((host, port), family=family)
  except OSError as error:
    reason = str(error.strerror).partition(" (while")[0]  # Python names the address again.
    raise RunError(
      f"cannot listen on {host}, port {port}: {reason}; give another --port or --host"
    ) from error


if __name__ == "__main__":
  cli.run(main, define_flags)
