"""Which null device a container gets, and what is not taken for one."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from corten.kernel import mount, paths
from corten.runtime import null

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    """A root with an empty /dev, on a file system whose devices can be opened."""
    fd = mount.new("tmpfs", ("mode=755",))
    os.mkdir("dev", dir_fd=fd)
    yield fd
    os.close(fd)


def found(root: int) -> tuple[int, int]:
    descriptors = os.open("/proc/self/fd", os.O_PATH | os.O_DIRECTORY)
    try:
        return null.open_in(root, descriptors)
    finally:
        os.close(descriptors)


def test_its_own_node(root: int) -> None:
    os.mknod("dev/null", stat.S_IFCHR | 0o600, os.makedev(1, 3), dir_fd=root)
    node, opened = found(root)
    assert os.path.samestat(os.fstat(node), os.fstat(opened))
    assert os.fstat(opened).st_dev == os.fstat(root).st_dev
    assert os.read(opened, 1) == b"" and os.write(opened, b"x") == 1
    os.close(node)
    os.close(opened)


@pytest.mark.parametrize(
    "put",
    [
        lambda root: None,
        lambda root: os.mkdir("dev/null", dir_fd=root),
        lambda root: os.close(os.open("dev/null", os.O_CREAT | os.O_WRONLY, dir_fd=root)),
        lambda root: os.mknod("dev/null", stat.S_IFIFO | 0o666, dir_fd=root),
        lambda root: os.mknod("dev/null", stat.S_IFCHR | 0o666, os.makedev(1, 5), dir_fd=root),
        lambda root: os.mknod("dev/null", stat.S_IFBLK | 0o666, os.makedev(1, 3), dir_fd=root),
        lambda root: os.symlink("null", "dev/null", dir_fd=root),
        lambda root: os.symlink("../../../../dev/null", "dev/null", dir_fd=root),
        lambda root: os.symlink("/proc/self/fd/0", "dev/null", dir_fd=root),
    ],
    ids=["nothing", "directory", "file", "fifo", "zero", "block", "loop", "link out", "magic link"],
)
def test_what_is_no_null_device(root: int, put: Callable[[int], None]) -> None:
    put(root)
    assert found(root) == (-1, -1)


def test_one_that_cannot_be_opened(root: int) -> None:
    os.mknod("dev/null", stat.S_IFCHR | 0o666, os.makedev(1, 3), dir_fd=root)
    mount.set_attributes(root, mount.MOUNT_ATTR_NODEV)
    before = len(os.listdir("/proc/self/fd"))
    assert found(root) == (-1, -1)
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_stand_in_can_be_used_and_not_changed() -> None:
    before = os.stat("/dev/null")
    opened = null.open_stand_in()

    def change_behind_another() -> None:
        os.close(paths.reopen(opened, os.O_RDWR))
        os.fchmod(opened, 0o666)

    try:
        assert os.read(opened, 1) == b"" and os.write(opened, b"x") == 1 and null.is_null(opened)
        changes: tuple[Callable[[], None], ...] = (
            lambda: os.fchmod(opened, 0o666),
            lambda: os.fchown(opened, 0, 0),
            lambda: os.utime(opened),
            lambda: os.chmod(f"/proc/self/fd/{opened}", 0o666),
            lambda: os.setxattr(opened, "trusted.x", b"1"),
            change_behind_another,
        )
        for change in changes:
            with pytest.raises(OSError) as failed:
                change()
            assert failed.value.errno == errno.EROFS
    finally:
        os.close(opened)
    after = os.stat("/dev/null")
    assert (after.st_ctime_ns, after.st_mtime_ns) == (before.st_ctime_ns, before.st_mtime_ns)


def test_the_caller_s_null_device_is_replaced(root: int) -> None:
    with open(os.devnull) as device:
        given = (device.fileno(), root, device.fileno())
        assert null.not_the_caller_s(given) == (null.OF_CONTAINER, root, null.OF_CONTAINER)
        assert null.filled_in(null.not_the_caller_s(given), 77) == (77, root, 77)
