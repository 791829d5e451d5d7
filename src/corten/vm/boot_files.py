"""The kernel of an image's tree, and its initial file system: how they are found there, and copied.

    files = find(tree, "", "")            # Files("/boot/vmlinuz-6.1.0-56-cloud-amd64", "/boot/initrd.img-6.1.0-...")
    copy(tree, files.kernel, target)

A kernel is, where its path is not given, the first of

    /boot/vmlinuz
    /boot/vmlinuz-VERSION               the latest version
    /usr/lib/modules/VERSION/vmlinuz    the same
    /vmlinuz

and its initial file system is beside it: initrd.img, initrd, initramfs (".img" before or behind the version), or none.
The tree is hostile: paths are resolved inside of it, and what is there has to be a regular file of a bounded size.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from corten.errors import Invalid
from corten.kernel import paths

MOST = {"kernel": 256 << 20, "initrd": 1 << 30}  # bytes
_MOST_NAMES = 4096  # of a directory, that are looked at
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,127}\Z")
_LEFT = (".old", ".bak", ".sig", ".hmac")  # ends of names of what is no kernel to boot
_MODULES = "/usr/lib/modules"
_HEAD = 0x206  # bytes
# A PC's (Documentation/arch/x86/boot.rst), an ELF, arm64's (Documentation/arch/arm64/booting.rst), and a packed one.
_MAGIC = ((0x202, b"HdrS"), (0, b"\x7fELF"), (56, b"ARMd"), (0, b"\x1f\x8b"))
_PIECE = 1 << 20


class Files(NamedTuple):
    """Paths in the tree; `initrd` is "" where there is none."""

    kernel: str
    initrd: str


def find(tree: int, kernel: str, initrd: str) -> Files:
    """Of the tree at the descriptor `tree`, with these paths where they are given. Invalid for what cannot be booted,
    and for a tree that has no kernel."""
    if not kernel:
        kernel = next((path for path in _kernels(tree) if _is_there(tree, path)), "")
    if not kernel:
        raise Invalid(f"there is no kernel in the image (/boot/vmlinuz* or {_MODULES}/VERSION/vmlinuz):"
                      " name one of its files, or boot another kernel")  # fmt: skip
    _check_kernel(tree, kernel)
    if not initrd:
        initrd = next((path for path in _initrds(kernel) if _is_there(tree, path)), "")
    if initrd:
        os.close(_opened(tree, initrd, "initrd"))
    return Files(kernel, initrd)


def copy(tree: int, path: str, kind: str, target: int) -> int:
    """The file's bytes to the empty file `target`, and how many; `kind`: kernel, initrd. Invalid, as of `find`."""
    source = _opened(tree, path, kind)
    try:
        size = 0
        while piece := os.read(source, _PIECE):
            size += len(piece)
            if size > MOST[kind]:
                raise _too_large(path, kind)
            while piece:
                piece = piece[os.write(target, piece) :]
    finally:
        os.close(source)
    return size


def _kernels(tree: int) -> Iterator[str]:
    yield "/boot/vmlinuz"
    for name in _latest(tree, "/boot"):
        if name.startswith("vmlinuz-") and not name.endswith(_LEFT):
            yield f"/boot/{name}"
    for version in _latest(tree, _MODULES):
        yield f"{_MODULES}/{version}/vmlinuz"
    yield "/vmlinuz"


def _initrds(kernel: str) -> Iterator[str]:
    directory, _, name = kernel.rpartition("/")
    suffix = name.removeprefix("vmlinuz") if name.startswith("vmlinuz") else ""
    for beside in (f"initrd.img{suffix}", f"initrd{suffix}.img", f"initrd{suffix}",
                   f"initramfs{suffix}.img", f"initramfs.img{suffix}", f"initramfs{suffix}"):  # fmt: skip
        yield f"{directory}/{beside}"


def _latest(tree: int, directory: str) -> list[str]:
    """Names in it, those with the highest numbers first; none where it is no directory."""
    try:
        fd = paths.open_in(tree, directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return []
    try:
        with os.scandir(fd) as entries:
            names = [entry.name for entry in islice(entries, _MOST_NAMES)]
    finally:
        os.close(fd)
    return sorted(filter(_NAME.match, names), key=_numbers, reverse=True)


def _numbers(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]+)", name)]


def _is_there(tree: int, path: str) -> bool:
    try:
        os.close(paths.open_in(tree, path))
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return False
        raise _refused(path, error) from None
    return True


def _check_kernel(tree: int, path: str) -> None:
    fd = _opened(tree, path, "kernel")
    try:
        head = os.read(fd, _HEAD)
    finally:
        os.close(fd)
    if not any(head[at : at + len(magic)] == magic for at, magic in _MAGIC):
        raise Invalid(f"{path} of the image is no kernel")


def _opened(tree: int, path: str, kind: str) -> int:
    try:
        fd = paths.open_file(tree, path)
    except OSError as error:
        raise _refused(path, error) from None
    size = os.fstat(fd).st_size
    if not 0 < size <= MOST[kind]:
        os.close(fd)
        raise _too_large(path, kind) if size else Invalid(f"{path} of the image is empty")
    return fd


def _too_large(path: str, kind: str) -> Invalid:
    return Invalid(f"{path} of the image has more than {MOST[kind] >> 20} MiB, the most of {_WORDS[kind]}")


def _refused(path: str, error: OSError) -> Invalid:
    if error.errno == errno.EINVAL:
        return Invalid(f"{path} of the image is no regular file")
    return Invalid(f"{path} of the image cannot be read: {os.strerror(error.errno or 0).lower()}")


_WORDS = {"kernel": "a kernel", "initrd": "an initial file system"}
