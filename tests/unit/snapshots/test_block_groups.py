"""A tree does not start in a block group in which one was removed just now."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from corten.kernel import inodeflags
from corten.snapshots import block_groups
from corten.snapshots.block_groups import BlockGroups


@dataclass(frozen=True, slots=True)
class Made:
    path: Path


class Maker:
    """Directories one after the other."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.count = 0

    def make(self) -> Made:
        self.count += 1
        path = self.root / f"{self.count}"
        path.mkdir()
        return Made(path)

    def unmake(self, made: Made) -> None:
        made.path.rmdir()


def test_a_group_with_recent_deletions_is_avoided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inodeflags, "set_top", lambda *_: True)
    monkeypatch.setattr(block_groups, "_group", lambda path: int(path.name) // 5)  # 1 to 4, 5 to 9, ...
    maker, choice = Maker(tmp_path), BlockGroups(tmp_path)
    assert choice.choose(maker.make, maker.unmake).path.name == "1"
    choice.emptied(tmp_path / "1")
    assert choice.choose(maker.make, maker.unmake).path.name == "5"
    assert sorted(os.listdir(tmp_path)) == ["1", "5"]


def test_with_recent_deletions_in_all_groups_any_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inodeflags, "set_top", lambda *_: True)
    monkeypatch.setattr(block_groups, "_group", lambda path: 0)
    maker, choice = Maker(tmp_path), BlockGroups(tmp_path)
    choice.emptied(tmp_path)
    last = choice.choose(maker.make, maker.unmake)
    assert os.listdir(tmp_path) == [last.path.name]


def test_without_the_flag_nothing_is_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inodeflags, "set_top", lambda *_: False)
    maker, choice = Maker(tmp_path), BlockGroups(tmp_path)
    choice.emptied(tmp_path)
    assert choice.choose(maker.make, maker.unmake).path.name == "1"


def test_what_is_gone_already_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inodeflags, "set_top", lambda *_: True)
    maker, choice = Maker(tmp_path), BlockGroups(tmp_path)
    choice.emptied(tmp_path / "gone")
    assert choice.choose(maker.make, maker.unmake).path.name == "1"
