"""What messages about a config's fields say to those who give flags."""

import pytest

from mnist_mlp.inference.datasets import _in_flags

ADVICE = "set config.data.data_dir to a folder; or set config.data.manual_dir to another"


@pytest.mark.parametrize(
  ("message", "places", "expected"),
  [
    (ADVICE, (), "set --data_dir to a folder; or set --manual_dir to another"),
    ("config.data.files is 'x', no folder", ("files",), "--files is 'x', no folder"),
    ("config.data.files is 'x', no folder", ("data_dir",), "config.data.files is 'x', no folder"),
  ],
)
def test_advice_and_what_was_given_are_said_in_flags(message, places, expected):
  assert _in_flags(message, dict.fromkeys(places, "x")) == expected
