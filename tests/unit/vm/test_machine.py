"""The command line is a function of the shape: the same devices for a template and its clones, nothing of a user."""

from __future__ import annotations

import json

import pytest

from corten.vm.contract import PORTS, Shape
from corten.vm.machine import DISKS, NETWORK, Descriptors, disk, disk_ports, interface, line, port

SHAPE = Shape("/usr/bin/qemu-system-x86_64", "tcg", 256 << 20, 4 << 30, 3)
BOOT = Descriptors(10, 11, 12, kernel=20, initramfs=21)
SAVED = Descriptors(10, 11, 12, memory=30, kernel=20, initramfs=21)
CLONE = Descriptors(10, 11, 12, memory=30)


def _options(given: Descriptors, shape: Shape = SHAPE) -> list[tuple[str, str]]:
    program, *arguments = line(shape, given).arguments
    assert program == shape.qemu
    found, index = [], 0
    while index < len(arguments):
        has_value = index + 1 < len(arguments) and not arguments[index + 1].startswith("-")
        found.append((arguments[index], arguments[index + 1] if has_value else ""))
        index += 1 + has_value
    return found


def _values(given: Descriptors, option: str, shape: Shape = SHAPE) -> list[str]:
    return [value for name, value in _options(given, shape) if name == option]


@pytest.mark.parametrize("given", [BOOT, SAVED, CLONE], ids=["boot", "saved", "clone"])
def test_devices_and_objects_are_json(given: Descriptors) -> None:
    for value in _values(given, "-device") + _values(given, "-object"):
        assert isinstance(json.loads(value), dict)


def test_template_and_clone_have_the_same_devices() -> None:
    empty = [json.dumps(disk(index, f"empty{index}")) for index in disk_ports()]  # a clone's are plugged in by QMP
    empty.append(json.dumps(interface(NETWORK)))
    assert [value for value in _values(SAVED, "-device") if value not in empty] == _values(CLONE, "-device") != []
    assert len(_values(SAVED, "-device")) == len(_values(CLONE, "-device")) + len(empty)
    for option in ("-machine", "-m", "-smp", "-cpu", "-accel", "-chardev", "-serial"):
        assert _values(SAVED, option) == _values(CLONE, option) != []


def test_every_device_has_a_place_of_its_own() -> None:
    devices = [json.loads(value) for value in _values(BOOT, "-device")]
    places = [device["addr"] for device in devices if "addr" in device]
    assert len(set(places)) == len(places)
    assert [device["id"] for device in devices if device["driver"] == "pcie-root-port"] == [
        port(index) for index in range(PORTS + DISKS + 2)
    ]
    assert {device["driver"] for device in devices} == {
        "virtio-serial-pci", "virtserialport", "virtio-balloon-pci", "virtio-rng-pci", "pcie-root-port",
        "virtio-mem-pci",
    }  # fmt: skip


def test_memory_is_shared_only_to_be_saved() -> None:
    def backend(given: Descriptors) -> dict[str, object]:
        found = [json.loads(value) for value in _values(given, "-object")]
        return next(one for one in found if one["id"] == "ram")

    assert backend(BOOT) == {"qom-type": "memory-backend-ram", "id": "ram", "size": 256 << 20}
    assert (backend(SAVED)["share"], backend(SAVED)["mem-path"]) == (True, "/proc/self/fd/6")
    assert (backend(CLONE)["share"], backend(CLONE)["mem-path"]) == (False, "/proc/self/fd/6")
    shared = line(SHAPE, CLONE, shared=True).arguments
    assert json.loads(shared[shared.index("-object") + 1])["share"] is True


def test_only_an_emulated_kernel_goes_without_what_holds_real_processors_back() -> None:
    (emulated,) = _values(BOOT, "-append")
    (real,) = _values(BOOT, "-append", SHAPE._replace(accelerator="kvm"))
    assert "mitigations=off" in emulated.split()
    assert "mitigations" not in real


def test_a_clone_has_no_kernel() -> None:
    assert _values(CLONE, "-kernel") == _values(CLONE, "-initrd") == _values(CLONE, "-append") == []
    assert _values(CLONE, "-incoming") == ["defer"]
    assert line(SHAPE, CLONE).descriptors == [10, 11, 12, 30]
    assert _values(SAVED, "-kernel") == ["/proc/self/fd/7"]
    assert _values(SAVED, "-initrd") == ["/proc/self/fd/8"]
    assert _values(SAVED, "-incoming") == []


def test_paths_are_descriptors_only() -> None:
    for given in (BOOT, SAVED, CLONE):
        for argument in line(SHAPE, given).arguments[1:]:
            for path in argument.replace('"', " ").replace("=", " ").replace(",", " ").split():
                assert not path.startswith("/") or path.startswith(("/proc/self/fd/", "/dev/fdset/")), path


def test_shapes() -> None:
    assert _values(BOOT, "-m") == ["size=268435456B,maxmem=4294967296B"]
    assert _values(BOOT, "-m", SHAPE._replace(max_memory=256 << 20)) == ["size=268435456B"]
    assert _values(BOOT, "-smp") == ["1,maxcpus=3"]
    assert _values(BOOT, "-smp", SHAPE._replace(cpus=2)) == ["2,maxcpus=3"]
    assert _values(BOOT, "-cpu") == ["max,-erms"]
    kvm = SHAPE._replace(accelerator="kvm")
    assert (_values(BOOT, "-cpu", kvm), _values(BOOT, "-accel", kvm)) == (["host"], ["kvm"])


def test_the_sandbox_is_on() -> None:
    for given in (BOOT, SAVED, CLONE):
        assert _values(given, "-sandbox") == ["on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"]
        assert ("-nodefaults", "") in _options(given)
