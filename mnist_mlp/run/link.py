"""How the processes of one run talk: lines of JSON over TCP, between process 0 and each other one.

JAX's own runtime moves arrays, but it cannot say in time who is missing or gone: it aborts the
process. So the processes meet here first, and stay connected. The kernel closes the connections of
a process that dies, whatever it dies of; those of a machine that is gone time out (`_keep_alive`).
"""

import contextlib
import json
import queue
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from mnist_mlp.errors import RunError, UsageError

# Names of the interface that no other machine reaches.
LOOPBACK = {"localhost": socket.AF_INET, "127.0.0.1": socket.AF_INET, "::1": socket.AF_INET6}
_LONGEST = 2**26  # bytes of a message
_RETRY = 0.2  # seconds between two attempts to connect
_HELLO = 5.0  # seconds that whoever connects has to say who it is
# Of a connection on which nothing arrives: seconds to the first probe, between probes, and their
# number. After some 20 seconds the other machine counts as gone.
_PROBES = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
_UNANSWERED = 20_000  # milliseconds for which sent data may stay unanswered
_ENDED = "ended"  # key of a message: the sender leaves, and why
_VALUE = "value"  # key of any other message


class Member(NamedTuple):
  """One process of a run."""

  process_id: int
  host: str
  pid: int

  def __str__(self) -> str:
    """Returns 'process 1 (pid 4711 on node-b)'."""
    return f"process {self.process_id} (pid {self.pid} on {self.host})"


class Link:
  """A connection to one other process. A thread of its own receives."""

  def __init__(self, connection: socket.socket, lost: Callable[["Link", str], None]):
    """Takes a connected socket.

    Args:
      connection: it stays open until this process ends.
      lost: is called, in the thread that receives, when the other process has left or is gone: with
        the reason that it gave, or ''.
    """
    self._socket = connection
    self._file = connection.makefile("rb")
    self._lost = lost
    self._received: queue.SimpleQueue = queue.SimpleQueue()
    self._sending = threading.Lock()
    self.member: Member | None = None  # who is at the other end
    self.closing = False  # whether the other end may go now
    self.reason = ""  # why the other process left, if it said so
    self.hung_up = threading.Event()  # nothing will come any more
    _keep_alive(connection)

  def start(self, member: Member) -> None:
    """Begins to receive what that process sends."""
    self.member = member
    threading.Thread(target=self._receive, daemon=True).start()

  def send(self, value: Any) -> None:
    """Sends a JSON-able value. If it cannot be sent, the thread that receives notices."""
    self._send({_VALUE: value})

  def leave(self, reason: str) -> None:
    """Tells the other process that this one ends, and why; '' for the end of the run."""
    self.closing = True
    if reason:
      self._send({_ENDED: reason})

  def _send(self, message: dict[str, Any]) -> None:
    with self._sending, contextlib.suppress(OSError):
      self._socket.sendall(json.dumps(message).encode() + b"\n")

  def next(self) -> Any:
    """Returns the next value.

    Raises:
      EOFError: the other process has left or is gone.
    """
    message = self._received.get()
    if message is None:
      raise EOFError
    return message[_VALUE]

  def read(self) -> dict[str, Any] | None:
    """Returns the next message from the socket itself; None if there is none."""
    try:
      line = self._file.readline(_LONGEST)
      message = json.loads(line) if line.endswith(b"\n") else None
    except (OSError, ValueError):
      return None
    return message if isinstance(message, dict) else None

  def close(self) -> None:
    """Hangs up."""
    self._socket.close()

  def _receive(self) -> None:
    message = self.read()
    while message is not None and _VALUE in message:
      self._received.put(message)
      message = self.read()
    if message is None:
      self.hung_up.set()
    else:
      self.reason = str(message[_ENDED])
    self._received.put(None)
    if not self.closing:
      self._lost(self, self.reason)
    while message is not None:  # It has said that it ends: until it does.
      message = self.read()
    self.hung_up.set()


def _keep_alive(connection: socket.socket) -> None:
  connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
  connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
  options = {**_PROBES, "TCP_USER_TIMEOUT": _UNANSWERED}
  for name, value in options.items():
    if hasattr(socket, name):  # macOS lacks some.
      connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


class Meeting(NamedTuple):
  """What a process has to know to meet the others."""

  address: tuple[str, int]  # host and port of process 0
  own: Member
  size: int  # how many processes there are
  seconds: float  # for which to wait
  lost: Callable[[Link, str], None]  # see `Link`


def connect(meeting: Meeting) -> Link:
  """Returns the link to process 0, once all processes are there.

  Raises:
    RunError: nobody answers, or somebody else is missing.
    UsageError: process 0 refuses this process.
  """
  link = Link(_reach(meeting.address, meeting.seconds), meeting.lost)
  link.send([*meeting.own, meeting.size])
  answer = (link.read() or {}).get(_VALUE) or {}
  if "refused" in answer:
    raise (UsageError if answer["usage"] else RunError)(answer["refused"])
  if "welcome" not in answer:
    host, port = meeting.address
    raise RunError(f"{host}:{port} hung up; is process 0 of this run there?")
  link.start(Member(*answer["welcome"]))
  return link


def _reach(address: tuple[str, int], seconds: float) -> socket.socket:
  """Returns a connection; tries again until somebody listens."""
  host, port = address
  deadline = time.monotonic() + seconds
  while True:
    try:
      connection = socket.create_connection(address, timeout=max(_RETRY, seconds))
      connection.settimeout(None)
      return connection
    except OSError as error:
      if time.monotonic() > deadline:
        raise RunError(
          f"nobody listens at --coordinator={host}:{port} after {seconds:g} s "
          f"({error.strerror or error}); start process 0 there, or mend the address"
        ) from error
    time.sleep(_RETRY)


def gather(meeting: Meeting) -> dict[int, Link]:
  """Waits, as process 0, for the other processes; returns the links to them by process id.

  It listens on the port of the address: on the loopback interface if that is the host, else on all.

  Raises:
    UsageError: the port cannot be listened on.
    RunError: somebody did not come.
  """
  listener, size = _listen(*meeting.address), meeting.size
  links: dict[int, Link] = {}
  deadline = time.monotonic() + meeting.seconds
  while len(links) < size - 1 and (left := deadline - time.monotonic()) > 0:
    listener.settimeout(left)
    with contextlib.suppress(TimeoutError):
      _admit(listener.accept()[0], links, meeting)
  missing = ", ".join(str(i) for i in range(1, size) if i not in links)
  if missing:
    reason = (
      f"process {missing} did not come within {meeting.seconds:g} s; start all {size}, with "
      f"--process_id=0 to {size - 1}"
    )
    for link in links.values():
      _refuse(link, reason, usage=False)
    raise RunError(reason)
  for link in links.values():
    link.send({"welcome": meeting.own})
  listener.settimeout(None)
  threading.Thread(target=_refuse_others, args=(listener, size), daemon=True).start()
  return links


def _listen(host: str, port: int) -> socket.socket:
  try:
    if host in LOOPBACK:
      return socket.create_server((host, port), family=LOOPBACK[host])
    if socket.has_dualstack_ipv6():
      return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))
  except OSError as error:
    raise UsageError(
      f"process 0 cannot listen on port {port} ({error.strerror}); end the other process 0 that "
      "is there, or give another port"
    ) from error


def _admit(connection: socket.socket, links: dict[int, Link], meeting: Meeting) -> None:
  """Adds the process at the other end of a connection, or tells it why not."""
  connection.settimeout(_HELLO)
  link, size = Link(connection, meeting.lost), meeting.size
  try:
    *own, wanted = (link.read() or {})[_VALUE]
    member = Member(*own)
  except (KeyError, TypeError, ValueError):  # Whoever it is, it is no process of a run.
    link.close()
    return
  connection.settimeout(None)
  if wanted != size:
    _refuse(link, f"--num_processes is {wanted}, but {size} for process 0; give all the same")
  elif member.process_id in links:
    other = links[member.process_id].member
    _refuse(link, f"--process_id={member.process_id} is given twice, also to {other}")
  else:
    links[member.process_id] = link
    link.start(member)


def _refuse(link: Link, reason: str, usage: bool = True) -> None:
  link.closing = True
  link.send({"refused": reason, "usage": usage})
  link.close()


def _refuse_others(listener: socket.socket, size: int) -> None:
  """Tells whoever comes later that nobody is missing; never ends."""
  while True:
    link = Link(listener.accept()[0], lambda *_: None)
    _refuse(link, f"all {size} processes of the run are there already; this is one too many")
