"""Data on the host of several processes: each reads the rows of its own devices alone."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import processes
import pytest

CODE = """
import json, sys
import jax
number, count, devices, port = map(int, sys.argv[2:])
jax.config.update("jax_num_cpu_devices", devices)
if count > 1:
  jax.distributed.initialize(f"localhost:{port}", count, number, initialization_timeout=120)
import dataclasses
import numpy as np
import small
from ml_collections import FrozenConfigDict
from mnist_mlp.core.metrics import TrainMetrics
from mnist_mlp.core.sharding import create_mesh, replicated
from mnist_mlp.core.state import initializer
from mnist_mlp.core.traced import traced
from mnist_mlp.data import stream
from mnist_mlp.run import placement
from mnist_mlp.run.loop import Timetable

read = []
rows = stream.mapped.rows
def noted(array, indices):
  read.append(indices.shape)
  return rows(array, indices)
stream.mapped.rows = noted

c = small.config_of(num_steps=9, ema__decay=0.9)
timetable = Timetable(6, 9, 6, 0, block=4)
with jax.set_mesh(create_mesh()):
  place = jax.jit(
      lambda values: (initializer(c, small.spec())(values), TrainMetrics.empty()),
      out_shardings=replicated())
  carry = place(traced(c))
  layout = placement.Layout(create_mesh(), "data")
  host = placement.OnHost(FrozenConfigDict(c), small.dataset(), timetable, layout, c.seed)
  step = 0
  while step < 9:
    length = timetable.next_chunk(step, 100)
    carry = host.train_chunk(*carry, step, length)
    step += length.num_steps
  metrics, logits = host.test(carry[0])
  norms = host.norms(carry[0])
  leaves = jax.device_get(jax.tree.leaves((carry, metrics, logits, norms)))
np.save(sys.argv[1], np.concatenate([np.ravel(leaf) for leaf in leaves]))
print(json.dumps({
    "rows": layout.own_rows(16).tolist(),
    "read": sorted(shape[1] for shape in read if len(shape) == 2),
}))
"""


def found(folder, count, devices):
  """Returns what each of so many processes found, which have so many devices each.

  The numbers go to files: a process that waits until its output is read would stop the others.
  """
  with socket.socket() as free:
    free.bind(("localhost", 0))
    port = free.getsockname()[1]
  variables = {"PYTHONPATH": os.pathsep.join(sys.path), "JAX_PLATFORMS": "cpu"}
  files = [folder / f"{number}-of-{count}.npy" for number in range(count)]
  running = [
    subprocess.Popen(
      [sys.executable, "-c", CODE, *map(str, (file, number, count, devices, port))],
      cwd=processes.ROOT,
      env=processes.environment(**variables),
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )
    for number, file in enumerate(files)
  ]
  try:
    outputs = [process.communicate(timeout=300) for process in running]
  finally:
    for process in running:
      process.kill()
  for process, (_, errors) in zip(running, outputs, strict=True):
    assert process.returncode == 0, errors
  return [
    {**json.loads(output.splitlines()[-1]), "values": np.load(file, allow_pickle=False)}
    for file, (output, _) in zip(files, outputs, strict=True)
  ]


@pytest.mark.slow
def test_each_process_reads_the_rows_of_its_own_devices_alone(tmp_path, optimized):
  """A batch of 16 for training, and of 16 for evaluation."""
  (alone,) = found(tmp_path, 1, 4)
  assert alone["rows"] == list(range(16))
  assert set(alone["read"]) == {16}
  first, second = found(tmp_path, 2, 2)
  assert first["rows"] == list(range(8))
  assert second["rows"] == list(range(8, 16))
  assert set(first["read"]) == set(second["read"]) == {8}
  np.testing.assert_array_equal(first["values"], second["values"])
  # Gloo adds up in another order than devices of one process.
  np.testing.assert_allclose(first["values"], alone["values"], rtol=1e-5, atol=1e-5)
