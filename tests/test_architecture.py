"""The plan of the house: which room may import which, and how large things may become.

Imports are read from the source, lazy ones included: they are the same dependency, only later.
"""

import ast

import processes
import pytest

PACKAGE = processes.ROOT / "mnist_mlp"
COMMANDS = {"main", "sweep", "predict", "evaluate", "export", "demo"}  # a fork may delete some

# What the modules of a room may import, besides their own room: rooms, modules of the top level, or
# single modules of a room.
ALLOWED = {
  "errors": set(),
  "paths": {"errors"},
  "waiting": set(),
  "startup": set(),
  "__main__": set(),
  "cgroup": set(),
  "synonyms": set(),
  "choices": set(),
  "intervals": set(),
  "config": {"choices", "intervals", "synonyms", "paths", "errors"},
  "core": {"choices", "config", "errors"},
  "data": {"cgroup", "core.spec", "config", "paths", "waiting", "errors"},
  "run": {"cgroup", "core", "data", "config", "paths", "waiting", "startup", "errors"},
  "train": {"run", "core", "data", "config", "paths", "errors"},
  "sweeps": {"train", "run", "core", "data", "config", "paths", "errors"},
  "inference": {"train", "run", "core", "data", "config", "paths", "errors"},
}
# Besides commands: what a worker process of a sweep starts.
MAY_IMPORT_CLI = {"sweeps.engine_processes"}

READING_PATH = [
  "configs/adam.py",
  "mnist_mlp/train.py",
  *(
    f"mnist_mlp/core/{name}.py"
    for name in ("state", "steps", "model", "losses", "optimizer", "metrics")
  ),
  "mnist_mlp/run/loop.py",
]
# Optax passes injected hyperparameters by the names of a function's parameters.
MANY_PARAMETERS = {"mnist_mlp/core/optimizer.py: _transformation"}


def modules():
  """Returns {'core.steps': its path, ...}; a room's own __init__ is called like the room."""
  found = {}
  for path in PACKAGE.rglob("*.py"):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    if name:
      found[name] = path
  return found


MODULES = modules()


def room(name):
  return name.partition(".")[0]


def imported(path):
  """Returns the modules of the package that a module imports, anywhere in it."""
  names = set()
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      names.update(alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and not node.level:
      names.add(node.module)
      names.update(f"{node.module}.{alias.name}" for alias in node.names)
  own = {name.removeprefix("mnist_mlp.") for name in names if name.startswith("mnist_mlp.")}
  # `from mnist_mlp.core import steps` depends on steps; the bare room counts if it is all there is.
  found = own & set(MODULES)
  return {name for name in found if not any(other.startswith(f"{name}.") for other in found)}


GRAPH = {name: imported(path) for name, path in MODULES.items()}


def test_the_graph_is_that_of_the_code():
  """Were nothing found, nothing could be wrong."""
  assert {"core.steps", "run.loop", "run.run"} <= GRAPH["train"]
  assert "core.spec" in GRAPH["data.dataset"]
  assert "run.reporting" in GRAPH["train"], "lazy imports are not seen"
  assert sum(map(len, GRAPH.values())) > 100


@pytest.mark.parametrize("name", sorted(set(MODULES) - COMMANDS))
def test_imports_go_in_the_directions_of_the_plan(name):
  own = room(name)
  assert own in ALLOWED, f"{name} is in no room that the plan knows"
  for target in GRAPH[name]:
    ok = room(target) == own or target in ALLOWED[own] or room(target) in ALLOWED[own]
    assert ok, f"{name} imports {target}"


def test_nobody_imports_a_command():
  for name, targets in GRAPH.items():
    assert not targets & COMMANDS, name


def test_only_commands_and_workers_import_the_command_line():
  importers = {name for name, targets in GRAPH.items() if "run.cli" in targets}
  assert importers == (COMMANDS | MAY_IMPORT_CLI) & set(MODULES)


def test_no_circle_of_imports():
  left = dict(GRAPH)
  while left:
    free = {name for name, targets in left.items() if not targets & set(left)}
    assert free, f"these import each other in a circle, or need one that does: {sorted(left)}"
    left = {name: targets for name, targets in left.items() if name not in free}


def sources():
  """Returns every Python file of the project, by its path in the checkout."""
  folders = ("mnist_mlp", "configs", "scripts", "tests")
  paths = [path for folder in folders for path in (processes.ROOT / folder).rglob("*.py")]
  return {str(path.relative_to(processes.ROOT)): path for path in sorted(paths)}


SOURCES = sources()


def functions():
  """Yields (path, function) for every function, methods and inner ones included."""
  for name, path in SOURCES.items():
    for node in ast.walk(ast.parse(path.read_text())):
      if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        yield name, node


def lines(path):
  return path.read_text().count("\n")


def test_no_module_is_too_long():
  assert {name: lines(path) for name, path in SOURCES.items() if lines(path) > 350} == {}


def test_no_function_is_too_long():
  too_long = {
    f"{name}: {function.name}": function.end_lineno - function.lineno + 1
    for name, function in functions()
    if function.end_lineno - function.lineno + 1 > 60
  }
  assert too_long == {}


def test_no_function_takes_too_much():
  """More than five arguments get a dataclass that names them."""
  found = set()
  for name, function in functions():
    given = function.args
    names = [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    count = len([each for each in names if each not in ("self", "cls")])
    if count > 5 and not name.startswith("tests/"):
      found.add(f"{name}: {function.name}")
  assert found == MANY_PARAMETERS


def test_what_is_read_back_is_json_and_arrays():
  """A pickle can run any code, and NumPy and others read them unless told not to."""
  never = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "yaml"}
  for name, path in SOURCES.items():
    if name.startswith("tests/"):
      continue
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
      if isinstance(node, ast.Import | ast.ImportFrom):
        modules = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
        assert not never & {module.partition(".")[0] for module in modules}, name
      if isinstance(node, ast.Call) and ast.unparse(node.func) in ("np.load", "numpy.load"):
        arguments = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        assert arguments.get("allow_pickle") == "False", f"{name}:{node.lineno}"


def has_no_encoding(call):
  """Returns whether a call opens, reads or writes text in the encoding of the user's locale."""
  name, positional = ast.unparse(call.func), [ast.unparse(argument) for argument in call.args]
  if any(keyword.arg == "encoding" for keyword in call.keywords):
    return False
  if name.endswith(".read_text"):
    return not positional
  if name.endswith(".write_text"):
    return len(positional) < 2
  modes = positional[1:2] if name == "open" else positional[:1]
  own = name not in ("open", "os.open") and name.endswith(".open")
  is_file = name == "open" or (own and "'" in "".join(modes))
  return is_file and not any("b" in mode for mode in modes)


def test_every_text_file_has_an_encoding():
  """With LANG=C it would be ASCII, and a report with the name of a class could not be written."""
  found = [
    f"{name}:{node.lineno}"
    for name, path in MODULES.items()
    for node in ast.walk(ast.parse(path.read_text("utf-8")))
    if isinstance(node, ast.Call) and has_no_encoding(node)
  ]
  assert found == []


def test_the_reading_path_is_short():
  assert sum(lines(processes.ROOT / name) for name in READING_PATH) < 1200


def test_the_loop_of_a_run_fits_a_screen():
  tree = ast.parse((PACKAGE / "train.py").read_text())
  (loop,) = [node for node in tree.body if getattr(node, "name", "") == "_train"]
  assert loop.end_lineno - loop.lineno < 60
  assert any(isinstance(node, ast.For) for node in ast.walk(loop))
