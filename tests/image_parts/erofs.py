"""EROFS images in tests: made of a directory, mounted by this machine's kernel, and compared with it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from corten.kernel import mount
from corten.layers import tree
from corten.layers.erofs import image
from image_parts.described import described, link_counts


def make(source: Path, out: Path, uuid: bytes = bytes(16), label: bytes = b"") -> image.Made:
    """An image of the directory `source` in the new file `out`."""
    top = tree.open_directory(os.fsencode(source))
    try:
        with out.open("xb") as file:
            before = sorted(os.listdir("/proc/self/fd"))
            made = image.write(top, file.fileno(), uuid, label)
            assert sorted(os.listdir("/proc/self/fd")) == before, "a descriptor is left open"
        assert out.stat().st_size == made.size
        return made
    finally:
        os.close(top)


@contextmanager
def mounted(path: Path) -> Iterator[int]:
    """The root of the file system in `path`, in a mount that is nowhere. Skips where the kernel cannot mount a file."""
    try:
        root = mount.new("erofs", (), mount.MOUNT_ATTR_RDONLY | mount.MOUNT_ATTR_NODEV, str(path))
    except OSError as error:
        if error.errno in (errno.ENODEV, errno.ENOTBLK, errno.EPERM):
            pytest.skip("this kernel mounts no EROFS file (Linux 6.12, CONFIG_EROFS_FS_BACKED_BY_FILE)")
        raise
    try:
        yield root
    finally:
        os.close(root)


def check(source: Path, out: Path) -> image.Made:
    """Make an image of `source`, and see that what is mounted is the same tree."""
    made = make(source, out)
    top = tree.open_directory(os.fsencode(source))
    try:
        expected = described(top)
    finally:
        os.close(top)
    with mounted(out) as root:
        found = described(root)
        for path in expected.keys() | found.keys():
            assert found.get(path) == expected.get(path), path
        assert link_counts(root) == {path: thing["links"] for path, thing in expected.items()}
    return made
