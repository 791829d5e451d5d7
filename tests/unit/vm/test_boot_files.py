"""A kernel in an image's tree: where it is found, and what is refused in its place."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from corten.errors import Invalid
from corten.vm import boot_files
from corten.vm.boot_files import Files

KERNEL = bytes(0x202) + b"HdrS" + b"the rest"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    made = tmp_path / "tree"
    (made / "boot").mkdir(parents=True)
    return made


@pytest.fixture
def opened(tree: Path) -> Iterator[int]:
    fd = os.open(tree, os.O_PATH)
    yield fd
    os.close(fd)


def put(tree: Path, *names: str, content: bytes = KERNEL) -> None:
    for name in names:
        path = tree / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@pytest.mark.parametrize(
    "files, found",
    [
        (["/boot/vmlinuz", "/boot/initrd.img", "/boot/vmlinuz-9"], ("/boot/vmlinuz", "/boot/initrd.img")),
        (["/boot/vmlinuz-6.1.0-9", "/boot/vmlinuz-6.1.0-56", "/boot/initrd.img-6.1.0-56", "/boot/initrd.img-6.1.0-9"],
         ("/boot/vmlinuz-6.1.0-56", "/boot/initrd.img-6.1.0-56")),
        (["/boot/vmlinuz-6.1", "/boot/vmlinuz-7.0.old", "/boot/System.map-8"], ("/boot/vmlinuz-6.1", "")),
        (["/boot/vmlinuz-virt", "/boot/initramfs-virt"], ("/boot/vmlinuz-virt", "/boot/initramfs-virt")),
        (["/boot/vmlinuz-5.14-el9", "/boot/initramfs-5.14-el9.img", "/boot/vmlinuz-0-rescue-1"],
         ("/boot/vmlinuz-5.14-el9", "/boot/initramfs-5.14-el9.img")),
        (["/usr/lib/modules/6.9/vmlinuz", "/usr/lib/modules/6.10/vmlinuz", "/usr/lib/modules/6.10/initramfs.img"],
         ("/usr/lib/modules/6.10/vmlinuz", "/usr/lib/modules/6.10/initramfs.img")),
        (["/usr/lib/modules/6.9/vmlinuz", "/usr/lib/modules/6.10/modules.dep"], ("/usr/lib/modules/6.9/vmlinuz", "")),
        (["/vmlinuz", "/initrd.img"], ("/vmlinuz", "/initrd.img")),
    ],
)  # fmt: skip
def test_found(tree: Path, opened: int, files: list[str], found: tuple[str, str]) -> None:
    put(tree, *files)
    assert boot_files.find(opened, "", "") == Files(*found)


def test_named(tree: Path, opened: int) -> None:
    put(tree, "/boot/vmlinuz", "/boot/initrd", "/opt/kernel", "/opt/files")
    assert boot_files.find(opened, "/opt/kernel", "/opt/files") == Files("/opt/kernel", "/opt/files")
    assert boot_files.find(opened, "/opt/kernel", "") == Files("/opt/kernel", "")


def test_links_stay_inside(tree: Path, opened: int, tmp_path: Path) -> None:
    """What an absolute link names is in the tree, or is not there."""
    put(tmp_path, "kernel", "boot/vmlinuz-outside")
    (tree / "boot/vmlinuz").symlink_to(tmp_path / "kernel")
    put(tree, "/boot/vmlinuz-6.1")
    assert boot_files.find(opened, "", "").kernel == "/boot/vmlinuz-6.1", "what is dangling is none"
    (tree / "boot/vmlinuz").unlink()
    (tree / "boot/vmlinuz").symlink_to("/../../boot/vmlinuz-outside")
    with pytest.raises(Invalid, match="cannot be read: no such file"):
        boot_files.find(opened, "/boot/vmlinuz", "")
    (tree / "boot/vmlinuz").unlink()
    (tree / "boot/vmlinuz").symlink_to("/boot/vmlinuz-6.1")
    assert boot_files.find(opened, "", "").kernel == "/boot/vmlinuz"


def test_links_in_the_place_of_directories(tree: Path, opened: int, tmp_path: Path) -> None:
    put(tmp_path, "elsewhere/vmlinuz")
    (tree / "boot").rmdir()
    (tree / "boot").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Invalid, match="there is no kernel in the image"):
        boot_files.find(opened, "", "")


def test_circles(tree: Path, opened: int) -> None:
    (tree / "boot/vmlinuz").symlink_to("vmlinuz")
    with pytest.raises(Invalid, match="/boot/vmlinuz of the image cannot be read: too many levels"):
        boot_files.find(opened, "", "")


@pytest.mark.parametrize("kind", ["kernel", "initrd"])
@pytest.mark.parametrize("what", ["fifo", "directory", "socket", "empty", "large"])
def test_what_is_no_file(tree: Path, opened: int, kind: str, what: str) -> None:
    """It is refused without waiting for it, and without a look at its bytes."""
    path = tree / "boot" / ("vmlinuz" if kind == "kernel" else "initrd.img")
    put(tree, "/boot/vmlinuz")
    path.unlink(missing_ok=True)
    if what == "fifo":
        os.mkfifo(path)
    elif what == "directory":
        path.mkdir()
    elif what == "socket":
        os.mknod(path, 0o140644)
    else:
        path.touch()
        os.truncate(path, 0 if what == "empty" else boot_files.MOST[kind] + 1)
    message = {"empty": "is empty", "large": "has more than"}.get(what, "is no regular file")
    with pytest.raises(Invalid, match=f"/boot/{path.name} of the image {message}"):
        boot_files.find(opened, "", "")


@pytest.mark.parametrize("content", [b"\x7fELF", bytes(56) + b"ARMd", b"\x1f\x8b\x08", KERNEL])
def test_kernels(tree: Path, opened: int, content: bytes) -> None:
    put(tree, "/boot/vmlinuz", content=content)
    assert boot_files.find(opened, "", "").kernel == "/boot/vmlinuz"


def test_texts_are_no_kernels(tree: Path, opened: int) -> None:
    put(tree, "/boot/vmlinuz", content=b"#!/bin/sh\n" * 100)
    with pytest.raises(Invalid, match="/boot/vmlinuz of the image is no kernel"):
        boot_files.find(opened, "", "")


def test_names_that_are_not_shown(tree: Path, opened: int) -> None:
    put(tree, "/boot/vmlinuz-9\n\x1b[2J", "/boot/vmlinuz-1,id=x", "/boot/vmlinuz-1")
    assert boot_files.find(opened, "", "").kernel == "/boot/vmlinuz-1"


def test_copied(tree: Path, opened: int, tmp_path: Path) -> None:
    content = KERNEL + os.urandom(3 << 20)
    put(tree, "/boot/vmlinuz", content=content)
    with (tmp_path / "copy").open("wb") as target:
        assert boot_files.copy(opened, "/boot/vmlinuz", "kernel", target.fileno()) == len(content)
    assert (tmp_path / "copy").read_bytes() == content
