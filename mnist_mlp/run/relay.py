"""A way to process 0 that stays open when process 0 is gone, for JAX's runtime.

JAX aborts a process, amid lines of its own, in the moment in which its connection to process 0
closes. `team` learns of that end in the same moment, says who is gone, and ends the process in
order. So JAX gets a connection whose end it does not see.
"""

import contextlib
import socket
import threading

_PIECE = 2**16  # bytes that are read at once


def relay(address: tuple[str, int]) -> int:
  """Passes on, in threads, what comes to a port of the loopback interface; returns that port.

  Args:
    address: host and port to which it is passed on. If nobody listens there, whoever connects is
      hung up on, and may try again.
  """
  listener = socket.create_server(("127.0.0.1", 0))
  threading.Thread(target=_accept, args=(listener, address), daemon=True).start()
  return listener.getsockname()[1]


def _accept(listener: socket.socket, address: tuple[str, int]) -> None:
  while True:
    near, _ = listener.accept()
    try:
      far = socket.create_connection(address)
    except OSError:
      near.close()
      continue
    for one in (near, far):
      one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    threading.Thread(target=_from_far, args=(far, near), daemon=True).start()
    threading.Thread(target=_from_near, args=(near, far), daemon=True).start()


def _from_far(far: socket.socket, near: socket.socket) -> None:
  """Passes on what comes from far, but not that nothing comes any more."""
  with contextlib.suppress(OSError):
    while data := far.recv(_PIECE):
      near.sendall(data)


def _from_near(near: socket.socket, far: socket.socket) -> None:
  """Passes on what comes from near, though far may be gone; hangs up when near does."""
  with contextlib.suppress(OSError):
    while data := near.recv(_PIECE):
      with contextlib.suppress(OSError):
        far.sendall(data)
  with contextlib.suppress(OSError):
    far.shutdown(socket.SHUT_RDWR)  # Ends the other thread, which waits for it.
  far.close()
  near.close()
