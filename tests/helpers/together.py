"""Runs that several processes train together, as a user starts them."""

import socket
import time

import processes


def free_port():
  """Returns a port on which nobody listens."""
  with socket.create_server(("", 0)) as server:
    return server.getsockname()[1]


class Together:
  """The processes of one run. Each one's output is the file `output-I` in a folder."""

  def __init__(self, words, workdir, folder, *, size=2, host="localhost", variables=None):
    """Starts them all."""
    folder.mkdir(exist_ok=True)
    self.outputs = [folder / f"output-{i}" for i in range(size)]
    common = (*words, f"--workdir={workdir}", f"--coordinator={host}:{free_port()}")
    self.processes = [
      processes.start(
        *(*common, f"--num_processes={size}", f"--process_id={i}"),
        output=output,
        variables=variables,
      )
      for i, output in enumerate(self.outputs)
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
    """Returns what each process printed, but for what Gloo prints where devices are several."""
    texts = [output.read_text().splitlines(keepends=True) for output in self.outputs]
    return ["".join(line for line in lines if "[Gloo] Rank" not in line) for lines in texts]
