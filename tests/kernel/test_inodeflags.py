"""What `lsattr` would show."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from corten.kernel import inodeflags
from corten.layers import tree


def test_subdirectories_are_unrelated_where_the_file_system_has_that_flag(tmp_path: Path) -> None:
    fd = tree.open_directory(os.fsencode(tmp_path))
    kind = subprocess.run(["stat", "-f", "-c", "%T", str(tmp_path)], capture_output=True, text=True).stdout.strip()
    try:
        if kind != "ext2/ext3":  # as coreutils calls ext4
            pytest.skip(f"only ext4 has the flag, and this is {kind}")
        assert not inodeflags.get(fd) & inodeflags.TOPDIR
        assert inodeflags.set_top(fd)
        assert inodeflags.get(fd) & inodeflags.TOPDIR
        os.mkdir(tmp_path / "below")
        below = tree.open_directory(os.fsencode(tmp_path / "below"))
        assert not inodeflags.get(below) & inodeflags.TOPDIR
        assert inodeflags.set_top(fd, False)
        assert not inodeflags.get(fd) & inodeflags.TOPDIR
        os.close(below)
    finally:
        os.close(fd)


def test_a_file_system_without_flags_is_no_error() -> None:
    fd = tree.open_directory(b"/proc")
    try:
        assert not inodeflags.set_top(fd)
    finally:
        os.close(fd)
