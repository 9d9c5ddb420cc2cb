"""What control groups of both versions leave to a process, by the files that the kernel shows."""

from pathlib import Path

import pytest

from mnist_mlp import cgroup
from mnist_mlp.data.memory import check_fits
from mnist_mlp.errors import RunError
from mnist_mlp.run import environment, memory

GB = 10**9


def tree(root, **files):
  """Writes files under proc/ and sys/; '__' in a name stands for '/'."""
  for name, text in files.items():
    path = root / name.replace("__", "/").replace("_DOT_", ".")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def groups(root, text, **files):
  """Writes /proc/self/cgroup, and the files of groups by their paths under /sys/fs/cgroup."""
  tree(root, proc__self__cgroup=text)
  for name, content in files.items():
    tree(root, **{f"sys__fs__cgroup__{name}": content})


def test_version_2_in_a_container(tmp_path):
  groups(
    tmp_path,
    "0::/\n",
    memory_DOT_max=f"{8 * GB}\n",
    memory_DOT_current=f"{3 * GB}\n",
    memory_DOT_stat=f"anon 5\ninactive_file {GB}\nactive_file 7\n",
    cpu_DOT_max="150000 100000\n",
  )
  assert cgroup.memory_left(tmp_path) == 6 * GB
  assert cgroup.cpu_quota(tmp_path) == 1.5


def test_version_2_without_limits(tmp_path):
  groups(
    tmp_path,
    "0::/user.slice\n",
    user_DOT_slice__memory_DOT_max="max\n",
    user_DOT_slice__memory_DOT_current="5\n",
    user_DOT_slice__cpu_DOT_max="max 100000\n",
  )
  assert cgroup.memory_left(tmp_path) is None
  assert cgroup.cpu_quota(tmp_path) is None


def test_the_narrowest_of_nested_groups_counts(tmp_path):
  """As under SLURM, which limits the job, not the step within it."""
  groups(
    tmp_path,
    "0::/slurm/job_7/step_0\n",
    slurm__memory_DOT_max=f"{100 * GB}",
    slurm__memory_DOT_current=f"{90 * GB}",
    slurm__job_7__memory_DOT_max=f"{16 * GB}",
    slurm__job_7__memory_DOT_current=f"{4 * GB}",
    slurm__job_7__step_0__memory_DOT_max="max",
    slurm__job_7__step_0__memory_DOT_current=f"{4 * GB}",
    slurm__cpu_DOT_max="6400000 100000",
    slurm__job_7__cpu_DOT_max="400000 100000",
    slurm__job_7__step_0__cpu_DOT_max="max 100000",
  )
  assert cgroup.memory_left(tmp_path) == 10 * GB
  assert cgroup.cpu_quota(tmp_path) == 4.0


@pytest.mark.parametrize("path", ["", "/docker/0123"], ids=["namespace", "path outside"])
@pytest.mark.parametrize("mount", ["cpu", "cpu,cpuacct"])
def test_version_1(tmp_path, path, mount):
  """Docker mounts the container's own group as the root; its path may be that of the host."""
  groups(
    tmp_path,
    f"9:{mount}:{path or '/'}\n4:memory:{path or '/'}\n2:pids:/\n",
    memory__memory_DOT_limit_in_bytes=f"{2 * GB}",
    memory__memory_DOT_usage_in_bytes=f"{GB}",
    memory__memory_DOT_stat=f"inactive_file 3\ntotal_inactive_file {GB // 2}",
    **{f"{mount}__cpu_DOT_cfs_quota_us": "50000", f"{mount}__cpu_DOT_cfs_period_us": "100000"},
  )
  assert cgroup.memory_left(tmp_path) == 1.5 * GB
  assert cgroup.cpu_quota(tmp_path) == 0.5


def test_version_1_without_limits(tmp_path):
  groups(tmp_path, "1:cpu:/\n", cpu__cpu_DOT_cfs_quota_us="-1", cpu__cpu_DOT_cfs_period_us="100000")
  assert cgroup.cpu_quota(tmp_path) is None
  assert cgroup.memory_left(tmp_path) is None


def test_a_full_group_has_nothing_left(tmp_path):
  groups(tmp_path, "0::/\n", memory_DOT_max="5", memory_DOT_current="7")
  assert cgroup.memory_left(tmp_path) == 0


@pytest.mark.parametrize("text", [None, "", "0::/gone\n"])
def test_systems_without_groups_have_no_limits(tmp_path, text):
  if text is not None:
    groups(tmp_path, text)
  assert cgroup.memory_left(tmp_path) is None
  assert cgroup.cpu_quota(tmp_path) is None


def test_processes_and_populations_are_bounded(monkeypatch):
  monkeypatch.setattr(environment, "_visible_cores", lambda: 8)
  for quota, cores in ((None, 8), (0.5, 1), (2.5, 3), (64.0, 8)):
    monkeypatch.setattr(cgroup, "cpu_quota", lambda quota=quota: quota)
    assert environment.cpu_cores() == cores
    assert environment.describe()["cpu_cores"] == 8, "the bits depend on what JAX sees"
  whole = memory.free_bytes()
  monkeypatch.setattr(cgroup, "memory_left", lambda root: 12345)
  assert memory.free_bytes() == 12345 < whole


def test_data_are_bounded_by_the_system_and_by_groups(tmp_path, monkeypatch):
  assert cgroup.available(tmp_path) is None
  (tmp_path / "proc").mkdir()
  (tmp_path / "proc" / "meminfo").write_text("MemTotal: 99 kB\nMemAvailable: 5000 kB\n")
  assert cgroup.available(tmp_path) == 5_120_000
  groups(tmp_path, "0::/\n", memory_DOT_max="3000000", memory_DOT_current="1000000")
  assert cgroup.available(tmp_path) == 2_000_000
  monkeypatch.setattr(cgroup, "_of_system", lambda root: 2_000_000)
  check_fits("a file", 2_000_000)
  with pytest.raises(RunError, match=r"a file would take 2.0 MB of memory, but only 2.0 MB"):
    check_fits("a file", 2_000_001)


def test_this_machine_says_something_sensible():
  if not Path("/proc/meminfo").exists():
    pytest.skip("not Linux")
  total = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
  assert 0 < memory.free_bytes() <= total
  assert environment.cpu_cores() >= 1
