"""The fields of the config as --help shows them, from the schema."""

import textwrap
from collections.abc import Iterator

from mnist_mlp.config import FIELDS, OWN_CODE, Field
from mnist_mlp.errors import listing
from mnist_mlp.run.config_files import recipes

_WIDTH = 100
_INDENT = " " * 6


def text() -> str:
  """Returns the recipes, and each field with its default, what it may be, and its meaning."""
  return "\n".join([*_recipes(), "", *_fields()])


def _recipes() -> Iterator[str]:
  names = listing(recipes())
  yield "recipes that come with the program; a file in the current folder goes before them:"
  yield from textwrap.wrap(names, _WIDTH, initial_indent="  ", subsequent_indent="  ")


def _fields() -> Iterator[str]:
  yield "fields of the config, their defaults, and what they may be:"
  last = ""
  for name, field in FIELDS.items():
    section = name.rpartition(".")[0]
    if section != last:
      yield ""
    last = section
    yield f"  --config.{name}={_as_flag(field)}"
    own = "; or MODULE:NAME, code of your own" if name in OWN_CODE else ""
    about = f"{field.meaning}; {_allowed(field)}{own}"
    yield from textwrap.wrap(about, _WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT)


def _as_flag(field: Field) -> str:
  """Returns the default as a command line takes it."""
  if isinstance(field.default, tuple):
    return ",".join(map(str, field.default)) or "()"
  return str(field.default).lower() if isinstance(field.default, bool) else f"{field.default}"


def _allowed(field: Field) -> str:
  kind = type(field.default).__name__
  if isinstance(field.allowed, list):
    return listing(choice or "''" for choice in field.allowed)
  if isinstance(field.default, tuple):
    return f"ints in {field.allowed}"
  return f"{kind} in {field.allowed}" if field.allowed else kind
