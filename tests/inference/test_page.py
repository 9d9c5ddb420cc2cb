"""The server of the page to draw on."""

import http.client
import io
import json
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import processes
import pytest
from drawn import one
from PIL import Image

from mnist_mlp import demo


def ask(url, path, body=None, host=None):
  """Returns status, headers and body of an answer."""
  connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
  headers = {"Host": host} if host else {}
  connection.request("GET" if body is None else "POST", path, body, headers)
  response = connection.getresponse()
  return response.status, response.headers, response.read()


@pytest.mark.slow
def test_a_drawing_is_answered_with_pixels_and_probabilities(page_url):
  status, _, body = ask(page_url, "/drawing?width=140", one().tobytes())
  answer = json.loads(body)
  assert status == 200
  assert abs(sum(answer["probabilities"]) - 1) < 1e-5
  assert answer["label"] == "0123456789"[int(np.argmax(answer["probabilities"]))]
  assert answer["members"] == []
  nothing = json.loads(ask(page_url, "/drawing?width=2", bytes(4))[2])
  assert nothing == {"label": None, "note": "no ink"}


@pytest.mark.slow
def test_a_picture_is_read_as_predict_reads_it(page_url):
  file = io.BytesIO()
  Image.fromarray(255 - one()).save(file, "WEBP")
  status, _, body = ask(page_url, "/picture", file.getvalue())
  assert status == 200
  drawn = json.loads(ask(page_url, "/drawing?width=140", one().tobytes())[2])
  assert json.loads(body)["label"] == drawn["label"]


@pytest.mark.slow
@pytest.mark.parametrize(
  ("path", "body", "said"),
  [
    ("/drawing?width=3", b"abc", "a drawing is width x width bytes"),
    ("/drawing?width=-1", b"a", "a drawing is width x width bytes"),
    ("/drawing?width=x", b"a", "a drawing is width x width bytes"),
    ("/drawing?width=5000", bytes(5000**2), "width 1024 at most"),
    ("/picture", b"no picture", "not a picture of a known format"),
    ("/picture", bytes(30_000_001), "30 MB at most"),
  ],
)
def test_what_is_no_drawing_and_no_picture_is_one_sentence(page_url, path, body, said):
  status, _, found = ask(page_url, path, body)
  assert status == 400 and said in json.loads(found)["error"]
  assert ask(page_url, "/net")[0] == 200, "the server goes on"


@pytest.mark.slow
def test_only_the_page_is_served_and_only_under_its_own_name(page_url):
  for name in ("", "index.html", "page.css", "page.js"):
    status, headers, _ = ask(page_url, f"/{name}")
    assert status == 200
    assert headers["Content-Security-Policy"].startswith("default-src 'self';")
  for name in ("server.py", "__init__.py", "../nets.py", "%2e%2e/nets.py", "__pycache__/"):
    assert ask(page_url, f"/{name}")[0] == 404
  assert ask(page_url, "/net", host="evil.example")[0] == 400


def test_nothing_on_the_page_names_another_host():
  for name in ("index.html", "page.css", "page.js"):
    text = Path(processes.ROOT, "mnist_mlp", "inference", "page", name).read_text()
    assert not re.search(r"(?:https?:)?//[\w.]+\.\w", text), name


@pytest.mark.slow
def test_the_port_in_use_and_a_missing_run_are_one_sentence(trained_run):
  with socket.create_server(("127.0.0.1", 0)) as taken:
    port = taken.getsockname()[1]
    done = processes.run(f"--workdir={trained_run}", f"--port={port}", module="mnist_mlp.demo")
  assert done.returncode == 1 and f"port {port}" in done.stderr
  done = processes.run("--workdir=no/run", "--port=0", module="mnist_mlp.demo")
  assert done.returncode == 2 and "no/run does not exist" in done.stderr


def has_ipv6():
  try:
    socket.create_server(("::1", 0), family=socket.AF_INET6).close()
  except OSError:
    return False
  return True


@pytest.mark.slow
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_the_server_of_this_machine_alone_ends_without_a_word(host, trained_run):
  """A browser that goes away amid a request is none either."""
  if host == "::1" and not has_ipv6():
    pytest.skip("this machine has no IPv6")
  words = [sys.executable, "-m", "mnist_mlp.demo", f"--workdir={trained_run}", "--port=0"]
  server = subprocess.Popen(
    [*words, f"--host={host}"],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    cwd=processes.ROOT,
  )
  lines = []
  while not (lines and lines[-1].startswith("draw at:")):
    lines.append(server.stdout.readline())
    assert lines[-1], server.communicate()
  assert not any("whoever reaches" in line for line in lines)
  url = lines[-1].split()[2]
  assert ask(url, "/net")[0] == 200 and ask(url, "/net", host="evil.example")[0] == 400
  with socket.create_connection((host, urlsplit(url).port)) as leaving:
    name = urlsplit(url).netloc.encode()
    leaving.sendall(b"POST /picture HTTP/1.1\r\nHost: " + name + b"\r\nContent-Length: 9\r\n\r\n.")
    time.sleep(0.5)
  time.sleep(0.5)
  server.send_signal(2)
  assert server.communicate(timeout=60)[1] == "" and server.returncode == 0


@pytest.mark.parametrize(
  ("host", "shown"),
  [("::1", "[::1]"), ("127.0.0.1", "127.0.0.1"), ("0.0.0.0", socket.gethostname())],
)
def test_the_address_is_one_that_a_browser_takes(host, shown):
  with socket.create_server(("127.0.0.1", 0)) as listener:
    port = listener.getsockname()[1]
    assert demo._address(host, listener) == f"http://{shown}:{port}/"
