"""Removal of trees: an error keeps one in the trash, recorded and tried again, and delays no other."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from corten.layers import tree
from corten.snapshots.trash import Trash


def deep(top: Path, levels: int) -> Path:
    top.mkdir()
    here = os.open(top, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    return top


def test_any_depth(tmp_path: Path) -> None:
    trash = Trash(tmp_path / "new/.trash")
    trash.take(tmp_path / "absent")
    for name in ("one", "two"):
        trash.take(deep(tmp_path / name, 2000))
    trash.drain()
    assert os.listdir(trash.path) == [] and not trash.stuck
    trash.close()


def test_one_that_stays_keeps_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remove, refused = tree.remove, set[bytes]()

    def first_refused(dirfd: int, name: bytes) -> None:
        if not refused or name in refused:
            refused.add(name)
            raise OSError(errno.EPERM, "Operation not permitted: 'immutable'")
        remove(dirfd, name)

    monkeypatch.setattr(tree, "remove", first_refused)
    trash = Trash(tmp_path / ".trash")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        trash.take(tmp_path / name)
    trash.drain()
    (name,) = os.listdir(trash.path)
    assert trash.stuck.keys() == {name} and "immutable" in trash.stuck[name]
    assert "immutable" in trash.retry(name)
    monkeypatch.undo()
    assert trash.retry(name) == "" and not trash.stuck and os.listdir(trash.path) == []
    trash.close()


def test_the_next_one_tries_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(dirfd: int, name: bytes) -> None:
        raise RecursionError  # whatever it is: the thread goes on

    with monkeypatch.context() as patched:
        patched.setattr(tree, "remove", refuse)
        trash = Trash(tmp_path / ".trash")
        trash.take(deep(tmp_path / "one", 3))
        trash.drain()
        assert len(trash.stuck) == 1
        trash.close()
    trash = Trash(tmp_path / ".trash")
    trash.drain()
    assert os.listdir(trash.path) == []
    trash.close()
