"""Runs that several processes train together: real processes, JAX's own runtime between them."""

import os
import signal
import sys

import numpy as np
import processes
import pytest
from lost_runs import is_one_sentence, same
from together import HERE, Together, free_port
from training_runs import LONG as A_LONG_RUN
from training_runs import read_result, wait_for_rows

from mnist_mlp.run import trained

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("optimized")]

# An epoch of real digits, with all that draws random numbers.
EPOCH = (
  "--config=configs/adam.py",
  "--config.data.name=digits",
  "--config.batch_size=40",
  "--config.data.validation_examples=100",
  "--config.model.features=(64,32)",
  "--config.model.dropout=0.1",
  "--config.augment.rotation=5.0",
  "--config.ema.decay=0.9",
  "--config.num_epochs=1",
)
TOLERANCE = 1e-5
LONG = (*A_LONG_RUN, "--config.num_epochs=20")


def weights_of(workdir):
  leaves = trained.read(workdir).state.params
  return {
    f"{layer}/{name}": np.asarray(array)
    for layer, arrays in leaves.items()
    for name, array in arrays.items()
  }


def test_any_number_of_processes_trains_the_same_net(digits_dir, tmp_path):
  """Two of them in an odd folder, with the examples on the host, and with a trace."""
  found = {}
  for size, devices in ((1, 4), (2, 2), (4, 1)):
    workdir, name = tmp_path / f"[{size}]* by {devices}", f"o{size}"
    words = (*EPOCH, "--config.data.placement=host", "--profile") if size == 2 else EPOCH
    variables = {"TFDS_DATA_DIR": str(digits_dir), "JAX_NUM_CPU_DEVICES": str(devices)}
    machines = [HERE] * size
    team = Together(words, workdir, tmp_path / name, machines=machines, variables=variables)
    assert team.codes() == [0] * size, team.said()
    said = team.said()
    assert "on 4 x cpu" in said[0] and not any(said[1:]), said
    assert len(list((workdir / "plugins").glob("profile/*/*.xplane.pb"))) == (size == 2)
    assert len(list(workdir.glob("events.out.tfevents*"))) == 2  # With how the session ended.
    assert not list(workdir.glob(".*.tmp")) and not (workdir / "meeting.txt").exists()
    found[size] = weights_of(workdir), read_result(workdir)["test"]
  weights, test = found.pop(1)
  for others, other_test in found.values():
    for name, array in weights.items():
      np.testing.assert_allclose(others[name], array, atol=TOLERANCE, err_msg=name)
    assert other_test == pytest.approx(test, abs=TOLERANCE)


@pytest.fixture(scope="module")
def undisturbed(shared_dir, digits_dir):
  """The workdir, not to be written to, of LONG, trained by two processes."""
  workdir = shared_dir / "by_two" / "run"
  if not (workdir / "result.json").exists():
    workdir.parent.mkdir(exist_ok=True)
    variables = {"TFDS_DATA_DIR": str(digits_dir)}
    team = Together(LONG, workdir, workdir.parent / "output", variables=variables)
    assert team.codes() == [0, 0], team.said()
  return workdir


@pytest.mark.parametrize("stopped", [0, 1])
def test_a_signal_to_one_process_stops_all(stopped, undisturbed, digits_dir, tmp_path):
  workdir, variables = tmp_path / "run", {"TFDS_DATA_DIR": str(digits_dir)}
  team = Together(LONG, workdir, tmp_path / "o1", variables=variables)
  wait_for_rows(team.processes[0], workdir, 2)
  team.processes[stopped].send_signal(signal.SIGTERM)
  assert team.codes() == [128 + signal.SIGTERM] * 2, team.said()
  for said in team.said():
    assert "interrupted by SIGTERM after step" in said and "resume with: " in said
    assert "Traceback" not in said and "Fatal" not in said, said
  assert not (workdir / "result.json").exists()
  again = Together(LONG, workdir, tmp_path / "o2", variables=variables)
  assert again.codes() == [0, 0], again.said()
  assert "resuming at step" in again.said()[0]
  assert same(workdir, undisturbed)


def test_a_run_goes_on_with_another_number_of_processes(digits_dir, tmp_path):
  workdir, variables = tmp_path / "run", {"TFDS_DATA_DIR": str(digits_dir)}
  team = Together(LONG, workdir, tmp_path / "o1", variables=variables)
  wait_for_rows(team.processes[0], workdir, 2)
  team.processes[1].send_signal(signal.SIGTERM)
  assert team.codes() == [143, 143], team.said()
  done = processes.run(*LONG, f"--workdir={workdir}", **variables)
  assert done.returncode == 0, done.stderr
  assert "the last bits of the results may change" in done.stdout
  assert "devices: 2 x cpu -> 1 x cpu" in done.stdout and "processes: 2 -> None" in done.stdout


def test_a_loss_that_is_not_finite_ends_all(digits_dir, tmp_path):
  words = (*EPOCH, "--config.optimizer.name=sgd", "--config.optimizer.learning_rate=1e30")
  variables = {"TFDS_DATA_DIR": str(digits_dir)}
  team = Together(words, tmp_path / "run", tmp_path / "o", variables=variables)
  assert team.codes() == [1, 1], team.said()
  assert all("the loss became NaN or infinite" in said for said in team.said())
  assert all(is_one_sentence(said) for said in team.said()), team.said()


@pytest.mark.parametrize(
  "first, second, text",
  [
    ((), ("--config.seed=7",), "trains another config than process 0 (config.seed: 0 -> 7)"),
    (("--config.batch_size=41",) * 1, ("--config.batch_size=41",), "the 2 devices cannot share"),
  ],
)
def test_what_does_not_fit_is_refused(first, second, text, digits_dir, tmp_path):
  variables, address = {"TFDS_DATA_DIR": str(digits_dir)}, f"localhost:{free_port()}"
  common = (f"--workdir={tmp_path / 'run'}", f"--coordinator={address}", "--num_processes=2")
  words = tuple(word for word in EPOCH if not word.startswith("--config.batch_size"))
  started = [
    processes.start(
      *(*words, *extra, *common, f"--process_id={i}"),
      output=tmp_path / f"output-{i}",
      variables=variables,
    )
    for i, extra in enumerate((first, second))
  ]
  codes = [one.wait(100) for one in started]
  for i, code in enumerate(codes):
    said = (tmp_path / f"output-{i}").read_text()
    assert code == 2 and text in said and is_one_sentence(said), said
  assert not (tmp_path / "run" / "config.json").exists()


def test_private_workdirs_are_refused(digits_dir, tmp_path):
  variables, address = {"TFDS_DATA_DIR": str(digits_dir)}, f"localhost:{free_port()}"
  started = [
    processes.start(
      *(*EPOCH, f"--workdir={tmp_path / f'run{i}'}", f"--coordinator={address}"),
      *("--num_processes=2", f"--process_id={i}"),
      output=tmp_path / f"output-{i}",
      variables=variables,
    )
    for i in range(2)
  ]
  assert [one.wait(100) for one in started] == [1, 1]
  for i in range(2):
    said = (tmp_path / f"output-{i}").read_text()
    assert "is not that of process 0; give all processes one folder" in said, said
    assert is_one_sentence(said)
  assert not list(tmp_path.glob("run*"))


def test_an_error_of_one_process_ends_all(digits_dir, tmp_path):
  """Here the one process finds no data."""
  address = f"localhost:{free_port()}"
  started = [
    processes.start(
      *(*EPOCH, f"--workdir={tmp_path / 'run'}", f"--coordinator={address}"),
      *("--num_processes=2", f"--process_id={i}", f"--config.data.data_dir={folder}"),
      output=tmp_path / f"output-{i}",
    )
    for i, folder in enumerate((digits_dir, tmp_path / "no" / "folder"))
  ]
  assert [one.wait(100) for one in started] == [1, 2]
  said = (tmp_path / "output-0").read_text()
  assert "process 1 (pid " in said and "is not a folder" in said and is_one_sentence(said), said


@pytest.mark.parametrize("dying", [0, 1])
def test_a_death_at_the_very_end_is_noticed(dying, digits_dir, tmp_path):
  """JAX's runtime would wait a minute and a half for it, and abort."""
  workdir, address = tmp_path / "run", f"localhost:{free_port()}"
  variables = {"TFDS_DATA_DIR": str(digits_dir), "PYTHONPATH": os.pathsep.join(sys.path)}
  outputs = [tmp_path / f"output-{i}" for i in range(2)]
  started = [
    processes.start(
      *(*EPOCH, f"--workdir={workdir}", f"--coordinator={address}"),
      *("--num_processes=2", f"--process_id={i}"),
      output=output,
      module="dies_at_the_end" if i == dying else "mnist_mlp.main",
      variables=variables,
    )
    for i, output in enumerate(outputs)
  ]
  assert started[dying].wait(100) == -signal.SIGKILL
  assert started[1 - dying].wait(20) == 1
  said = outputs[1 - dying].read_text()
  assert f"process {dying} (pid " in said and "is gone" in said and is_one_sentence(said), said
  assert read_result(workdir)["steps"] == 35


def test_the_variables_of_slurm_are_enough(digits_dir, tmp_path):
  """As `srun` sets them for two tasks; JAX makes the port out of the number of the job."""
  common = {
    "TFDS_DATA_DIR": str(digits_dir),
    "SLURM_JOB_ID": str(os.getpid()),
    "SLURM_NTASKS": "2",
    "SLURM_STEP_NODELIST": "localhost",
  }
  outputs = [tmp_path / f"output-{i}" for i in range(2)]
  started = [
    processes.start(
      *(*EPOCH, f"--workdir={tmp_path / 'run'}", "--distributed"),
      output=output,
      variables={**common, "SLURM_PROCID": str(i), "SLURM_LOCALID": str(i)},
    )
    for i, output in enumerate(outputs)
  ]
  assert [one.wait(200) for one in started] == [0, 0], [path.read_text() for path in outputs]
  assert "on 2 x cpu" in outputs[0].read_text()
