"""A real TensorBoard process for tests, and its HTTP interface.

Importing this keeps TensorBoard's own readers, such as EventAccumulator, from importing TensorFlow,
which would take most of a test's time: they have a stand-in for it.
"""

import contextlib
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import types
import urllib.parse
import urllib.request

sys.modules.setdefault("tensorboard.compat.notf", types.ModuleType("notf"))
_PROGRAM = """
import sys, types
sys.modules["tensorboard.compat.notf"] = types.ModuleType("notf")
from tensorboard.main import run_main
sys.exit(run_main())
"""


class TensorBoard:
  """The HTTP interface of a TensorBoard at `url`."""

  def __init__(self, url):
    self.url = url.rstrip("/")

  def get_bytes(self, path, **query):
    with urllib.request.urlopen(
      f"{self.url}{path}?{urllib.parse.urlencode(query)}", timeout=30
    ) as response:
      return response.read()

  def get(self, path, **query):
    return json.loads(self.get_bytes(path, **query))

  def post(self, path, body):
    request = urllib.request.Request(
      self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as response:
      return json.loads(response.read())

  def runs(self):
    return self.get("/data/runs")

  def scalars(self, run, tag):
    """Returns [(step, value), ...]."""
    rows = self.get("/data/plugin/scalars/scalars", run=run, tag=tag)
    return [(step, value) for _, step, value in rows]

  def image(self, run, tag, index=-1, sample=0):
    """Returns (step, PNG bytes) of one of a tag's images."""
    rows = self.get("/data/plugin/images/images", run=run, tag=tag, sample=sample)
    query = dict(urllib.parse.parse_qsl(rows[index]["query"]))
    return rows[index]["step"], self.get_bytes("/data/plugin/images/individualImage", **query)

  def histograms(self, run, tag):
    """Returns [(step, [[left, right, count], ...]), ...]."""
    rows = self.get("/data/plugin/histograms/histograms", run=run, tag=tag)
    return [(step, buckets) for _, step, buckets in rows]

  def texts(self, run, tag):
    """Returns [(step, HTML), ...]."""
    rows = self.get("/data/plugin/text/text", run=run, tag=tag)
    return [(row["step"], row["text"]) for row in rows]

  def experiment(self):
    """Returns the HParams plugin's description of all hyperparameters and metrics."""
    return self.post("/data/plugin/hparams/experiment", {"experimentName": ""})

  def session_groups(self):
    """Returns the rows of the HParams table, each with its sessions."""
    metrics = [{"metric": info["name"]} for info in self.experiment().get("metricInfos", [])]
    statuses = [f"STATUS_{name}" for name in ("UNKNOWN", "SUCCESS", "FAILURE", "RUNNING")]
    answer = self.post(
      "/data/plugin/hparams/session_groups",
      {
        "experimentName": "",
        "allowedStatuses": statuses,
        "colParams": metrics,
        "startIndex": 0,
        "sliceSize": 1000,
      },
    )
    return answer.get("sessionGroups", [])


@contextlib.contextmanager
def serve(logdir, runs=None, load_fast=False, timeout=60, command=None):
  """Yields a TensorBoard on a free port once it has loaded `runs`; ends it by its id.

  Args:
    logdir: the folder to show.
    runs: names of runs (folders under `logdir`; '.' is `logdir` itself) to wait for, or None to
      wait for any.
    load_fast: read with the data server, TensorBoard's default, which goes on reading while it
      answers. Without it, all is read, once, before the first answer.
    timeout: seconds until RuntimeError.
    command: the words of the command that starts it, instead of one that is faster.
  """
  reading = (
    ["--load_fast=true", "--reload_interval=1"]
    if load_fast
    else ["--load_fast=false", "--reload_interval=0", "--reload_task=blocking"]
  )
  with tempfile.NamedTemporaryFile("w+") as log:
    process = subprocess.Popen(
      [
        *(command or [sys.executable, "-c", _PROGRAM, f"--logdir={logdir}"]),
        "--host=127.0.0.1",
        "--port=0",
        *reading,
      ],
      stdout=log,
      stderr=subprocess.STDOUT,
    )
    try:
      deadline = time.monotonic() + timeout
      server = TensorBoard(_wait(lambda: _url(log.name), process, log.name, deadline))
      wanted = set(runs or ())
      _wait(lambda: server.runs() and wanted <= set(server.runs()), process, log.name, deadline)
      yield server
    finally:
      process.terminate()
      try:
        process.wait(10)
      except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _url(log):
  match = re.search(r"TensorBoard \S+ at (http://\S+)", pathlib.Path(log).read_text())
  return match and match[1]


def _wait(condition, process, log, deadline):
  while True:
    result = condition()
    if result:
      return result
    if process.poll() is not None or time.monotonic() > deadline:
      raise RuntimeError(f"TensorBoard is not ready:\n{pathlib.Path(log).read_text()}")
    time.sleep(0.1)
