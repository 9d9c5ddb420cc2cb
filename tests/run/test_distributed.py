"""What is said of flags with which processes cannot come together."""

import re

import pytest

from mnist_mlp import config, main
from mnist_mlp.errors import RunError, UsageError
from mnist_mlp.run import cli, distributed
from mnist_mlp.run.link import Member
from mnist_mlp.run.team import ALONE, Team, current


@pytest.mark.parametrize(
  "address, parsed",
  [
    ("node-a:7777", ("node-a", 7777)),
    ("10.0.0.1:1", ("10.0.0.1", 1)),
    ("[fe80::1]:65535", ("fe80::1", 65535)),
  ],
)
def test_an_address_is_host_and_port(address, parsed):
  assert distributed.parse_address(address) == parsed


@pytest.mark.parametrize(
  "address", ["", "node", "node:", ":7", "node:0", "node:65536", "a b:7", "::1:7"]
)
def test_anything_else_is_refused(address):
  with pytest.raises(UsageError, match="must be HOST:PORT, such as node-a:7777"):
    distributed.parse_address(address)


@pytest.mark.parametrize(
  "size, process_id, text",
  [(0, 0, "--num_processes is 0"), (2, 2, "must be 0 to 1"), (2, -1, "--process_id is -1")],
)
def test_a_place_must_be_one(size, process_id, text):
  with pytest.raises(UsageError, match=text):
    distributed.Place("a:7", size, process_id, 60.0).checked()


@pytest.mark.parametrize(
  "arguments, said",
  [
    (["--coordinator=a:7"], "--num_processes is missing, which --coordinator needs"),
    (["--coordinator=a:7", "--num_processes=2"], "--process_id is missing"),
    (["--process_id=0"], "--coordinator is missing, which --process_id needs"),
    (["--coordinator=a:7", "--distributed"], "--coordinator and --distributed exclude each other"),
    (["--coordinator=a", "--num_processes=2", "--process_id=0"], "must be HOST:PORT"),
    (["--coordinator=a:7", "--num_processes=2", "--process_id=2"], "must be 0 to 1"),
    (["--distributed", "--wait_seconds=0"], "--wait_seconds is 0, but must be above 0"),
    (["--distributed", "--workdir="], "--workdir is missing"),
  ],
)
def test_flags_that_disagree_are_one_sentence(arguments, said):
  words = ["main.py", "--config=configs/adam.py", "--workdir=w", *arguments]
  line = cli.parse(main.main, main.define_flags, words, positional=False)
  with pytest.raises(UsageError, match=re.escape(said)):
    main.main(line)


def test_without_a_cluster_nothing_is_detected(monkeypatch):
  for name in ("SLURM_JOB_ID", "OMPI_MCA_orte_hnp_uri", "KUBERNETES_SERVICE_HOST"):
    monkeypatch.delenv(name, raising=False)
  with pytest.raises(UsageError, match="--distributed finds no job step of SLURM, Open MPI or"):
    distributed.detected(1.0)


def test_open_mpi_is_detected(monkeypatch):
  monkeypatch.setenv("OMPI_MCA_orte_hnp_uri", "1531576320.0;tcp://10.96.0.1,10.148.0.1:34911")
  monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "4")
  monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "3")
  monkeypatch.setenv("OMPI_COMM_WORLD_LOCAL_RANK", "1")
  place = distributed.detected(1.0)
  assert (place.num_processes, place.process_id) == (4, 3)
  assert distributed.parse_address(place.coordinator)[0] == "10.96.0.1"


def test_a_lone_process_is_a_team():
  with distributed.join(None, None) as team:
    assert team is ALONE is current()
  with distributed.join(distributed.Place("a:7", 1, 0, 1.0), None) as team:
    assert team is ALONE and team.leads and team.gather(3) == [3]


def test_what_differs_between_processes_is_said():
  class Two(Team):
    def gather(self, value):
      return [value, "b"]

  with pytest.raises(RunError, match="the colour of process 1 is b, but a of process 0; paint it"):
    Two().check_same("a", "colour", "paint it")
  Two().check_same("b", "colour", "paint it")


@pytest.mark.parametrize(
  "changed, said",
  [
    ({"jax": "0.0.1"}, r"process 1 \(pid 7 on b\) has other versions .* \(jax: \S+ -> 0\.0\.1\)"),
    ({"python": "3.1"}, r"python: \S+ -> 3\.1"),
  ],
)
def test_other_versions_are_refused_by_name(changed, said):
  class Two(Team):
    members = (Member(0, "a", 7), Member(1, "b", 7))

    def gather(self, value):
      return [value, {**value, "versions": {**value["versions"], **changed}}]

  with pytest.raises(UsageError, match=said):
    distributed._check_same(Two(), config.default())
