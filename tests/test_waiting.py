"""A line says for what the program waits."""

import time

from mnist_mlp import waiting


def test_only_what_takes_long_is_said_and_once(monkeypatch):
  monkeypatch.setattr(waiting, "_PATIENCE", 0.05)
  said = []
  with waiting.said_if_slow(said.append, "slow"):
    time.sleep(0.3)
  with waiting.said_if_slow(said.append, "fast"):
    pass
  time.sleep(0.1)
  assert said == ["slow"]


def test_what_is_waited_for_is_said_within_ten_seconds():
  assert waiting._PATIENCE < 10
