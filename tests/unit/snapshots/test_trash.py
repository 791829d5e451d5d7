"""Removal of trees: an error keeps one in the trash, recorded and tried again, and delays no other."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from corten.layers import tree
from corten.snapshots import trash as trash_module
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

    def first_refused(dirfd: int, name: bytes, enough: Callable[[], bool] | None = None) -> bool:
        if not refused or name in refused:
            refused.add(name)
            raise OSError(errno.EPERM, "Operation not permitted: 'immutable'")
        return remove(dirfd, name, enough)

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
    def refuse(dirfd: int, name: bytes, enough: object = None) -> bool:
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


def test_a_large_tree_gives_way_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven small ones waited for minutes behind one of millions of files."""
    remove, begin, pieces, ended = tree.remove, threading.Event(), list[bytes](), list[bytes]()

    def watched(dirfd: int, name: bytes, enough: Callable[[], bool] | None = None) -> bool:
        assert begin.wait(60)
        whole = remove(dirfd, name, enough)
        (ended if whole else pieces).append(name)
        return whole

    monkeypatch.setattr(tree, "remove", watched)
    monkeypatch.setattr(trash_module, "_PIECE", 0.0)
    trash = Trash(tmp_path / ".trash")
    large = deep(tmp_path / "large", 200)
    for number in range(200):
        (large / str(number)).mkdir()
        (large / str(number) / "file").touch()
    trash.take(large)
    (name,) = os.listdir(trash.path)
    for number in range(7):
        trash.take(deep(tmp_path / f"small{number}", 0))
    begin.set()
    trash.drain()
    assert os.listdir(trash.path) == [] and not trash.stuck
    assert set(pieces) == {name.encode()}, "it gave way"
    assert len(ended) == 8 and ended[-1] == name.encode(), "the last to end is the one that came first"
    trash.close()


def test_what_is_stuck_is_tried_again_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remove, tried, gone = tree.remove, list[bytes](), threading.Event()

    def busy(dirfd: int, name: bytes, enough: Callable[[], bool] | None = None) -> bool:
        tried.append(name)
        if len(tried) < 4:
            raise OSError(errno.ENOTEMPTY, "Directory not empty")
        whole = remove(dirfd, name, enough)
        gone.set()
        return whole

    monkeypatch.setattr(tree, "remove", busy)
    monkeypatch.setattr(trash_module, "_RETRY", (0.001, 0.002))
    trash = Trash(tmp_path / ".trash")
    trash.take(deep(tmp_path / "one", 3))
    assert gone.wait(60)
    trash.close()
    assert len(tried) == 4 and not trash.stuck and os.listdir(trash.path) == []
