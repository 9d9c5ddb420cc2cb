"""The processes that train one run together: what they tell each other, and what if one is gone.

Process 0 leads: it alone prints, and writes the files of the workdir, which all share.
"""

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from typing import Any

from mnist_mlp.errors import RunError, UserError, printable
from mnist_mlp.run import link
from mnist_mlp.run.link import Link, Member
from mnist_mlp.waiting import said_if_slow

# Seconds in which a process may end by itself, once another one has said why it does.
GRACE = 5.0


class Team:
  """The processes that train a run together; by default, this one alone."""

  size = 1
  process_id = 0

  @property
  def leads(self) -> bool:
    """Whether this process prints, and writes the files of the workdir."""
    return self.process_id == 0

  def gather(self, value: Any) -> list[Any]:
    """Returns the values of all processes, by process id. All call it, in the same order.

    Args:
      value: JSON-able.

    Raises:
      RunError: a process has left.
    """
    return [value]

  def check_same(self, value: Any, what: str, advice: str) -> None:
    """Raises a RunError unless all processes have the same JSON-able value.

    Args:
      value: that of this process.
      what: names it: 'last whole checkpoint'.
      advice: how to mend it.
    """
    with said_if_slow(self._say, f"waiting for the {what} of the other processes"):
      values = self.gather(value)
    for process_id, other in enumerate(values):
      if other != values[0]:
        raise RunError(
          f"the {what} of process {process_id} is {other}, but {values[0]} of process 0; {advice}"
        )

  def _say(self, line: str) -> None:
    if self.leads:
      print(line, flush=True)


ALONE = Team()
_current = ALONE


def current() -> Team:
  """Returns the team to which this process belongs; see `distributed.join`."""
  return _current


@contextlib.contextmanager
def member_of(team: Team) -> Iterator[None]:
  """Makes this process belong to a team."""
  global _current
  _current = team
  try:
    yield
  finally:
    _current = ALONE


class LinkedTeam(Team):
  """Several processes, each linked with process 0."""

  def __init__(self, address: tuple[str, int], size: int, process_id: int, seconds: float):
    """Waits for all processes.

    Args:
      address: host and port of process 0.
      size: how many processes there are.
      process_id: that of this one.
      seconds: for how long to wait.

    Raises:
      UsageError: this process is refused.
      RunError: some did not come.
    """
    self.size, self.process_id = size, process_id
    self._own = Member(process_id, socket.gethostname(), os.getpid())
    meeting = link.Meeting(address, self._own, size, seconds, self._lost)
    self._links = link.gather(meeting) if self.leads else {0: link.connect(meeting)}
    self.members = [Member(*one) for one in self.gather(self._own)]

  def gather(self, value: Any) -> list[Any]:
    """See `Team.gather`."""
    if not self.leads:
      self._links[0].send(value)
      return self._next(0)
    values = [value, *map(self._next, range(1, self.size))]
    for one in self._links.values():
      one.send(values)
    return values

  def _next(self, process_id: int) -> Any:
    try:
      return self._links[process_id].next()
    except EOFError as error:
      raise RunError(_reason(self._links[process_id])) from error

  def _lost(self, lost: Link, reason: str) -> None:
    """Ends this process, which would wait for ever for the one that has left or is gone.

    If that one said why, this one may be about to find the same, such as a loss that is not finite.
    """
    if reason:
      time.sleep(GRACE)
    if lost.closing:
      return
    text = f"error: {printable(_reason(lost))}\n".encode(errors="backslashreplace")
    with contextlib.suppress(OSError):
      os.write(2, text)
    if self.leads:
      self.leave(_reason(lost))
    os._exit(RunError.exit_code)

  def leave(self, reason: str) -> None:
    """Tells the others that this process ends, and why.

    Process 0 then waits until they have ended, so that each can say why.
    """
    for one in self._links.values():
      one.leave(reason)
    deadline = time.monotonic() + 2 * GRACE
    for one in self._links.values() if self.leads else ():
      one.hung_up.wait(max(0.0, deadline - time.monotonic()))

  def part(self) -> None:
    """Returns once all processes have called it; then each may end."""
    for one in self._links.values():
      one.closing = True
    self.gather("parted")  # Nobody ends before all expect it.

  def ended_by(self, error: BaseException) -> str:
    """Returns what the others are told of the error that ends this process."""
    what = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    return f"{self._own} ended: {what}"


def _reason(lost: Link) -> str:
  return lost.reason or (
    f"{lost.member} is gone; start all processes again: the run goes on from its last checkpoint"
  )
