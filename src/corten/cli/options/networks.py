"""--network in both spellings, and the older flags that describe the first network's endpoint."""

from __future__ import annotations

from corten.cli.errors import CommandError
from corten.cli.options.mounts import csv_fields
from corten.cli.options.texts import is_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corten.cli.flags import Flags

    Json = dict[str, Any]

ADDRESSES = {"ip": "IPv4Address", "ip6": "IPv6Address"}


class Attachment:
    """One --network: its name and the EndpointSettings that were asked for."""

    __slots__ = ("endpoint", "name")

    def __init__(self, name: str, endpoint: Json) -> None:
        self.name = name
        self.endpoint = endpoint


def parse_network(text: str) -> Attachment:
    """NAME, or name=NAME,alias=X,ip=A,ip6=A,link-local-ip=A,mac-address=M,driver-opt=K=V,gw-priority=N.

    Raises ValueError for another form.
    """
    attachment = Attachment("", {})
    if "=" not in text:
        attachment.name = text
        return attachment
    for field in csv_fields(text):
        key, equals, value = field.partition("=")
        if not equals or not key:
            raise ValueError(f"invalid field {field}")
        _take(attachment, key.strip().lower(), value.strip(), field)
    if not attachment.name:
        raise ValueError("network name/id is not specified")
    return attachment


def _take(attachment: Attachment, key: str, value: str, field: str) -> None:
    endpoint = attachment.endpoint
    if key == "name":
        attachment.name = value
    elif key == "alias":
        endpoint.setdefault("Aliases", []).append(value)
    elif key in ADDRESSES:
        endpoint.setdefault("IPAMConfig", {})[ADDRESSES[key]] = _checked_address(value)
    elif key == "link-local-ip":
        endpoint.setdefault("IPAMConfig", {}).setdefault("LinkLocalIPs", []).append(_checked_address(value))
    elif key == "mac-address":
        endpoint["MacAddress"] = checked_mac(value)
    elif key == "driver-opt":
        name, equals, option = value.partition("=")
        if not equals or not name:
            raise ValueError("invalid key value pair format in driver options")
        endpoint.setdefault("DriverOpts", {})[name.lower()] = option
    elif key == "gw-priority":
        try:
            endpoint["GwPriority"] = int(value)
        except ValueError:
            raise ValueError(f"invalid gw-priority: {value}") from None
    else:
        raise ValueError(f"invalid field key {key}")


def _checked_address(text: str) -> str:
    if not is_address(text):
        raise ValueError(f"invalid IP address: {text}")
    return text


def checked_mac(text: str) -> str:
    parts = text.replace("-", ":").split(":")
    if len(parts) != 6 or not all(len(part) == 2 and set(part.lower()) <= set("0123456789abcdef") for part in parts):
        raise ValueError(f"{text} is not a valid mac address")
    return text


def is_user_defined(name: str) -> bool:
    return name not in ("default", "bridge", "host", "none") and not name.startswith("container:")


def endpoints(flags: Flags) -> tuple[str, dict[str, Json]]:
    """(NetworkMode, EndpointsConfig). Raises CommandError when options contradict each other."""
    chosen = [*flags.value("network"), *flags.value("net")]
    first_options = _first_options(flags)
    chosen = chosen or [Attachment("default", {})]
    if first_options.get("Aliases") and not is_user_defined(chosen[0].name):
        raise CommandError("network-scoped aliases are only supported for user-defined networks", 125)
    kinds = {is_user_defined(one.name) for one in chosen}
    if len(kinds) > 1:
        raise CommandError(
            "conflicting options: cannot attach both user-defined and non-user-defined network-modes", 125
        )
    found: dict[str, Json] = {}
    for one in chosen:
        if one.name in found:
            raise CommandError(f'network "{one.name}" is specified multiple times', 125)
        found[one.name] = one.endpoint if found else _merged(one, first_options)
    if len(chosen) == 1 and not found[chosen[0].name]:
        return chosen[0].name, {}
    return chosen[0].name, found


def _first_options(flags: Flags) -> Json:
    """The endpoint described by --network-alias, --ip, --ip6, --link, --link-local-ip and --mac-address."""
    endpoint: Json = {}
    if aliases := flags.many("network-alias") + flags.many("net-alias"):
        endpoint["Aliases"] = aliases
    if links := flags.many("link"):
        endpoint["Links"] = links
    addresses: Json = {}
    for flag_name, field in ADDRESSES.items():
        if text := flags.text(flag_name):
            if not is_address(text):
                raise CommandError(f"invalid IP address: {text}", 125)
            addresses[field] = text
    if local := flags.many("link-local-ip"):
        addresses["LinkLocalIPs"] = local
    if addresses:
        endpoint["IPAMConfig"] = addresses
    if mac := flags.text("mac-address"):
        try:
            endpoint["MacAddress"] = checked_mac(mac)
        except ValueError as error:
            raise CommandError(str(error), 125) from None
    return endpoint


def _merged(one: Attachment, options: Json) -> Json:
    """The first network's endpoint, with the older flags' options; both for one thing contradict each other."""
    if options.get("Links") and not is_user_defined(one.name):
        options = {key: value for key, value in options.items() if key != "Links"}
    names = {
        "Aliases": "--network-alias and per-network alias",
        "MacAddress": "--mac-address and per-network MAC address",
    }
    for field, what in names.items():
        if field in one.endpoint and field in options:
            raise CommandError(f"conflicting options: cannot specify both {what}", 125)
    mine, theirs = one.endpoint.get("IPAMConfig", {}), options.get("IPAMConfig", {})
    for flag_name, field in ADDRESSES.items():
        if field in mine and field in theirs:
            what = f"--{flag_name} and per-network {'IPv4' if flag_name == 'ip' else 'IPv6'} address"
            raise CommandError(f"conflicting options: cannot specify both {what}", 125)
    merged = {**options, **one.endpoint}
    if mine or theirs:
        merged["IPAMConfig"] = {**theirs, **mine}
    return merged
