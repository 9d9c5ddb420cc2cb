"""What --help says of the config."""

import re

from absl import flags

from mnist_mlp import config
from mnist_mlp.run import cli, field_help
from mnist_mlp.run.config_files import recipes


def test_every_field_has_its_default_its_meaning_and_what_it_may_be():
  told = re.split(r"^  --config\.", field_help.text(), flags=re.MULTILINE)
  by_name = {entry.partition("=")[0]: " ".join(entry.split()) for entry in told[1:]}
  assert list(by_name) == list(config.FIELDS)
  for name, field in config.FIELDS.items():
    assert field.meaning in by_name[name]
    for allowed in [field.allowed] if isinstance(field.allowed, str) else field.allowed or ():
      assert allowed in by_name[name]
    assert ("or MODULE:NAME, code of your own" in by_name[name]) == (name in config.OWN_CODE)


def test_the_defaults_can_be_given_as_they_are_shown(tmp_path):
  """A user copies a line and changes it."""
  path = tmp_path / "c.py"
  path.write_text(
    "from mnist_mlp import config\n\n\ndef get_config():\n  return config.default()\n"
  )
  shown = re.findall(r"^  (--config\..*)", field_help.text(), flags=re.MULTILINE)
  assert len(shown) == len(config.FIELDS)
  values = flags.FlagValues()
  arguments = [f"--config={path}", *shown]
  cli.define_config(values, arguments)
  values(["program", *arguments])
  assert config.differences(config.default(), values.config) == ""


def test_recipes_are_named_and_lines_are_short():
  text = field_help.text()
  assert set(recipes()) <= set(re.findall(r"\w+", text))
  assert max(map(len, text.splitlines())) <= 100
