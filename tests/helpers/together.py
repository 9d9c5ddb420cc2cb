"""Runs that several processes train together, as a user starts them, on one machine or on two."""

import contextlib
import secrets
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import processes

_NAMES = Path("/etc/netns")  # what lies in the folder of a namespace goes before what lies in /etc


class Machine(NamedTuple):
  """Where a process runs."""

  host: str  # by which others reach it
  before: tuple[str, ...]  # words that start a command there
  namespace: str = ""


HERE = Machine("localhost", ())


def free_port():
  """Returns a port on which nobody listens."""
  with socket.create_server(("", 0)) as server:
    return server.getsockname()[1]


@contextlib.contextmanager
def two_machines():
  """Yields two machines with an interface, a name and an address each, joined by a cable.

  They are network namespaces of this one, which only root can make. They share its files.
  """
  number = secrets.token_hex(3)  # A session may have several pairs.
  spaces = [f"mnist-{number}-{i}" for i in range(2)]
  hosts = [f"node-{name}" for name in "ab"]
  addresses = [f"10.77.0.{i + 1}" for i in range(2)]
  cable = [f"mm{i}-{number}" for i in range(2)]
  with contextlib.ExitStack() as stack:
    for space in spaces:
      _ip("netns", "add", space)
      stack.callback(_ip, "netns", "del", space)
      (_NAMES / space).mkdir(parents=True)
      stack.callback(_remove_names, space)
      names = [f"{address} {host}" for address, host in zip(addresses, hosts, strict=True)]
      (_NAMES / space / "hosts").write_text("\n".join(["127.0.0.1 localhost", *names, ""]))
    _ip("link", "add", cable[0], "type", "veth", "peer", "name", cable[1])
    for space, end, address in zip(spaces, cable, addresses, strict=True):
      _ip("link", "set", end, "netns", space)
      for words in (
        ("addr", "add", f"{address}/24", "dev", end),
        ("link", "set", end, "up"),
        ("link", "set", "lo", "up"),
      ):
        _ip("-n", space, *words)
    yield [
      Machine(host, (*_inside(space), "unshare", "--uts", "sh", "-c", _NAMED, host), space)
      for host, space in zip(hosts, spaces, strict=True)
    ]


def _remove_names(space):
  shutil.rmtree(_NAMES / space)
  with contextlib.suppress(OSError):  # Another pair may be there.
    _NAMES.rmdir()


_NAMED = 'hostname "$0"; exec "$@"'  # gives the machine its name, and becomes the command


def _inside(space):
  return ("ip", "netns", "exec", space)


def _ip(*words):
  subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def cut(machine):
  """Takes a machine from the network, without a word to the other one."""
  shown = subprocess.run(
    ["ip", "-n", machine.namespace, "-o", "link"], check=True, capture_output=True, text=True
  )
  end = next(line.split()[1].split("@")[0] for line in shown.stdout.splitlines() if "mm" in line)
  _ip("-n", machine.namespace, "link", "set", end, "down")


class Together:
  """The processes of one run. What process I prints is in the file `output-I` of a folder."""

  def __init__(self, words, workdir, folder, *, machines=(HERE, HERE), variables=None):
    """Starts a process on each machine."""
    folder.mkdir(exist_ok=True)
    self.outputs = [folder / f"output-{i}" for i in range(len(machines))]
    address = f"--coordinator={machines[0].host}:{free_port()}"
    common = (*words, f"--workdir={workdir}", address, f"--num_processes={len(machines)}")
    self.processes = [
      processes.start(
        *(*common, f"--process_id={i}"),
        output=self.outputs[i],
        variables=variables,
        before=machine.before,
      )
      for i, machine in enumerate(machines)
    ]

  def codes(self, seconds=400):
    """Returns the exit codes, once all have ended."""
    deadline = time.monotonic() + seconds
    try:
      return [one.wait(max(0.1, deadline - time.monotonic())) for one in self.processes]
    finally:
      for one in self.processes:
        one.kill()

  def said(self):
    """Returns what each process printed."""
    return [output.read_text() for output in self.outputs]
