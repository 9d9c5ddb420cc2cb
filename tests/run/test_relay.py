"""The way to process 0 that stays open when process 0 is gone."""

import socket

import pytest

from mnist_mlp.run.relay import relay


@pytest.fixture
def ends():
  """The two ends of a connection through a relay: the one that connected, and the far one."""
  with socket.create_server(("127.0.0.1", 0)) as far_away:
    port = relay(far_away.getsockname())
    with socket.create_connection(("127.0.0.1", port), timeout=10) as near:
      far, _ = far_away.accept()
      far.settimeout(10)
      with far:
        yield near, far


def test_both_ways_pass_on_what_comes(ends):
  near, far = ends
  near.sendall(b"there")
  assert far.recv(100) == b"there"
  far.sendall(b"and back")
  assert near.recv(100) == b"and back"


def test_who_connected_does_not_see_that_the_other_end_is_gone(ends):
  near, far = ends
  far.close()
  near.settimeout(0.3)
  for _ in range(3):
    near.sendall(b"anybody there?")
    with pytest.raises(TimeoutError):
      near.recv(100)


def test_the_other_end_sees_that_who_connected_is_gone(ends):
  near, far = ends
  near.close()
  assert far.recv(100) == b""


def test_a_later_attempt_may_find_somebody():
  with socket.create_server(("127.0.0.1", 0)) as nobody:
    address = nobody.getsockname()
  port = relay(address)
  with socket.create_connection(("127.0.0.1", port), timeout=10) as near:
    assert near.recv(100) == b""
  with (
    socket.create_server(address) as somebody,
    socket.create_connection(("127.0.0.1", port), timeout=10) as near,
  ):
    far, _ = somebody.accept()
    with far:
      near.sendall(b"again")
      assert far.recv(100) == b"again"
