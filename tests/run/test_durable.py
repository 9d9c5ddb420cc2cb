import os
from pathlib import Path

import pytest

from mnist_mlp.run import durable


def test_a_file_is_written_with_the_rights_of_any_new_file(tmp_path):
  (tmp_path / "plain").write_bytes(b"")
  durable.write(tmp_path / "a", b"abc")
  assert (tmp_path / "a").read_bytes() == b"abc"
  assert (tmp_path / "a").stat().st_mode == (tmp_path / "plain").stat().st_mode
  durable.append(tmp_path / "a", b"def")
  durable.append(tmp_path / "b", b"ghi")
  assert (tmp_path / "a").read_bytes() + (tmp_path / "b").read_bytes() == b"abcdefghi"


def test_a_failed_write_leaves_what_was_there(tmp_path):
  durable.write(tmp_path / "a", b"abc")
  with pytest.raises(TypeError):
    durable.write(tmp_path / "a", object())
  (tmp_path / "folder").mkdir()
  with pytest.raises(IsADirectoryError):
    durable.write(tmp_path / "folder", b"abc")
  assert (tmp_path / "a").read_bytes() == b"abc"
  assert sorted(os.listdir(tmp_path)) == ["a", "folder"]


def test_nothing_is_written_through_a_link(tmp_path, monkeypatch):
  (tmp_path / "precious").write_bytes(b"mine")
  (tmp_path / "a").symlink_to("precious")
  durable.write(tmp_path / "a", b"abc")  # The link itself is replaced.
  assert (tmp_path / "a").read_bytes() == b"abc" and not (tmp_path / "a").is_symlink()
  monkeypatch.setattr(durable.secrets, "token_hex", lambda size: "0" * 2 * size)
  (tmp_path / ".b.0000000000000000.tmp").symlink_to("precious")
  with pytest.raises(FileExistsError):
    durable.write(tmp_path / "b", b"abc")
  assert (tmp_path / "precious").read_bytes() == b"mine"


def test_content_is_flushed_before_the_name_and_the_name_before_it_returns(tmp_path, monkeypatch):
  fsync, replace, asked = os.fsync, Path.replace, []

  def noted_fsync(descriptor):
    asked.append(os.readlink(f"/proc/self/fd/{descriptor}"))
    fsync(descriptor)

  def noted_replace(path, target):
    asked.append(f"rename to {target}")
    return replace(path, target)

  monkeypatch.setattr(os, "fsync", noted_fsync)
  monkeypatch.setattr(Path, "replace", noted_replace)
  durable.write(tmp_path / "a", b"abc")
  content, renamed, folder = asked
  assert content.startswith(f"{tmp_path}/.a.") and content.endswith(".tmp")
  assert (renamed, folder) == (f"rename to {tmp_path / 'a'}", str(tmp_path))


def test_a_tree_is_flushed_with_all_that_it_holds(tmp_path, monkeypatch):
  (tmp_path / "a" / "b").mkdir(parents=True)
  (tmp_path / "a" / "b" / "file").write_bytes(b"x")
  asked = []
  monkeypatch.setattr(
    os, "fsync", lambda descriptor: asked.append(os.readlink(f"/proc/self/fd/{descriptor}"))
  )
  durable.sync_tree(tmp_path / "a")
  assert set(asked) == {str(tmp_path), *map(str, tmp_path.rglob("*"))}


def test_a_folder_gets_its_name_when_all_that_it_holds_is_flushed(monkeypatch, tmp_path):
  """Else a loss of power could leave a checkpoint of nothing but a name."""
  folder, flushed = tmp_path / "40", []
  (folder / "state").mkdir(parents=True)
  for i in range(20):
    (folder / "state" / str(i)).write_bytes(b"x")
  monkeypatch.setattr(
    os, "fsync", lambda number: flushed.append(os.readlink(f"/proc/self/fd/{number}"))
  )
  durable.sync_tree(folder)
  assert len(flushed) == 23 and flushed[-1] == str(tmp_path)
