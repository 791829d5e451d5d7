"""A host's /sys and /dev on a disk, made up: as much of them as a look at devices needs."""

from __future__ import annotations

from pathlib import Path

MDEV = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"


class HostTree:
    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(exist_ok=True)

    def pci(self, address: str, driver: str = "vfio-pci", group: int = -1, kind: str = "0x020000") -> Path:
        """`group`: of the IOMMU, -1 for none."""
        place = self._made(f"sys/devices/pci0000:00/{address}", f"sys/bus/pci/devices/{address}")
        (place / "class").write_text(f"{kind}\n")
        if driver:
            self._link(place / "driver", f"sys/bus/pci/drivers/{driver}")
        self._group(place, group)
        return place

    def virtual(self, address: str, of: str, driver: str = "vfio-pci", group: int = -1) -> Path:
        """A virtual function."""
        place, physical = self.pci(address, driver, group), self.root / f"sys/devices/pci0000:00/{of}"
        (place / "physfn").symlink_to(physical)
        count = len(list(physical.glob("virtfn*")))
        (physical / f"virtfn{count}").symlink_to(place)
        (physical / "sriov_numvfs").write_text(f"{count + 1}\n")
        return place

    def mdev(self, uuid: str = MDEV, group: int = -1, api: str = "vfio-pci") -> Path:
        place = self._made(f"sys/devices/pci0000:00/0000:00:02.0/{uuid}", f"sys/bus/mdev/devices/{uuid}")
        (place / "mdev_type").mkdir()
        (place / "mdev_type/device_api").write_text(f"{api}\n")
        self._group(place, group)
        return place

    def usb(self, name: str, bus: int, number: int, ids: str, kind: str = "00") -> Path:
        place = self._made(f"sys/devices/pci0000:00/0000:00:14.0/usb{bus}/{name}", f"sys/bus/usb/devices/{name}")
        vendor, _, product = ids.partition(":")
        values = {"busnum": bus, "devnum": number, "idVendor": vendor, "idProduct": product, "bDeviceClass": kind}
        for attribute, value in values.items():
            (place / attribute).write_text(f"{value}\n")
        self._made(f"{place.relative_to(self.root)}/{name}:1.0", f"sys/bus/usb/devices/{name}:1.0")
        file = self.root / f"dev/bus/usb/{bus:03}/{number:03}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        return place

    def vfio(self, *groups: int) -> None:
        """The kernel's module, and its files of these groups."""
        (self.root / "dev/vfio").mkdir(parents=True, exist_ok=True)
        for name in ("vfio", *map(str, groups)):
            (self.root / "dev/vfio" / name).touch()

    def _group(self, place: Path, group: int) -> None:
        if group >= 0:
            self._link(place / "iommu_group", f"sys/kernel/iommu_groups/{group}")
            members = self.root / f"sys/kernel/iommu_groups/{group}/devices"
            members.mkdir(exist_ok=True)
            (members / place.name).symlink_to(place)

    def _made(self, path: str, link: str) -> Path:
        place = self.root / path
        place.mkdir(parents=True)
        (self.root / link).parent.mkdir(parents=True, exist_ok=True)
        (self.root / link).symlink_to(place)
        return place

    def _link(self, link: Path, target: str) -> None:
        (self.root / target).mkdir(parents=True, exist_ok=True)
        link.symlink_to(self.root / target)
