"""Devices: --device, cgroup rules, and the block-IO limits that name a device."""

from __future__ import annotations

from corten.cli.errors import CommandError
from corten.spec.docker.devices import DeviceMapping, DeviceRequest, ThrottleDevice, WeightDevice
from corten.spec.docker.struct import UNSET
from corten.units.sizes import parse_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def parse_gpus(text: str) -> str:
    raise ValueError("GPUs are not supported by Corten; give device nodes with --device instead")


def is_cdi(text: str) -> bool:
    """vendor.com/class=device"""
    kind, equals, name = text.partition("=")
    vendor, slash, device_class = kind.partition("/")
    return bool(equals and slash and name and vendor and device_class and not text.startswith("/"))


def devices(specs: Iterable[str]) -> tuple[list[DeviceMapping], list[DeviceRequest]]:
    """(Devices, DeviceRequests): names of the Container Device Interface are requests.

    Raises CommandError for a bad one.
    """
    names = [spec for spec in specs if is_cdi(spec)]
    try:
        found = [device(spec) for spec in specs if not is_cdi(spec)]
    except ValueError as error:
        raise CommandError(str(error), 125) from None
    request = DeviceRequest(driver="cdi", count=0, device_ids=names, capabilities=None, options=None)
    return found, [request] if names else UNSET


def device(text: str) -> DeviceMapping:
    """/dev/x[:/dev/y][:rwm]. Raises ValueError for what is not one."""
    parts = text.split(":")
    if len(parts) > 3:
        raise ValueError(f"bad format for path: {text}")
    source, target, mode = parts[0], parts[0], "rwm"
    if len(parts) == 2:
        if is_mode(parts[1]):
            mode = parts[1]
        else:
            target = parts[1]
    elif len(parts) == 3:
        target, mode = parts[1], parts[2]
        if not is_mode(mode):
            raise ValueError(f"bad mode specified: {mode}")
    for path in (source, target):
        if not path.startswith("/"):
            raise ValueError(f"{path} is not an absolute path")
    return DeviceMapping(path_on_host=source, path_in_container=target, cgroup_permissions=mode)


def is_mode(text: str) -> bool:
    return bool(text) and set(text) <= set("rwm") and len(set(text)) == len(text)


def parse_cgroup_rule(text: str) -> str:
    """ "c 1:3 rwm", "b 8:* r", "a *:* rwm" """
    parts = text.split(" ")
    if len(parts) == 3 and parts[0] in ("a", "b", "c") and 0 < len(parts[2]) <= 3 and set(parts[2]) <= set("rwm"):
        major, colon, minor = parts[1].partition(":")
        if colon and all(number == "*" or number.isdigit() for number in (major, minor)):
            return text
    raise ValueError(f"invalid device cgroup format '{text}'")


def _path_and_value(text: str) -> tuple[str, str]:
    path, colon, value = text.partition(":")
    if not colon or not path:
        raise ValueError(f"bad format: {text}")
    if not path.startswith("/dev/"):
        raise ValueError(f"bad format for device path: {text}")
    return path, value


def parse_weight(text: str) -> WeightDevice:
    path, value = _path_and_value(text)
    if not value.isdigit() or (int(value) != 0 and not 10 <= int(value) <= 1000):
        raise ValueError(f"invalid weight for device: {text}")
    return WeightDevice(path=path, weight=int(value))


def parse_bps(text: str) -> ThrottleDevice:
    path, value = _path_and_value(text)
    try:
        rate = parse_bytes(value)
    except ValueError:
        raise ValueError(
            f"invalid rate for device: {text}. The correct format is <device-path>:<number>[<unit>]. "
            "Number must be a positive integer. Unit is optional and can be kb, mb, or gb"
        ) from None
    return ThrottleDevice(path=path, rate=rate)


def parse_iops(text: str) -> ThrottleDevice:
    path, value = _path_and_value(text)
    if not value.isdigit():
        raise ValueError(
            f"invalid rate for device: {text}. The correct format is <device-path>:<number>. "
            "Number must be a positive integer"
        )
    return ThrottleDevice(path=path, rate=int(value))
