import json
import re

import pytest

from mnist_mlp import config
from mnist_mlp.errors import UsageError
from mnist_mlp.run.config_json import from_json


def test_json_reads_back_equal():
  c = config.default()
  c.seed = 2**32 - 1
  c.model.features = (7, 5, 3)
  c.optimizer.learning_rate = 0.1 + 0.2
  c.data.data_dir = 'ä "quoted" folder'
  c.ema.evaluate = False
  back = from_json(config.to_json(c))
  assert config.flatten(back) == config.flatten(c)
  assert {k: type(v) for k, v in config.flatten(back).items()} == {
    k: type(v) for k, v in config.flatten(c).items()
  }
  assert config.differences(c, back) == ""
  assert config.to_json(back) == config.to_json(c)
  assert back.is_locked
  c.model.features = ()
  assert from_json(config.to_json(c)).model.features == ()


@pytest.mark.parametrize(
  ("text", "part"),
  [
    ("{", "not valid JSON"),
    ("", "not valid JSON"),
    ("[" * 100_000, "not valid JSON"),
    ("[1]", "not a JSON object"),
    ("3", "not a JSON object"),
    ('"x"', "not a JSON object"),
    ("{}", "lacks the field config.seed"),
    ('{"seed": 1}', "lacks the field config.batch_size"),
    ('{"model": 3}', "has no field config.model,"),
  ],
)
def test_json_that_is_no_config(text, part):
  with pytest.raises(UsageError, match=re.escape(part)):
    from_json(text)


def tree():
  return json.loads(config.to_json(config.default()))


def test_fields_that_are_gone_are_named():
  old = tree()
  old["momentum"] = 0.5
  old["model"]["depth"] = 3
  with pytest.raises(UsageError, match=r"no field config\.model\.depth, config\.momentum"):
    from_json(json.dumps(old))


def test_a_field_that_came_later_means_what_the_program_did_before(monkeypatch):
  """Even if its default is something else."""
  field = config.Field(0.5, "[0, 1]", "made up", before=0.0)
  monkeypatch.setitem(config.FIELDS, "model.sparsity", field)
  old = tree()
  del old["model"]["sparsity"]
  assert from_json(json.dumps(old)).model.sparsity == 0.0
  old["model"]["sparsity"] = 0.25
  assert from_json(json.dumps(old)).model.sparsity == 0.25


def test_a_later_layout_is_named():
  assert config.differences(from_json(json.dumps({**tree(), "layout": 1})), config.default()) == ""
  with pytest.raises(UsageError, match="layout 2, of a later version"):
    from_json(json.dumps({**tree(), "layout": 2}))
