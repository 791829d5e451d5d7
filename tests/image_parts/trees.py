"""Trees on disk as plain values, to compare."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from corten.layers.apply import Applied, apply
from corten.layers.entries import Limits
from corten.layers.pack import Packer
from corten.layers.source import Source


def unpack(tree: Path, data: bytes, limits: Limits | None = None) -> Applied:
    """Apply a tar in this process, unconfined: for layers of the test's own."""
    tree.mkdir(exist_ok=True)
    reader, writer = os.pipe()
    root = os.open(tree, os.O_RDONLY | os.O_DIRECTORY)
    try:
        pid = os.fork()
        if pid == 0:
            try:
                os.close(reader)
                with os.fdopen(writer, "wb") as out:
                    out.write(data)
            finally:
                os._exit(0)
        os.close(writer)
        try:
            return apply(root, Source(reader), limits or Limits())
        finally:
            os.close(reader)
            os.waitpid(pid, 0)
    finally:
        os.close(root)


def listing(tree: Path) -> dict[str, tuple[object, ...]]:
    """Path to (kind, mode, uid, gid, content or target or device, xattrs)."""
    found: dict[str, tuple[object, ...]] = {}
    for folder, directories, files in os.walk(tree):
        for name in directories + files:
            path = Path(folder, name)
            status = path.lstat()
            kind = stat.S_IFMT(status.st_mode)
            content: object = None
            if stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(status.st_mode):
                content = path.read_bytes()
            elif kind in (stat.S_IFCHR, stat.S_IFBLK):
                content = status.st_rdev
            attributes = {
                a: os.getxattr(path, a, follow_symlinks=False) for a in os.listxattr(path, follow_symlinks=False)
            }
            found[str(path.relative_to(tree))] = (
                kind,
                status.st_mode & 0o7777,
                status.st_uid,
                status.st_gid,
                content,
                attributes,
            )
    return found


def tar_of(tree: Path) -> bytes:
    """As it is packed when nothing more is known of it."""
    fd, out = os.open(tree, os.O_RDONLY), os.memfd_create("tar")
    try:
        packer = Packer(out)
        packer.tree(fd)
        packer.end()
        return os.pread(out, os.fstat(out).st_size, 0)
    finally:
        os.close(fd)
        os.close(out)
