"""What sysfs says of a device of the host: one that a machine can have, or one sentence that says why not."""

from __future__ import annotations

from pathlib import Path

import pytest

from corten.errors import Conflict, CortenError, Invalid, NotFound, Unsupported
from corten.machines import host_devices
from corten.machines.host_devices import Found, find, parse
from unit.machines.host_tree import MDEV, HostTree

CARD, AUDIO, BRIDGE = "0000:01:00.0", "0000:01:00.1", "0000:00:01.0"


@pytest.fixture
def host(tmp_path: Path) -> HostTree:
    return HostTree(tmp_path / "host")


def problem(host: HostTree, kind: str, address: str) -> CortenError:
    with pytest.raises(CortenError) as raised:
        find(host.root, parse(kind, address))
    assert "\n" not in str(raised.value)
    return raised.value


@pytest.mark.parametrize(
    ("kind", "text", "address"),
    [
        ("pci", "01:00.0", CARD),
        ("pci", "0000:01:00.0", CARD),
        ("pci", "10000:E1:1f.7", "10000:e1:1f.7"),
        ("mdev", MDEV.upper(), MDEV),
        ("usb", "046D:C52B", "046d:c52b"),
        ("usb", "003.005", "3.5"),
    ],
)
def test_an_address_is_the_kernel_s(kind: str, text: str, address: str) -> None:
    assert (parse(kind, text).kind, parse(kind, text).address) == (kind, address)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("pci", ""), ("pci", "01:00"), ("pci", "01:20.0"), ("pci", "01:00.8"), ("pci", "../../etc"),
        ("pci", f"{CARD},x"),
        ("pci", f"{CARD}\n"), ("mdev", "83b8f4f2"), ("mdev", f"{MDEV}/.."), ("usb", "046d"), ("usb", "046d:c52b.1"),
        ("usb", "1.2.3"), ("usb", "\u0661.2"), ("scsi", "0:0:0:0"), ("", CARD),
    ],
)  # fmt: skip
def test_what_is_no_address(kind: str, text: str) -> None:
    with pytest.raises(Invalid, match="no device of a host"):
        parse(kind, text)


def test_a_card_with_all_of_its_group(host: HostTree) -> None:
    """A bridge, and what has no driver, leave memory alone."""
    host.pci(BRIDGE, "pcieport", 12, "0x060400")
    host.pci(CARD, "vfio-pci", 12)
    host.pci(AUDIO, "", 12)
    host.vfio(12)
    assert find(host.root, parse("pci", "01:00.0")) == Found("pci", CARD, 12)


def test_a_card_of_a_driver_made_for_it(host: HostTree) -> None:
    host.pci(CARD, "mlx5_vfio_pci", 3)
    host.vfio(3)
    assert find(host.root, parse("pci", CARD)).group == 3


def test_no_such_card(host: HostTree) -> None:
    error = problem(host, "pci", CARD)
    assert isinstance(error, NotFound) and str(error) == f"there is no PCI device {CARD} on this host"


def test_a_host_without_an_iommu(host: HostTree) -> None:
    host.pci(CARD)
    error = problem(host, "pci", CARD)
    assert isinstance(error, Unsupported) and "this host has no IOMMU, or it is off" in str(error)
    host.pci(AUDIO, "vfio-pci", 4)
    assert "is in no IOMMU group" in str(problem(host, "pci", CARD))


@pytest.mark.parametrize(("driver", "said"), [("nouveau", "the host's driver nouveau has"), ("", "has no driver")])
def test_a_card_that_is_not_bound_to_vfio(host: HostTree, driver: str, said: str) -> None:
    host.pci(CARD, driver, 12)
    error = problem(host, "pci", CARD)
    assert isinstance(error, Conflict) and said in str(error)
    assert str(error).endswith(f"is not bound to vfio-pci: driverctl set-override {CARD} vfio-pci")


def test_another_of_its_group(host: HostTree) -> None:
    host.pci(CARD, "vfio-pci", 12)
    host.pci(AUDIO, "snd_hda_intel", 12)
    error = problem(host, "pci", CARD)
    assert isinstance(error, Conflict)
    assert f"group 12 together with {AUDIO}, which the host's driver snd_hda_intel has" in str(error)
    assert str(error).endswith(f"driverctl set-override {AUDIO} vfio-pci")


def test_a_kernel_without_vfio(host: HostTree) -> None:
    host.pci(CARD, "vfio-pci", 12)
    error = problem(host, "pci", CARD)
    assert isinstance(error, Unsupported) and "/dev/vfio/vfio does not exist; try modprobe vfio-pci" in str(error)
    host.vfio()
    assert "/dev/vfio/12 does not exist" in str(problem(host, "pci", CARD))


def test_a_bridge(host: HostTree) -> None:
    host.pci(BRIDGE, "pcieport", 12, "0x060400")
    assert isinstance(problem(host, "pci", BRIDGE), Invalid)


def test_virtual_functions(host: HostTree) -> None:
    """One is a device like any other; what they are of stays with its driver."""
    host.pci(CARD, "ixgbe", 12)
    host.virtual("0000:01:10.0", CARD, "vfio-pci", 20)
    host.virtual("0000:01:10.2", CARD, "ixgbevf", 21)
    host.vfio(20, 21)
    assert find(host.root, parse("pci", "01:10.0")) == Found("pci", "0000:01:10.0", 20)
    assert "the host's driver ixgbevf has" in str(problem(host, "pci", "01:10.2"))
    error = problem(host, "pci", CARD)
    assert isinstance(error, Conflict)
    assert "has 2 virtual functions: give the machine one of these (0000:01:10.0)" in str(error)
    (host.root / f"sys/bus/pci/devices/{CARD}/driver").unlink()
    (host.root / f"sys/bus/pci/devices/{CARD}/driver").symlink_to(host.root / "sys/bus/pci/drivers/vfio-pci")
    error = problem(host, "pci", "01:10.0")
    assert isinstance(error, Conflict) and f"a virtual function of {CARD}, which is bound to vfio-pci" in str(error)


def test_mediated_devices(host: HostTree) -> None:
    assert isinstance(problem(host, "mdev", MDEV), NotFound)
    place = host.mdev(group=30)
    assert isinstance(problem(host, "mdev", MDEV), Unsupported)
    host.vfio(30)
    assert find(host.root, parse("mdev", MDEV)) == Found("mdev", MDEV, 30)
    (place / "mdev_type/device_api").write_text("vfio-ccw\n")
    error = problem(host, "mdev", MDEV)
    assert isinstance(error, Invalid) and "a device of vfio-ccw, and not of vfio-pci" in str(error)


def test_usb_devices(host: HostTree) -> None:
    assert isinstance(problem(host, "usb", "046d:c52b"), NotFound), "a host without USB"
    host.usb("usb3", 3, 1, "1d6b:0002", "09")
    host.usb("3-1.2", 3, 5, "046d:c52b")
    for address in ("046d:c52b", "3.5"):
        assert find(host.root, parse("usb", address)) == Found("usb", address, -1, "/dev/bus/usb/003/005")
    assert isinstance(problem(host, "usb", "3.6"), NotFound)
    error = problem(host, "usb", "1d6b:0002")
    assert isinstance(error, Invalid) and "is a hub" in str(error)
    host.usb("3-2", 3, 9, "046d:c52b")
    error = problem(host, "usb", "046d:c52b")
    assert isinstance(error, Conflict) and "2 USB devices 046d:c52b: say which one (usb=3.5, usb=3.9)" in str(error)


def test_a_usb_disk_that_the_host_uses(host: HostTree, monkeypatch: pytest.MonkeyPatch) -> None:
    place = host.usb("3-1", 3, 5, "0781:5567")
    (place / "3-1:1.0/host6/target6:0:0/6:0:0:0/block/sdb/sdb1").mkdir(parents=True)
    asked: list[Path] = []

    def mounted(path: Path) -> bool:
        asked.append(path)
        return True

    assert find(host.root, parse("usb", "3.5")).path
    monkeypatch.setattr(host_devices, "in_use", mounted)
    error = problem(host, "usb", "3.5")
    assert isinstance(error, Conflict) and "has disk sdb, which this host has mounted" in str(error)
    assert asked == [host.root / "dev/sdb"]
