"""Every call to the system by which a run writes, opens, names or flushes a file, made to fail.

The run says so in one sentence, or goes on without harm. Started again, it comes to the same end.
"""

import failing
import pytest
from chances import rounds
from lost_runs import COMMAND, is_one_sentence, same

ROUNDS, SAMPLED = 40, 10  # in how many parts all calls are tried; calls that the slow suite tries


@pytest.fixture(scope="module")
def server(tmp_path_factory, digits_dir):
  with failing.server(tmp_path_factory.mktemp("server")) as started:
    yield started


@pytest.fixture(scope="module")
def undisturbed(server, digits_dir, tmp_path_factory):
  """The workdir of a run without errors; beside it the calls that it made: written, and all."""
  folder = tmp_path_factory.mktemp("undisturbed")
  for name, error in (("written", "ENOSPC"), ("run", "EIO")):
    variables = failing.variables(folder / name, folder / f"{name}.log", error=error)
    assert run(server, folder / name, digits_dir, **variables)[0] == 0
  return folder / "run"


def run(server, workdir, digits_dir, **variables):
  words = (*COMMAND, f"--workdir={workdir}", f"--config.data.data_dir={digits_dir}")
  return server.run(*words, output=workdir.parent / "output", **variables)


def check(server, undisturbed, digits_dir, workdir, at, error):
  """Lets one call fail; returns whether the run got so far as to make it."""
  log = workdir.parent / f"{workdir.name}.log"
  variables = failing.variables(workdir, log, at, error)
  code, said = run(server, workdir, digits_dir, **variables)
  calls = log.read_text().splitlines()
  if len(calls) < at:
    return False
  what = f"{error} of {calls[at - 1]}:\n{said}"
  if code:
    assert code == 1 and is_one_sentence(said), what
    code, again = run(server, workdir, digits_dir)
    assert code == 0, f"{what}\nstarted again:\n{again}"
  assert same(workdir, undisturbed), what
  return True


def calls_of(undisturbed):
  """Returns {error: how many calls of an undisturbed run it can befall}."""
  counts = {
    name: len((undisturbed.parent / f"{name}.log").read_text().splitlines())
    for name in ("written", "run")
  }
  return {error: counts["written" if on else "run"] for error, on in failing.ERRORS.items()}


@pytest.mark.slow
@pytest.mark.parametrize("error", failing.ERRORS)
def test_a_call_that_fails_loses_nothing(
  server, undisturbed, digits_dir, tmp_path, chance, count, error
):
  at = chance.sample(range(1, calls_of(undisturbed)[error]), SAMPLED // len(failing.ERRORS))
  found = [check(server, undisturbed, digits_dir, tmp_path / f"run{k}", k, error) for k in at]
  assert any(found)
  count("failed calls to the system", sum(found))


@rounds(slow=0, all_of_them=ROUNDS)
def test_whatever_call_fails_nothing_is_lost(
  server, undisturbed, digits_dir, tmp_path, count, number
):
  """Each call fails once; the errors take turns."""
  errors = list(failing.ERRORS)
  for at in range(1 + number, max(calls_of(undisturbed).values()) + 1, ROUNDS):
    error = errors[at % len(errors)]
    found = check(server, undisturbed, digits_dir, tmp_path / f"run{at}", at, error)
    count("failed calls to the system", int(found))
