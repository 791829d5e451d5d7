"""Trees that were written in a user namespace."""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path

import pytest

from corten.layers.owners import Owners
from corten.layers.reowned import reown

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: owners are changed")
# The ids on the disk are ids inside as well: 100 on the disk is 0 inside, 200 is 100.
OWNERS = Owners([[0, 100, 1000]], [[0, 100, 1000]])
RAISED = 0x03000001  # VFS_CAP_REVISION_3, effective


def test_everything_gets_the_ids_inside(tmp_path: Path) -> None:
    (tmp_path / "d/e").mkdir(parents=True)
    (tmp_path / "d/file").write_text("content")
    os.link(tmp_path / "d/file", tmp_path / "d/e/again")
    (tmp_path / "link").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "fifo")
    os.mknod(tmp_path / "gone", stat.S_IFCHR)
    every = [tmp_path, *sorted(tmp_path.rglob("*"))]
    for path in every:
        os.chown(path, 200, 107, follow_symlinks=False)
    before = {path: path.lstat() for path in every}
    passwd = Path("/etc/passwd").stat()
    reown_at(tmp_path)
    for path in every:
        now = path.lstat()
        assert (now.st_uid, now.st_gid) == (100, 7), path
        assert (now.st_mode, now.st_mtime_ns) == (before[path].st_mode, before[path].st_mtime_ns)
    assert Path("/etc/passwd").stat() == passwd


def test_what_runs_with_other_rights_still_does(tmp_path: Path) -> None:
    for name, mode in (("setuid", 0o4755), ("setgid", 0o2751), ("both", 0o6700), ("sticky", 0o1644), ("plain", 0o755)):
        (tmp_path / name).write_text(name)
        os.chown(tmp_path / name, 100, 100)
        (tmp_path / name).chmod(mode)
    (tmp_path / "shared").mkdir()
    os.chown(tmp_path / "shared", 100, 100)
    (tmp_path / "shared").chmod(0o2775)
    os.setxattr(tmp_path / "plain", "security.capability", struct.pack("<IIIIII", RAISED, 1, 0, 0, 0, 100))
    os.setxattr(tmp_path / "plain", "user.kept", b"1")
    reown_at(tmp_path)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"setuid": 0o4755, "setgid": 0o2751, "both": 0o6700, "sticky": 0o1644, "plain": 0o755,
                     "shared": 0o2775}  # fmt: skip
    assert os.getxattr(tmp_path / "plain", "security.capability") == struct.pack("<IIIII", 0x02000001, 1, 0, 0, 0)
    assert os.getxattr(tmp_path / "plain", "user.kept") == b"1"
    assert {path.stat().st_uid for path in tmp_path.iterdir()} == {0}


def reown_at(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        reown(fd, OWNERS)
    finally:
        os.close(fd)
