"""Devices of this host in whole machines, by the command line."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e_parts.loop_devices import beginning, is_free, loop_device, mounted
from e2e_parts.machines import LIMIT, MARKS, Vm, console, serving

pytestmark = MARKS


@pytest.fixture(scope="module")
def vm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vm]:
    yield from serving(tmp_path_factory.mktemp("machines"))


@pytest.fixture
def device(tmp_path: Path) -> Iterator[str]:
    with loop_device(tmp_path / "backing") as made:
        yield made


@pytest.fixture
def second(tmp_path: Path) -> Iterator[str]:
    with loop_device(tmp_path / "second") as made:
        yield made


def test_a_block_device_is_a_disk(vm: Vm, device: str, second: str, tmp_path: Path) -> None:
    """From the start, and plugged in and out while it runs; its machine alone has it, until it is off."""
    link = tmp_path / "by-name"
    link.symlink_to(device)
    vm.create("metal", "--disk", "16m", "--device", str(link), "--network", "none")
    assert is_free(device), "a machine that is off has nothing open"
    assert f"device {device} is in use by machine metal" in vm.run("vm", "create", "--device", device, code=1)
    shown = vm.inspect("metal")["Disks"][1]  # type: ignore[index]
    assert (shown["Device"], shown["Size"], shown["ReadOnly"]) == (str(link), 8 << 20, False)
    assert f'"filename": "{link}"' in vm.run("vm", "inspect", "--qemu", "metal")
    vm.run("vm", "start", "metal")
    vm.ready("metal")
    assert not is_free(device)
    assert "host" in console(vm, "metal", "head -c 4 /dev/vdb; echo re''ad", "read")
    console(vm, "metal", "printf guest | dd of=/dev/vdb conv=notrunc,fsync 2>/dev/null; echo writ''ten", "written")
    assert vm.run("vm", "device", "add", "metal", "--device", f"{second}:ro") == "disk2\n"
    wait = "until [ -e /sys/block/vdc ]; do sleep 0.1; done; echo r''o=$(cat /sys/block/vdc/ro) se''en"
    assert "ro=1 " in console(vm, "metal", wait, "seen")
    assert f'"filename": "{second}"' in vm.run("vm", "inspect", "--qemu", "metal"), "what was plugged in as well"
    vm.daemon.restart_killed()
    assert not is_free(device) and not is_free(second), "the machine has them, whatever the daemon does"
    refused = {
        "be saved": ["save", "metal"],
        "have a snapshot with its memory": ["snapshot", "create", "metal", "one"],
        "move": ["migrate", "metal", vm.daemon.address],
    }
    for what, words in refused.items():
        assert f"metal has {link} of this host, and cannot {what}" in vm.run("vm", *words, code=1)
    assert "is as large as it is" in vm.run("vm", "update", "metal", "--disk", "disk1=1g", code=1)
    assert vm.run("vm", "device", "rm", "metal", "--device", second) == f"{second}\n"
    assert is_free(second) and not is_free(device)
    vm.run("vm", "stop", "-t", str(LIMIT), "metal")
    assert is_free(device) and beginning(device).startswith(b"guest\0") and beginning(second).startswith(b"host\0")
    for words in (["clone", "metal"], ["export", "metal", "-o", str(tmp_path / "metal.tar")]):
        assert f"metal has {link} of this host" in vm.run("vm", *words, code=1)
    vm.run("vm", "snapshot", "create", "metal", "one")
    vm.run("vm", "snapshot", "revert", "metal", "one")
    assert beginning(device).startswith(b"guest\0"), "it is no part of a snapshot"
    vm.run("vm", "rm", "-v", "metal")


def test_a_device_that_cannot_be_one(vm: Vm, device: str, tmp_path: Path) -> None:
    """One sentence each, and nothing is left."""
    file = tmp_path / "file"
    file.write_bytes(bytes(4096))
    wrong = {
        "/dev/nothing": "there is no device /dev/nothing",
        "/dev/null": "/dev/null is no block device",
        str(file): f"{file} is no block device",
        "sdb": "invalid device 'sdb'",
    }
    for path, message in wrong.items():
        assert message in vm.run("vm", "create", "bad", "--disk", "1m", "--device", path, code=1)
    for words in (["--disk", f"device={device},size=1g"], ["--disk", f"device={device},volume=x"]):
        assert "and not both" in vm.run("vm", "create", "bad", *words, code=1)
    twice = ["--device", device, "--device", device]
    assert "is in use by this host" in vm.run("vm", "create", "bad", *twice, code=1)
    vm.create("plain", "--disk", "1m")
    subprocess.run(["mkfs.ext4", "-q", device], check=True)
    place = tmp_path / "mounted"
    place.mkdir()
    with mounted(device, place):
        for access in ("", ":ro"):
            assert "is in use by this host" in vm.run("vm", "create", "bad", "--device", device + access, code=1)
        assert "is in use by this host" in vm.run("vm", "device", "add", "plain", "--device", device, code=1)
    assert vm.run("vm", "device", "add", "plain", "--device", device) == "disk1\n"
    assert "in use by machine plain" in vm.run("vm", "device", "add", "plain", "--device", device, code=1)
    with mounted(device, place):
        assert "is in use by this host" in vm.run("vm", "start", "plain", code=1)
        vm.run("vm", "snapshot", "create", "plain", "without")  # by a QEMU that has no device of the host
        vm.run("vm", "snapshot", "rm", "plain", "without")
    assert vm.inspect("plain")["State"]["Status"] == "created"  # type: ignore[index]
    vm.run("vm", "device", "rm", "plain", "--disk", "disk1")
    vm.run("vm", "rm", "-v", "plain")


def test_others_of_this_host(vm: Vm) -> None:
    """What this machine lacks is said, and nothing is left; there is no device of these addresses anywhere."""
    wrong = {
        "pci=ffff:ff:1f.7": "there is no PCI device ffff:ff:1f.7 on this host",
        "pci=01:00": 'no device of a host: "pci=01:00"; there are pci=0000:01:00.0, mdev=UUID',
        "mdev=ffffffff-ffff-ffff-ffff-ffffffffffff": "there is no mediated device ffffffff-ffff-ffff-ffff-ffffffffffff",
        "usb=ffff:ffff": "there is no USB device ffff:ffff on this host",
        "usb=": "invalid device 'usb='",
    }
    vm.create("plain", "--disk", "1m")
    for device, message in wrong.items():
        assert message in vm.run("vm", "create", "bad", "--disk", "1m", "--device", device, code=1)
        assert message in vm.run("vm", "device", "add", "plain", "--device", device, code=1)
    assert "has no device usb=3.5" in vm.run("vm", "device", "rm", "plain", "--device", "usb=3.5", code=1)
    assert vm.inspect("plain")["Devices"] == []
    vm.run("vm", "rm", "-v", "plain")
