"""--network in both spellings, and the older flags that describe the first network's endpoint."""

from __future__ import annotations

from corten.cli.errors import CommandError
from corten.cli.options.texts import csv_fields, is_address
from corten.spec.docker.networking import EndpointIPAMConfig, EndpointSettings
from corten.spec.docker.struct import UNSET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.flags import Flags


class Attachment:
    """One --network: its name, and what was asked for."""

    __slots__ = ("endpoint", "name")

    def __init__(self, name: str, endpoint: EndpointSettings) -> None:
        self.name = name
        self.endpoint = endpoint


def parse_network(text: str) -> Attachment:
    """NAME, or name=NAME,alias=X,ip=A,ip6=A,link-local-ip=A,mac-address=M,driver-opt=K=V,gw-priority=N.

    Raises ValueError for a bad one.
    """
    if "=" not in text:
        return Attachment(text, EndpointSettings())
    network, endpoint = "", EndpointSettings()
    for field in csv_fields(text):
        key, equals, value = field.partition("=")
        if not equals or not key:
            raise ValueError(f"invalid field {field}")
        if key.strip().lower() == "name":
            network = value.strip()
        else:
            endpoint = _with(endpoint, key.strip().lower(), value.strip())
    if not network:
        raise ValueError("network name/id is not specified")
    return Attachment(network, endpoint)


def _with(endpoint: EndpointSettings, key: str, value: str) -> EndpointSettings:
    addresses = endpoint.ipam_config or EndpointIPAMConfig()
    match key:
        case "alias":
            return endpoint.replace(aliases=[*(endpoint.aliases or ()), value])
        case "ip":
            return endpoint.replace(ipam_config=addresses.replace(ipv4_address=_checked_address(value)))
        case "ip6":
            return endpoint.replace(ipam_config=addresses.replace(ipv6_address=_checked_address(value)))
        case "link-local-ip":
            local = [*(addresses.link_local_ips or ()), _checked_address(value)]
            return endpoint.replace(ipam_config=addresses.replace(link_local_ips=local))
        case "mac-address":
            return endpoint.replace(mac_address=checked_mac(value))
        case "driver-opt":
            name, equals, option = value.partition("=")
            if not equals or not name:
                raise ValueError("invalid key value pair format in driver options")
            return endpoint.replace(driver_opts={**(endpoint.driver_opts or {}), name.lower(): option})
        case "gw-priority":
            return endpoint.replace(gw_priority=_priority(value))
    raise ValueError(f"invalid field key {key}")


def _priority(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"invalid gw-priority: {text}") from None


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


def endpoints(flags: Flags) -> tuple[str, dict[str, EndpointSettings]]:
    """(NetworkMode, EndpointsConfig). CommandError when options contradict each other."""
    chosen = [*flags.value("network"), *flags.value("net")]
    first_options = _first_options(flags)
    chosen = chosen or [Attachment("default", EndpointSettings())]
    if first_options.aliases and not is_user_defined(chosen[0].name):
        raise CommandError("network-scoped aliases are only supported for user-defined networks", 125)
    kinds = {is_user_defined(one.name) for one in chosen}
    if len(kinds) > 1:
        raise CommandError(
            "conflicting options: cannot attach both user-defined and non-user-defined network-modes", 125
        )
    found: dict[str, EndpointSettings] = {}
    for one in chosen:
        if one.name in found:
            raise CommandError(f'network "{one.name}" is specified multiple times', 125)
        found[one.name] = one.endpoint if found else _merged(one, first_options)
    if len(chosen) == 1 and not found[chosen[0].name].given_json():
        return chosen[0].name, {}
    return chosen[0].name, found


def _first_options(flags: Flags) -> EndpointSettings:
    """The endpoint described by --network-alias, --ip, --ip6, --link, --link-local-ip and --mac-address."""
    mac = flags.text("mac-address")
    try:
        addresses = EndpointIPAMConfig(
            ipv4_address=_checked_address(flags.text("ip")) if flags.text("ip") else UNSET,
            ipv6_address=_checked_address(flags.text("ip6")) if flags.text("ip6") else UNSET,
            link_local_ips=flags.many("link-local-ip") or UNSET,
        )
        return EndpointSettings(
            aliases=flags.many("network-alias") + flags.many("net-alias") or UNSET,
            links=flags.many("link") or UNSET,
            ipam_config=addresses if addresses.given_json() else UNSET,
            mac_address=checked_mac(mac) if mac else UNSET,
        )
    except ValueError as error:
        raise CommandError(str(error), 125) from None


def _merged(one: Attachment, options: EndpointSettings) -> EndpointSettings:
    """The first network's endpoint, with the older flags' options; both for one thing contradict each other."""
    endpoint = one.endpoint
    if not is_user_defined(one.name):
        options = options.replace(links=UNSET)
    mine, theirs = endpoint.ipam_config or EndpointIPAMConfig(), options.ipam_config or EndpointIPAMConfig()
    twice = {
        "--network-alias and per-network alias": endpoint.aliases and options.aliases,
        "--mac-address and per-network MAC address": endpoint.mac_address and options.mac_address,
        "--ip and per-network IPv4 address": mine.ipv4_address and theirs.ipv4_address,
        "--ip6 and per-network IPv6 address": mine.ipv6_address and theirs.ipv6_address,
    }
    for what, both in twice.items():
        if both:
            raise CommandError(f"conflicting options: cannot specify both {what}", 125)
    addresses = mine.over(theirs)
    return endpoint.over(options).replace(ipam_config=addresses if addresses.given_json() else UNSET)
