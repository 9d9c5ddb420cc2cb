import json
import math
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from checkpointing import TREE, best_step, fill, kept, tree_of

from mnist_mlp.core.metrics import TrainMetrics
from mnist_mlp.errors import RunError
from mnist_mlp.run import checkpoint
from mnist_mlp.run.checkpoint import Checkpoints
from mnist_mlp.run.digests import digest


def array_file(folder, step):
  """Returns the largest file of a checkpoint's arrays."""
  files = (path for path in (folder / str(step) / "state").rglob("*") if path.is_file())
  return max(files, key=lambda path: path.stat().st_size)


def test_round_trip_of_a_tree_keeps_every_bit(tmp_path):
  with Checkpoints(tmp_path / "c") as checkpoints:
    assert checkpoints.restore_latest(TREE) is None
    assert checkpoints.steps() == []
    assert checkpoints.best() is None
    checkpoints.save(5, TREE, {"config": {"seed": 0}}, 0.5)
    checkpoints.wait()
    assert small.differing(checkpoints.restore(5, TREE), TREE) == []
  with Checkpoints(tmp_path / "c") as checkpoints:  # As another process finds it.
    step, tree = checkpoints.restore_latest(TREE)
    assert step == 5
    assert small.differing(tree, TREE) == []
    assert checkpoints.about(5) == {"config": {"seed": 0}}
  about = json.loads((tmp_path / "c" / "5" / "about" / "metadata").read_text())
  assert about.items() >= {"config": {"seed": 0}, "digest": digest(TREE)}.items()


def test_round_trip_of_a_train_state_goes_on_with_the_same_bits(tmp_path):
  config = small.config_of(model__features=())
  initial = small.create(config)
  state, metrics = small.train(initial, 2, config)
  with Checkpoints(tmp_path / "c") as checkpoints:
    checkpoints.save(2, (state, metrics), {})
    checkpoints.wait()
    step, (restored, restored_metrics) = checkpoints.restore_latest((initial, TrainMetrics.empty()))
  assert step == 2
  assert small.differing((restored, restored_metrics), (state, metrics)) == []
  straight = small.train(state, 2, config, metrics=metrics)
  resumed = small.train(restored, 2, config, metrics=restored_metrics)
  assert small.differing(resumed, straight) == []


@pytest.mark.parametrize(
  ("saves", "steps_left", "best"),
  [
    ([(1, 0.9), (2, 0.5), (3, 0.6), (4, 0.7)], [1, 3, 4], 1),
    ([(1, 0.1), (2, 0.2), (3, 0.3)], [2, 3], 3),
    ([(1, 0.9), (2, 0.5), (3, math.nan), (4, math.nan)], [1, 3, 4], 1),
    ([(1, 0.9), (2, None), (3, None), (4, None)], [1, 3, 4], 1),
    ([(1, None), (2, None), (3, None)], [2, 3], None),
    ([(1, math.nan), (2, math.nan), (3, math.nan)], [2, 3], None),
    ([(1, 0.5), (2, 0.5), (3, 0.1), (4, 0.1)], [2, 3, 4], 2),
    ([(1, 0.0), (2, None), (3, None), (4, None)], [1, 3, 4], 1),
  ],
)
def test_the_last_two_and_the_best_are_kept(tmp_path, saves, steps_left, best):
  with Checkpoints(tmp_path / "c") as checkpoints:
    for step, accuracy in saves:
      checkpoints.save(step, {"a": np.ones(2)}, {}, accuracy)
    assert best_step(checkpoints) == best
  assert kept(tmp_path / "c") == steps_left
  with Checkpoints(tmp_path / "c") as checkpoints:
    assert best_step(checkpoints) == best
    assert checkpoints.steps() == steps_left


def test_a_saved_step_is_left_as_it_is(tmp_path):
  fill(tmp_path / "c", [(1, 0.5)])
  with Checkpoints(tmp_path / "c") as checkpoints:
    checkpoints.save(1, tree_of(99), {}, 0.6)
    assert checkpoints.restore(1, TREE)["step"] == 1


def test_what_happens_to_arrays_after_save_does_not_change_what_was_saved(tmp_path):
  fill_large = jax.jit(lambda: {"a": jnp.arange(2_000_000.0)})
  overwrite = jax.jit(lambda tree: {"a": tree["a"] * 0}, donate_argnums=0)
  expected = np.arange(2_000_000, dtype=np.float32)
  with Checkpoints(tmp_path / "c") as checkpoints:
    tree = fill_large()
    checkpoints.save(1, tree, {})
    jax.block_until_ready(overwrite(tree))
    assert tree["a"].is_deleted()
    tree = {"a": expected.copy()}
    checkpoints.save(2, tree, {})
    tree["a"][:] = 0
    checkpoints.wait()
    for step in (1, 2):
      np.testing.assert_array_equal(checkpoints.restore(step, tree)["a"], expected)


def flip(path):
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 1
  path.write_bytes(content)


def truncate(path):
  path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path):
  path.write_bytes(b"")


def change(path):
  """Changes a number in a file of JSON, which stays valid."""
  about = json.loads(path.read_text())
  about["rows"][0]["loss"] += 1
  path.write_text(json.dumps(about))


def garble(path):
  path.write_text('{"validation')


def remove_parts(folder):
  for path in sorted(folder.rglob("*"), reverse=True):
    path.rmdir() if path.is_dir() else path.unlink()


DAMAGES = {
  "a flipped byte": lambda folder: flip(array_file(folder, 3)),
  "truncated arrays": lambda folder: truncate(array_file(folder, 3)),
  "empty arrays": lambda folder: empty(array_file(folder, 3)),
  "an empty folder": lambda folder: remove_parts(folder / "3"),
  "no metrics": lambda folder: (folder / "3" / "metrics" / "metrics").unlink(),
  "empty metrics": lambda folder: empty(folder / "3" / "metrics" / "metrics"),
  "torn metrics": lambda folder: garble(folder / "3" / "metrics" / "metrics"),
  "no description": lambda folder: remove_parts(folder / "3" / "about"),
  "torn description": lambda folder: garble(folder / "3" / "about" / "metadata"),
  "another description": lambda folder: change(folder / "3" / "about" / "metadata"),
  "no digest": lambda folder: (folder / "3" / "about" / "metadata").write_text("{}"),
}


@pytest.fixture(scope="module")
def undamaged(tmp_path_factory):
  folder = tmp_path_factory.mktemp("undamaged") / "c"
  fill(folder, [(1, 0.5), (2, 0.4), (3, 0.3)])
  return folder


@pytest.fixture
def folder(undamaged, tmp_path):
  """A copy, to be damaged, of a folder with the checkpoints 1, 2 and 3."""
  return Path(shutil.copytree(undamaged, tmp_path / "c"))


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_it_used(folder, damage):
  DAMAGES[damage](folder)
  reports = []
  with Checkpoints(folder, report=reports.append) as checkpoints:
    step, tree = checkpoints.restore_latest(TREE)
    assert step == 2
    assert small.differing(tree, tree_of(2)) == []
    assert len(reports) == 1
    assert str(folder / "3") in reports[0]
    assert "damaged" in reports[0]
    assert "\n" not in reports[0]
    assert len(reports[0]) < 500
    assert kept(folder) == [1, 2]
    assert kept(folder.parent / "damaged") == [3]
    checkpoints.save(3, tree_of(3), {}, 0.3)  # The run comes to this step again.
    checkpoints.wait()
    assert small.differing(checkpoints.restore(3, TREE), tree_of(3)) == []


def test_checkpoints_damaged_one_after_another_do_not_collide(folder):
  for _ in range(2):
    flip(array_file(folder, 3))
    with Checkpoints(folder, report=lambda _: None) as checkpoints:
      assert checkpoints.restore_latest(TREE)[0] == 2
      checkpoints.save(3, tree_of(3), {}, 0.3)
  assert sorted(path.name for path in (folder.parent / "damaged").iterdir()) == ["3", "3_"]


def test_all_damaged_is_an_error(folder):
  for step in (1, 2, 3):
    flip(array_file(folder, step))
  for _ in range(2):  # The second start does not take an emptied folder for a new run.
    reports = []
    with (
      Checkpoints(folder, report=reports.append) as checkpoints,
      pytest.raises(RunError, match=f"no checkpoint in {folder} is whole.*another --workdir"),
    ):
      checkpoints.restore_latest(TREE)
    assert len(reports) == 3


def test_all_incomplete_is_an_error_and_nothing_is_moved(folder):
  steps = kept(folder)
  for step in steps:
    shutil.rmtree(folder / str(step) / "metrics")
  for _ in range(2):  # A second try must not start over either.
    with pytest.raises(RunError, match=r"no checkpoint in .* is whole; to start over"):
      Checkpoints(folder, report=lambda line: None)
  assert kept(folder) == steps


def test_damaged_best_is_no_longer_the_best(folder):
  remove_parts(folder / "1")
  with Checkpoints(folder, report=lambda _: None) as checkpoints:
    assert best_step(checkpoints) == 2


@pytest.mark.parametrize(
  "template",
  [
    {**TREE, "kernel": np.zeros((3, 3), np.float32)},
    {**TREE, "kernel": np.zeros((2, 3), np.int32)},
    {**TREE, "other": np.zeros(2)},
    {"kernel": TREE["kernel"]},
  ],
  ids=["shape", "dtype", "more", "fewer"],
)
def test_a_checkpoint_of_another_structure_is_an_error(folder, template):
  with Checkpoints(folder) as checkpoints, pytest.raises(RunError, match=str(folder / "3")):
    checkpoints.restore(3, template)


@pytest.mark.parametrize("best", [False, True])
def test_a_reader_takes_the_next_checkpoint_when_its_own_is_removed(tmp_path, monkeypatch, best):
  """As a run that goes on does: it saves, then removes an older one, in the midst of a read."""
  fill(tmp_path / "c", [(1, 0.5)])
  real = checkpoint._read

  def read_late(path, template):
    if path.name == "1":
      fill(tmp_path / "c", [(2, 0.6), (3, 0.7)])
      assert not path.exists()
    return real(path, template)

  monkeypatch.setattr(checkpoint, "_read", read_late)
  step, tree = checkpoint.read(tmp_path / "c", TREE, best=best)
  assert (step, int(tree["step"])) == (3, 3)


def test_digest_sees_every_difference():
  others = [
    {**TREE, "step": np.array(6, np.int32)},
    {**TREE, "step": np.array(5, np.uint32)},
    {**TREE, "kernel": TREE["kernel"].reshape(3, 2)},
    {**TREE, "odd": np.array([np.nan, 0.0, np.inf, 1e-45], np.float32)},
    {("step_" if name == "step" else name): leaf for name, leaf in TREE.items()},
  ]
  digests = {digest(tree) for tree in [TREE, *others]}
  assert len(digests) == 6
  assert digest(jax.tree.map(jnp.asarray, TREE)) == digest(TREE)
  transposed = np.asfortranarray(TREE["kernel"])
  assert digest({**TREE, "kernel": transposed}) == digest(TREE)
