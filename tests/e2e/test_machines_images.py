"""corten vm create --image: an OCI image's files as the disk of a machine, which boots the kernel among them."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e_parts.cortend import Cortend
from e2e_parts.machines import MARKS, Vm, console, serving
from e2e_parts.others import archive, need
from vm import tiny

pytestmark = MARKS

_SWITCH = "mount -t ext4 /dev/vda /disk && exec switch_root /disk /sbin/init"
_INIT = """#!/bin/sh
export PATH=/bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
echo "$(cat /etc/name): $(cat /proc/cmdline)"
echo "tiny: ready"
while true; do setsid sh -c 'exec sh -i </dev/ttyS0 >/dev/ttyS0 2>&1'; done
"""


@pytest.fixture(scope="module")
def vm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vm]:
    yield from serving(tmp_path_factory.mktemp("machines"))


def layer(kernel: bytes, initrd: bytes, links: dict[str, str]) -> bytes:
    """The tree of a system: busybox, its first process, and a kernel."""
    buffer = io.BytesIO()
    programs = "sh cat mount ls echo setsid sync stat id".split()
    files = {
        "bin/busybox": (tiny.BUSYBOX.read_bytes(), 0o755, 0),
        "sbin/init": (_INIT.encode(), 0o755, 0),
        "etc/name": (b"a system of an image\n", 0o644, 0),
        "etc/secret": (b"none of yours\n", 0o600, 1234),
        "boot/initrd.img-6.1.0-9": (initrd, 0o644, 0),
        "boot/vmlinuz-6.1.0-9": (kernel, 0o644, 0),
        "boot/vmlinuz-5.9.0-1": (b"not this one", 0o644, 0),
    }
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("bin", "boot", "dev", "etc", "proc", "sbin", "tmp"):
            info = tarfile.TarInfo(name)
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(info)
        for name, (content, mode, owner) in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.uid, info.gid = len(content), mode, owner, owner
            tar.addfile(info, io.BytesIO(content))
        for name, target in {**{f"bin/{name}": "busybox" for name in programs}, **links}.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return buffer.getvalue()


def test_a_life(vm: Vm, tmp_path: Path) -> None:
    """It boots from the image's files, writes to them, and is cloned, packed, put back and removed as others are."""
    need("mke2fs")
    system = layer(tiny.kernel().read_bytes(), tiny.initrd(tmp_path / "initrd", _SWITCH).read_bytes(), {})
    archive(
        tmp_path / "system.tar", "system:1", [system], {"Labels": {"corten.vm.append": f"{tiny.ARGUMENTS} labelled"}}
    )
    vm.run("load", "-i", str(tmp_path / "system.tar"))
    network = ("-m", "192m", "--network", "none")
    assert vm.run("vm", "create", "--image", "system:1", "--image-size", "256m", *network, "--start", "oci") == "oci\n"
    vm.ready("oci")
    shown = vm.inspect("oci")
    config, disk = shown["Config"], shown["Disks"][0]  # type: ignore[index]
    assert (config["Image"], config["Firmware"]) == ("system:1", "image")  # type: ignore[index]
    assert (config["Kernel"], config["Initrd"]) == ("/boot/vmlinuz-6.1.0-9", "/boot/initrd.img-6.1.0-9")  # type: ignore[index]
    assert disk["Size"] == 256 << 20 and disk["Allocated"] < 200 << 20
    assert "a system of an image: " in vm.run("vm", "logs", "oci") and "labelled" in vm.run("vm", "logs", "oci")
    said = console(
        vm, "oci", "stat -c '%u:%a' /etc/secret; ls -l /boot; echo kept >/mark; sync; echo writ''ten", "written"
    )
    assert "1234:600" in said and "vmlinuz-6.1.0-9" in said
    assert "nothing is wrong" in vm.run("system", "check")
    vm.run("rmi", "system:1")
    vm.run("vm", "snapshot", "create", "oci", "before")
    console(vm, "oci", "echo gone >/mark; sync; echo writ''ten", "written")
    vm.run("vm", "snapshot", "revert", "oci", "before")
    assert "kept" in console(vm, "oci", "cat /mark; echo re''ad", "read")
    vm.run("vm", "snapshot", "rm", "oci", "before")
    vm.run("vm", "kill", "oci")
    vm.run("vm", "clone", "oci", "linked")
    vm.run("vm", "export", "oci", "-o", str(tmp_path / "oci.tar"))
    assert vm.run("vm", "import", "--name", "unpacked", str(tmp_path / "oci.tar")) == "unpacked\n"
    assert "boots the kernel that came with it" in vm.run(
        "vm", "import", "--name", "no", "--kernel", str(tiny.kernel()), str(tmp_path / "oci.tar"), code=1
    )
    vm.run("vm", "rm", "-v", "oci")
    for name in ("linked", "unpacked"):
        vm.run("vm", "start", name)
        vm.ready(name)
        assert "kept" in console(vm, name, "cat /mark; echo re''ad", "read")
        vm.run("vm", "rm", "-f", "-v", name)
    assert "-base" not in vm.run("volume", "ls", "-q")


def test_it_moves_to_where_the_same_image_is(vm: Vm, tmp_path: Path) -> None:
    """With what it has written; and goes on here where the image is not there, or another one."""
    need("mke2fs")
    initrd = tiny.initrd(tmp_path / "initrd", _SWITCH).read_bytes()
    labels = {"Labels": {"corten.vm.append": tiny.ARGUMENTS}}
    for name, files in (("moving", initrd), ("another", initrd + b"more")):
        archive(tmp_path / f"{name}.tar", "moving:1", [layer(tiny.kernel().read_bytes(), files, {})], labels)
    vm.run("load", "-i", str(tmp_path / "moving.tar"))
    network = ("-m", "192m", "--network", "none")
    vm.run("vm", "create", "--image", "moving:1", "--image-size", "256m", *network, "--start", "oci")
    vm.run("rmi", "moving:1")
    vm.ready("oci")
    other = Vm(Cortend(tmp_path), tmp_path)
    other.daemon.start()
    try:
        assert "No such image: moving:1" in vm.run("vm", "migrate", "oci", other.daemon.address, code=1)
        other.run("load", "-i", str(tmp_path / "another.tar"))
        assert "has another kernel here than there" in vm.run("vm", "migrate", "oci", other.daemon.address, code=1)
        assert other.run("vm", "ls", "-aq") + other.run("volume", "ls", "-q") == ""
        other.run("load", "-i", str(tmp_path / "moving.tar"))
        console(vm, "oci", "echo kept >/mark; sync; echo writ''ten", "written")
        assert vm.run("vm", "migrate", "oci", other.daemon.address) == "oci\n"
        assert "kept" in console(other, "oci", "cat /mark; echo re''ad", "read")
        other.run("vm", "reset", "oci")
        other.ready("oci")
        assert "kept" in console(other, "oci", "cat /mark; echo re''ad", "read")
        other.run("vm", "rm", "-f", "-v", "oci")
    finally:
        other.daemon.stop()


def test_images_that_are_none(vm: Vm, tmp_path: Path) -> None:
    """One clear error, and nothing is left."""
    need("mke2fs")
    bad: dict[str, tuple[bytes, dict[str, object], str]] = {
        "no-kernel": (b"", {}, "there is no kernel in the image"),
        "text": (b"#!/bin/sh\n" * 60, {"Labels": {}}, "/boot/vmlinuz-6.1.0-9 of the image is no kernel"),
        "labelled": (
            b"",
            {"Labels": {"corten.vm.kernel": "/nothing"}},
            "/nothing of the image cannot be read: no such file",
        ),
        "directory": (b"", {"Labels": {"corten.vm.kernel": "/etc"}}, "/etc of the image is no regular file"),
    }
    for name, (kernel, config, message) in bad.items():
        system = layer(kernel, b"x", {}) if kernel else layer_without_kernel()
        archive(tmp_path / f"{name}.tar", f"{name}:1", [system], config)
        vm.run("load", "-i", str(tmp_path / f"{name}.tar"))
        assert message in vm.run("vm", "create", "--image", f"{name}:1", "wrong", code=1)
        vm.run("rmi", f"{name}:1")
    assert vm.run("vm", "ls", "-aq") + vm.run("volume", "ls", "-q") == ""
    assert "nothing is wrong" in vm.run("system", "check")


def layer_without_kernel() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo("etc")
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(info)
    return buffer.getvalue()
