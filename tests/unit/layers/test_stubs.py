"""What a step writes to volumes, taken back from the upper directory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from corten.layers import stubs


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Path, Path]:
    """An upper directory, and what is below it: /v/old, and the link /l to /v."""
    own, base = tmp_path / "own", tmp_path / "base"
    own.mkdir()
    (base / "v").mkdir(parents=True)
    (base / "v/old").write_text("old")
    (base / "l").symlink_to("v")
    return own, base


def take_back(trees: tuple[Path, Path], *targets: bytes) -> list[str]:
    """What the upper directory has afterwards."""
    own, base = (os.open(tree, os.O_RDONLY | os.O_DIRECTORY) for tree in trees)
    try:
        stubs.take_back(own, base, targets)
    finally:
        os.close(own)
        os.close(base)
    return sorted(str(path.relative_to(trees[0])) for path in trees[0].rglob("*"))


@pytest.mark.parametrize("target", [b"/v", b"/v/", b"/l", b"/x/../v"])
def test_a_volume_is_as_it_is_below(trees: tuple[Path, Path], target: bytes) -> None:
    (trees[0] / "v/new/deep").mkdir(parents=True)
    (trees[0] / "other").write_text("stays")
    assert take_back(trees, target) == ["other"]


def test_a_volume_that_was_removed_is_back(trees: tuple[Path, Path]) -> None:
    (trees[0] / "v").write_text("in the place of the directory")
    assert take_back(trees, b"/v") == []


def test_a_volume_that_is_not_below_is_empty(trees: tuple[Path, Path]) -> None:
    (trees[0] / "a/new/deep").mkdir(parents=True)
    (trees[0] / "a/stays").write_text("")
    assert take_back(trees, b"/a/new", b"/not/there") == ["a", "a/new", "a/stays"]


@pytest.mark.parametrize("target", [b"/", b"", b"/elsewhere/v"])
def test_what_is_no_place_for_a_volume(trees: tuple[Path, Path], target: bytes) -> None:
    """The root; and a way through a link that the step has made."""
    (trees[0] / "elsewhere").symlink_to("kept")
    (trees[0] / "kept/v").mkdir(parents=True)
    (trees[0] / "kept/v/f").write_text("")
    assert take_back(trees, target) == ["elsewhere", "kept", "kept/v", "kept/v/f"]
