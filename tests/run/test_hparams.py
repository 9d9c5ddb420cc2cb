"""Configs as hyperparameters, and the names of their settings."""

import processes

from mnist_mlp import config as config_lib
from mnist_mlp.run.hparams import hparams_of, setting_id, trial_id


def make_config(seed=0, learning_rate=1e-3):
  config = config_lib.default()
  config.seed = seed
  config.optimizer.learning_rate = learning_rate
  return config


def test_setting_id_leaves_out_only_the_seed():
  assert setting_id(make_config(0)) == setting_id(make_config(7))
  assert setting_id(make_config(0)) != setting_id(make_config(0, 0.5))
  flat = hparams_of(make_config(3))
  assert setting_id(flat) == setting_id(make_config(3))


def test_a_trial_is_called_like_its_folders_but_for_number_and_seed():
  one, other = make_config(1), make_config(2)
  short = setting_id(one)[:6]
  for config, folder in (
    (one, "003-learning_rate=0.01,seed=1"),
    (other, "004-learning_rate=0.01,seed=2"),
  ):
    assert trial_id(config, folder) == f"learning_rate=0.01 {short}"
  assert trial_id(one, "003-seed=1,dropout=0.5") == f"dropout=0.5 {short}"
  long = "003-" + "x" * 94 + ",seed="  # cut off
  for folder in ("adam-20261121-120000", "003-seed=1", long, "", "mine"):
    assert trial_id(one, folder) == setting_id(one) == trial_id(other, folder)


def test_hparams_of():
  tree = {"a": {"b": 1, "c": None, "d": (1, 2)}, "e": True, "f": 0.5, "g": "x", "h": None}
  hparams = hparams_of(tree)
  assert hparams == {
    "a.b": 1,
    "a.d.length": 2,
    "a.d.0": 1,
    "a.d.1": 2,
    "e": True,
    "f": 0.5,
    "g": "x",
  }
  assert [type(value) for value in hparams.values()] == [int, int, int, int, bool, float, str]


def test_setting_id_stays_what_it_is():
  """Sweeps that were begun by an earlier version go on by it."""
  tree = {"seed": 3, "a": {"b": 1, "c": (2, 3)}, "d": 0.5}
  assert setting_id(tree) == setting_id({"seed": 4, "a.b": 1, "a.c": (2, 3), "d": 0.5})
  assert setting_id(tree) == "004b69dcf3b31618"


FRESH = """
import sys
import mnist_mlp.run.hparams
loaded = [name for name in sys.modules if name.startswith(("tensorboard", "google.protobuf"))]
assert not loaded, loaded
"""


def test_the_name_of_a_setting_needs_no_protocol_buffers():
  done = processes.python(FRESH)
  assert done.returncode == 0, done.stderr
