"""Devices of the host that a container gets, and limits of their use; in container.Resources."""

from __future__ import annotations

from corten.spec.docker.struct import Struct, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.spec.docker.gotypes import Uint16, Uint64


class WeightDevice(Struct, go="blkiodev.WeightDevice", pointer=True):
    path: str = ""
    weight: Uint16 = 0


class ThrottleDevice(Struct, go="blkiodev.ThrottleDevice", pointer=True):
    """`rate` in bytes or operations a second."""

    path: str = ""
    rate: Uint64 = 0


class DeviceMapping(Struct, go="container.DeviceMapping"):
    path_on_host: str = ""
    path_in_container: str = ""
    cgroup_permissions: str = ""


class DeviceRequest(Struct, go="container.DeviceRequest"):
    driver: str = ""
    count: int = 0
    device_ids: list[str] | None = field(default=None, key="DeviceIDs")
    capabilities: list[list[str]] | None = None
    options: dict[str, str] | None = None
