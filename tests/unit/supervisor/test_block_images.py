"""What is said when a program of the machine that makes disks is not there, or fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from corten.errors import Failed, Unsupported
from corten.supervisor import block_images, jail


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only directory of programs, and no jail around them."""
    monkeypatch.setattr(block_images, "_PATH", str(tmp_path))
    monkeypatch.setattr(jail, "enter", lambda mounts, most, keep=(): None)
    return tmp_path


def test_no_mke2fs(programs: Path) -> None:
    with pytest.raises(Unsupported, match=r"mke2fs is not installed .* \(Debian package e2fsprogs\)"):
        block_images._format([], 1 << 20)


def test_mke2fs_that_fails(programs: Path) -> None:
    (programs / "mke2fs").write_text("#!/bin/sh\necho no such feature >&2\nexit 1\n")
    (programs / "mke2fs").chmod(0o755)
    with pytest.raises(Failed, match="mke2fs: no such feature"):
        block_images._format([], 1 << 20)


def test_its_arguments_are_fixed(programs: Path) -> None:
    (programs / "mke2fs").write_text(f'#!/bin/sh\necho "$*" >{programs}/said; echo "$PATH" >>{programs}/said\n')
    (programs / "mke2fs").chmod(0o755)
    assert block_images._format([], 1 << 20) == {}
    arguments, path = (programs / "said").read_text().splitlines()
    assert arguments.endswith(" /disk") and "has_journal" in arguments and path == str(programs)
