"""Directories that are made in one of many parents and moved to their path."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from corten.kernel import inodeflags
from corten.snapshots.inode_spread import InodeSpread

MANY = 200


@pytest.fixture
def flagged(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on ext4, whatever this is."""
    monkeypatch.setattr(inodeflags, "set_top", lambda *_: True)


def test_directories_get_their_path_from_many_parents(
    tmp_path: Path, flagged: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_in: set[Path] = set()
    rename = os.rename

    def noted(old: str, new: Path) -> None:
        made_in.add(Path(old).parent)
        rename(old, new)

    monkeypatch.setattr(os, "rename", noted)
    some = InodeSpread(tmp_path / "places")
    before = os.umask(0o022)
    for number in range(MANY):
        some.mkdir(tmp_path / f"{number}", 0o711)
    os.umask(before)
    assert all((tmp_path / f"{number}").stat().st_mode & 0o7777 == 0o711 for number in range(MANY))
    assert len(made_in) == 64
    assert not [name for place in made_in for name in os.listdir(place)]


def test_what_cannot_be_moved_is_removed(tmp_path: Path, flagged: None) -> None:
    some = InodeSpread(tmp_path / "places")
    with pytest.raises(FileNotFoundError):
        some.mkdir(tmp_path / "missing" / "here", 0o700)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "of").write_text("something")
    with pytest.raises(OSError):
        some.mkdir(tmp_path / "full", 0o700)
    assert not [name for place in (tmp_path / "places").iterdir() for name in os.listdir(place)]


def test_another_file_system_at_the_path_is_used_directly(
    tmp_path: Path, flagged: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other_disk(old: str, new: Path) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    some = InodeSpread(tmp_path / "places")
    monkeypatch.setattr(os, "rename", other_disk)
    some.mkdir(tmp_path / "here", 0o700)
    assert (tmp_path / "here").is_dir()
    assert not [name for place in (tmp_path / "places").iterdir() for name in os.listdir(place)]


def test_what_a_kill_left_is_removed(tmp_path: Path, flagged: None) -> None:
    InodeSpread(tmp_path / "places")
    (tmp_path / "places" / "3" / "half-made").mkdir()
    InodeSpread(tmp_path / "places")
    assert os.listdir(tmp_path / "places" / "3") == []


def test_a_full_disk_is_used_without_parents(tmp_path: Path, flagged: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "mkdir", full)
    some = InodeSpread(tmp_path / "places")
    monkeypatch.undo()
    some.mkdir(tmp_path / "one", 0o700)
    assert (tmp_path / "one").is_dir()


def test_other_file_systems_get_no_parents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inodeflags, "set_top", lambda *_: False)
    some = InodeSpread(tmp_path / "places")
    assert not (tmp_path / "places").exists()
    some.mkdir(tmp_path / "one", 0o700)
    with pytest.raises(FileExistsError):
        some.mkdir(tmp_path / "one", 0o700)
