"""The account of a data root, while what is in it goes away or cannot be read."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest

from corten.layers.measure import Measure, measure
from corten.storage import account


def test_what_is_removed_under_way_is_left_out(tmp_path: Path) -> None:
    for id in ("1" * 64, "2" * 64):
        (tmp_path / "containers" / id).mkdir(parents=True)
        for name in ("config.json", "hostname"):
            (tmp_path / "containers" / id / name).write_text("x")
    seen = []
    for item in account.Walk(tmp_path).items():
        seen.append(item.path)
        if item.path.endswith("1/config.json"):
            shutil.rmtree(tmp_path / "containers" / ("1" * 64))
    assert f"containers/{'2' * 64}/hostname" in seen and f"containers/{'1' * 64}/hostname" not in seen


def test_what_guests_begin_from_is_one_thing(tmp_path: Path) -> None:
    (tmp_path / "vm/templates").mkdir(parents=True)
    (tmp_path / "vm/templates/key.memory").write_bytes(b"x" * 8192)
    (item,) = [item for item in account.Walk(tmp_path).items() if item.path == "vm/templates"]
    assert item.place == "guests" and item.place in account.KINDS
    assert item.bytes >= 8192 and item.inodes == 2


def test_one_thing_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its item says so, and the others are there."""
    for name in ("bad", "good"):
        (tmp_path / "volumes" / name).mkdir(parents=True)

    def failing(parent: int, name: bytes, found: Measure) -> None:
        if name == b"bad":
            raise OSError(errno.EIO, "Input/output error")
        measure(parent, name, found)

    monkeypatch.setattr(account, "measure", failing)
    items = {item.path: item for item in account.Walk(tmp_path).items()}
    assert "Input/output error" in items["volumes/bad"].error
    assert items["volumes/good"].error == "" and items["volumes/good"].inodes == 1
