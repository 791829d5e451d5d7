"""Nodes of the host that are bound where a container may make none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from corten.runtime import prepare

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.mark.parametrize("there", ["nothing", "file", "directory", "another device", "fifo", "loop"])
def test_what_the_host_has_at_the_path_is_looked_at(tmp_path: Path, there: str) -> None:
    path = tmp_path / "device"
    match there:
        case "file":
            path.write_text("the host's")
        case "directory":
            path.mkdir()
        case "another device":
            os.mknod(path, 0o20666, os.makedev(1, 5))
        case "fifo":
            os.mkfifo(path)
        case "loop":
            path.symlink_to("/dev/zero")
    fd = prepare._device(str(path), "c", os.makedev(1, 7))
    try:
        assert (os.fstat(fd).st_rdev, os.fstat(fd).st_dev) == (os.makedev(1, 7), os.stat("/dev/full").st_dev)
    finally:
        os.close(fd)


def test_the_host_s_own_node_is_taken_where_it_is_the_device(tmp_path: Path) -> None:
    path = tmp_path / "device"
    os.mknod(path, 0o20600, os.makedev(1, 7))
    fd = prepare._device(str(path), "c", os.makedev(1, 7))
    try:
        assert os.fstat(fd).st_ino == path.stat().st_ino
    finally:
        os.close(fd)


def test_a_device_that_the_host_has_no_node_of(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no node of device b 4095:7"):
        prepare._device(str(tmp_path / "device"), "b", os.makedev(4095, 7))
