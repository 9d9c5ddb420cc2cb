"""TensorBoard on the runs of a sweep: every member, and columns of numbers."""

import tensorboard_server

from mnist_mlp import config
from mnist_mlp.run.hparams import hparams_of
from mnist_mlp.run.tensorboard import create_writer


def test_tensorboard_has_numeric_columns_for_nets_of_different_depth(tmp_path):
  for features in ((8,), (8, 4)):
    c = config.default()
    c.model.features = features
    run = tmp_path / f"{len(features)}-layers"
    writer = create_writer(run)
    writer.write_hparams(hparams_of(c))
    writer.write_scalars(1, {"validation/accuracy": 0.5})
    writer.close()
  with tensorboard_server.serve(tmp_path, runs=["1-layers", "2-layers"]) as server:
    columns = {info["name"]: info["type"] for info in server.experiment()["hparamInfos"]}
  assert {columns[f"model.features.{part}"] for part in ("length", "0", "1")} == {
    "DATA_TYPE_FLOAT64"
  }


def test_tensorboard_shows_every_member_and_numeric_columns(swept):
  members, names = swept.folder / "members", {point.name for point in swept.points}
  with tensorboard_server.serve(members, runs=names) as server:
    columns = {info["name"]: info for info in server.experiment()["hparamInfos"]}
    for name in ("optimizer.learning_rate", "seed", "model.dropout"):
      assert columns[name]["type"] == "DATA_TYPE_FLOAT64"
    groups = server.session_groups()
  sessions = {session["name"]: session for group in groups for session in group["sessions"]}
  assert set(sessions) == names
  assert sorted(len(group["sessions"]) for group in groups) == [1, 1, 2, 2]
  for group in groups:
    parts = group["name"].rpartition(" ")[0].split(",")
    assert all(part and part in session["name"] for session in group["sessions"] for part in parts)
  for row in swept.rows:
    status = "STATUS_SUCCESS" if row["status"] == "finished" else "STATUS_FAILURE"
    assert sessions[row["name"]]["status"] == status
