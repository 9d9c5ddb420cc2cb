import socket
import threading
import time

import pytest
from loading import load
from pixels import serve

from mnist_mlp.data import origin
from mnist_mlp.errors import RunError, UsageError

# Files in manual_dir.


MNIST_FIRST = "t10k-images-idx3-ubyte.gz"


@pytest.mark.parametrize(
  "size, complaint",
  [
    (None, "lacks .*" + MNIST_FIRST),
    (1000, MNIST_FIRST + " is truncated: 1000 bytes, expected 1648877"),
    (2000000, MNIST_FIRST + " is too long: 2000000 bytes, expected 1648877"),
    (1648877, MNIST_FIRST + " does not have the expected SHA-256"),
  ],
)
def test_original_files_are_checked(tmp_path, size, complaint):
  if size:
    (tmp_path / MNIST_FIRST).write_bytes(bytes(size))
  with pytest.raises(UsageError, match=complaint):
    load(tmp_path / "data", name="mnist", manual_dir=tmp_path)
  with pytest.raises(RunError, match=complaint):
    load(tmp_path / "data", name="mnist", manual_dir=tmp_path, only="mnist")
  assert not (tmp_path / "data").exists()


def test_a_missing_manual_dir_is_an_error(tmp_path):
  with pytest.raises(UsageError, match="nowhere', which is not a folder"):
    load(tmp_path, name="mnist", manual_dir=tmp_path / "nowhere")


# Hosts.


def test_probe_tells_which_host_does_not_offer_its_file(tmp_path, monkeypatch):
  monkeypatch.setenv("no_proxy", "127.0.0.1")
  (tmp_path / "file").write_text("x")
  with serve(tmp_path) as url:
    assert origin.probe([f"{url}/file"]) == ""
    assert "answers 404" in origin.probe([f"{url}/other"])
    assert "127.0.0.1:9 cannot be reached" in origin.probe(
      [f"{url}/file", "http://127.0.0.1:9/file"]
    )


def test_probe_takes_a_proxys_refusal_for_no(tmp_path, monkeypatch):
  for name in ("no_proxy", "NO_PROXY"):
    monkeypatch.delenv(name, raising=False)
  with serve(tmp_path, status=403) as url:
    monkeypatch.setenv("http_proxy", url)
    monkeypatch.setenv("https_proxy", url)
    assert "example.org answers 403" in origin.probe(["http://example.org/file"])
    assert "example.org cannot be reached (ProxyError)" in origin.probe(
      ["https://example.org/file"]
    )


def test_probe_has_a_deadline(monkeypatch):
  release = threading.Event()

  def hang(*args, **kwargs):
    release.wait(30)
    raise socket.gaierror

  monkeypatch.setattr(origin, "_PROBE_SECONDS", 0.3)
  monkeypatch.setattr(socket, "getaddrinfo", hang)
  start = time.monotonic()
  problem = origin.probe(["https://a.example.org/x", "https://b.example.org/x"])
  assert time.monotonic() - start < 10
  release.set()
  for host in ("a.example.org", "b.example.org"):
    assert f"{host} did not answer within 0.3 seconds" in problem
