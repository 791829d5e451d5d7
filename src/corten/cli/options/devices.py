"""Devices: --device, cgroup rules, and the block-IO limits that name a device."""

from __future__ import annotations

from corten.cli.errors import CommandError
from corten.cli.options.texts import csv_fields
from corten.spec.docker.devices import DeviceMapping, DeviceRequest, ThrottleDevice, WeightDevice
from corten.spec.docker.struct import UNSET
from corten.units.sizes import parse_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def parse_gpus(text: str) -> DeviceRequest:
    """ "all", a number, or `device=0,capabilities=compute,...`, as Docker's client reads it. Raises ValueError."""
    found: dict[str, str] = {}
    for field in csv_fields(text):
        key, equals, value = field.partition("=")
        key, value = (key, value) if equals else ("count", key)
        if key in found:
            raise ValueError(f"gpu request key '{key}' can be specified only once")
        if key not in ("count", "driver", "device", "capabilities", "options"):
            raise ValueError(f"unexpected key '{key}' in '{field}'")
        found[key] = value
    ids = found["device"].split(",") if "device" in found else None
    return DeviceRequest(
        driver=found.get("driver", ""),
        count=_gpu_count(found["count"]) if "count" in found else 0 if ids else 1,
        device_ids=ids,
        capabilities=[[*filter(None, found.get("capabilities", "").split(",")), "gpu"]],
        options=dict(_pair(option) for option in csv_fields(found["options"])) if "options" in found else {},
    )


def _gpu_count(text: str) -> int:
    if text == "all":
        return -1
    try:
        return int(text)
    except ValueError:
        raise ValueError(f'invalid count ({text}): value must be either "all" or an integer') from None


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


def is_cdi(text: str) -> bool:
    """vendor.com/class=device"""
    kind, equals, name = text.partition("=")
    vendor, slash, device_class = kind.partition("/")
    return bool(equals and slash and name and vendor and device_class and not text.startswith("/"))


def devices(specs: Sequence[str], gpus: DeviceRequest | None) -> tuple[list[DeviceMapping], list[DeviceRequest]]:
    """(Devices, DeviceRequests): names of the Container Device Interface are requests.

    Raises CommandError for a bad one.
    """
    names = [spec for spec in specs if is_cdi(spec)]
    try:
        found = [device(spec) for spec in specs if not is_cdi(spec)]
    except ValueError as error:
        raise CommandError(str(error), 125) from None
    requests = [] if gpus is None else [gpus]
    if names:
        requests.append(DeviceRequest(driver="cdi", count=0, device_ids=names, capabilities=None, options=None))
    return found if specs else UNSET, requests or UNSET


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
