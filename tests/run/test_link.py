"""Processes that meet and talk: here threads, with real sockets between them."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from together import free_port

from mnist_mlp.errors import RunError, UsageError
from mnist_mlp.run import link
from mnist_mlp.run.link import Meeting, Member


class Lost:
  """Notes what is lost."""

  def __init__(self):
    self.reasons, self.come = [], threading.Event()

  def __call__(self, lost, reason):
    self.reasons.append((lost.member and lost.member.process_id, reason))
    self.come.set()


def meeting(port, process_id, size, lost=None, seconds=5.0):
  return Meeting(("localhost", port), Member(process_id, "a", 7), size, seconds, lost or Lost())


def met(size, lost=None):
  """Returns the links of process 0, and those of the others."""
  port = free_port()
  with ThreadPoolExecutor() as pool:
    others = [pool.submit(link.connect, meeting(port, i, size, lost)) for i in range(1, size)]
    return link.gather(meeting(port, 0, size, lost)), [other.result() for other in others]


def test_processes_find_each_other_in_any_order():
  links, others = met(4)
  for i, other in enumerate(others, start=1):
    assert links[i].member == (i, "a", 7) and other.member == (0, "a", 7)
    links[i].send({"x": [i, None, "ä\n"]})
    assert other.next() == {"x": [i, None, "ä\n"]}
    other.send(None)
    assert links[i].next() is None


def test_who_hangs_up_is_lost_with_or_without_a_reason():
  lost = Lost()
  links, (one, other) = met(3, lost)
  one.leave("no data")
  assert lost.come.wait(5) and lost.reasons == [(1, "no data")]
  lost.come.clear()
  other._socket.shutdown(socket.SHUT_RDWR)
  assert links[2].hung_up.wait(5)
  # Both ends notice: in threads, the other end is this process as well.
  deadline = time.monotonic() + 5
  while (2, "") not in lost.reasons and time.monotonic() < deadline:
    time.sleep(0.01)
  assert (2, "") in lost.reasons
  with pytest.raises(EOFError):
    links[2].next()


def test_who_may_go_is_not_lost():
  lost = Lost()
  links, (other,) = met(2, lost)
  links[1].closing = other.closing = True
  other._socket.shutdown(socket.SHUT_RDWR)
  assert links[1].hung_up.wait(5) and not lost.reasons


@pytest.mark.parametrize(
  "second, text",
  [
    ((1, 3), "--process_id=1 is given twice, also to process 1 (pid 7 on a)"),
    ((2, 4), "--num_processes is 4, but 3 for process 0"),
  ],
)
def test_who_does_not_fit_is_told_and_the_others_wait_on(second, text):
  port = free_port()
  with ThreadPoolExecutor() as pool:
    first = pool.submit(link.connect, meeting(port, 1, 3))
    lead = pool.submit(link.gather, meeting(port, 0, 3))
    time.sleep(0.3)
    with pytest.raises(UsageError) as caught:
      link.connect(meeting(port, *second))
    assert text in str(caught.value)
    link.connect(meeting(port, 2, 3))
    assert lead.result().keys() == {1, 2} and first.result().member.process_id == 0
  with pytest.raises(UsageError, match="all 3 processes of the run are there already"):
    link.connect(meeting(port, 2, 3))


def test_who_is_missing_is_named_to_all():
  port = free_port()
  with ThreadPoolExecutor() as pool:
    other = pool.submit(link.connect, meeting(port, 2, 4))
    with pytest.raises(RunError, match=r"process 1, 3 did not come within 0\.5 s; start all 4"):
      link.gather(meeting(port, 0, 4, seconds=0.5))
    with pytest.raises(RunError, match="process 1, 3 did not come"):
      other.result()


def test_nobody_listens():
  with pytest.raises(RunError, match=r"nobody listens at --coordinator=localhost:\d+ after 0\.3 s"):
    link.connect(meeting(free_port(), 1, 2, seconds=0.3))
  lost = Meeting(("no.such.host.invalid", 1), Member(1, "a", 7), 2, 0.3, Lost())
  with pytest.raises(RunError, match="nobody listens at"):
    link.connect(lost)


def test_two_of_process_0_cannot_be():
  taken = socket.create_server(("", 0))
  with taken, pytest.raises(UsageError, match=r"cannot listen on port \d+"):
    link.gather(meeting(taken.getsockname()[1], 0, 2))


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\n\r\n", b"[1]\n", b"{}\n", b"\xff\n"])
def test_a_stranger_at_the_port_changes_nothing(said):
  port = free_port()
  with ThreadPoolExecutor() as pool:
    lead = pool.submit(link.gather, meeting(port, 0, 2))
    time.sleep(0.2)
    with socket.create_connection(("localhost", port)) as stranger:
      stranger.sendall(said)
      stranger.shutdown(socket.SHUT_WR)
      assert stranger.recv(100) == b""
    link.connect(meeting(port, 1, 2))
    assert lead.result().keys() == {1}
