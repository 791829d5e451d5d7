"""What a network is: the stored record, and how Docker's API shows it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

import msgspec

from corten.errors import Invalid
from corten.network import options
from corten.network.ipam import IPAddress, IPNetwork, Subnet
from corten.spec.json import Json

PREDEFINED = ("bridge", "host", "none")

_NUMBER = re.compile(r"[0-9]{1,5}\Z")


@dataclass(frozen=True, slots=True)
class Range:
    """One entry of IPAM.Config. Texts; empty where the client left the choice to us. An `implied` gateway is one
    that we chose in a subnet of the client's: as with dockerd the API shows such an entry as it was given."""

    subnet: str = ""
    ip_range: str = ""
    gateway: str = ""
    auxiliary: dict[str, str] = field(default_factory=dict)
    implied: bool = False

    @property
    def version(self) -> int:
        return 6 if ":" in (self.subnet or self.gateway or self.ip_range) else 4

    def pool(self) -> Subnet:
        """The allocator of this range, the gateway taken. Invalid when its parts do not fit together."""
        network = parse_subnet(self.subnet)
        return Subnet(
            network,
            parse_address(self.gateway, "gateway") if self.gateway else None,
            parse_subnet(self.ip_range) if self.ip_range else None,
            {name: parse_address(text, f"auxiliary address {name}") for name, text in self.auxiliary.items()},
        )

    def with_gateway(self, given: bool) -> Range:
        """With the gateway filled in; `given` says whether the subnet is the client's. Invalid."""
        return replace(self, gateway=str(self.pool().gateway), implied=self.implied or (given and not self.gateway))

    def wire(self) -> Json:
        found: Json = {"Subnet": self.subnet}
        if self.ip_range:
            found["IPRange"] = self.ip_range
        if self.gateway and not self.implied:
            found["Gateway"] = self.gateway
        if self.auxiliary:
            found["AuxiliaryAddresses"] = dict(self.auxiliary)
        return found


@dataclass(frozen=True, slots=True)
class Definition:
    """A network as it is stored. `created` is RFC 3339. `chosen` ranges have subnet and gateway filled in."""

    id: str
    name: str
    created: str
    driver: str = "bridge"
    internal: bool = False
    attachable: bool = False
    ipv4: bool = True
    ipv6: bool = False
    options: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    ipam_driver: str = "default"
    ipam_options: dict[str, str] | None = None
    ranges: tuple[Range, ...] = ()
    config_only: bool = False  # nothing but what another network's --config-from takes
    config_from: str = ""
    user_ranges: bool = False  # the client gave the subnets: only then it may give containers their addresses

    def to_json(self) -> Json:
        return asdict(self)

    @classmethod
    def from_json(cls, record: Json) -> Definition:
        """Raises msgspec.ValidationError."""
        return msgspec.convert(record, cls)

    @property
    def predefined(self) -> bool:
        return self.name in PREDEFINED

    @property
    def default_bridge(self) -> bool:
        return self.name == "bridge"

    def has(self, version: int) -> bool:
        """IPv4 (4) or IPv6 (6) is enabled: ranges of the other are shown, and used for nothing."""
        return self.ipv4 if version == 4 else self.ipv6

    @property
    def mtu(self) -> int:
        """Bytes; 0 leaves it to the kernel."""
        text = self.options.get(options.MTU, "0")
        if not _NUMBER.match(text) or not (text == "0" or 68 <= int(text) <= 65535):
            raise Invalid(f"invalid MTU {text!r}: a number from 68 to 65535 is needed")
        return int(text)

    def wire(self, containers: Mapping[str, Json]) -> Json:
        """Docker's Network."""
        return {
            "Name": self.name,
            "Id": self.id,
            "Created": self.created,
            "Scope": "local",
            "Driver": self.driver,
            "EnableIPv4": self.ipv4,
            "EnableIPv6": self.ipv6,
            "IPAM": {
                "Driver": self.ipam_driver,
                "Options": self.ipam_options,
                "Config": [r.wire() for r in self.ranges],
            },
            "Internal": self.internal,
            "Attachable": self.attachable,
            "Ingress": False,
            "ConfigFrom": {"Network": self.config_from},
            "ConfigOnly": self.config_only,
            "Containers": dict(containers),
            "Options": dict(self.options),
            "Labels": dict(self.labels),
        }


def parse_subnet(text: str) -> IPNetwork:
    """A subnet in CIDR notation, host bits cleared as Docker does. Invalid."""
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise Invalid(f"invalid CIDR address: {text!r}") from error
    if "/" not in text:
        raise Invalid(f"invalid CIDR address: {text!r} has no prefix length")
    return network


def parse_address(text: str, what: str = "address") -> IPAddress:
    try:
        return ipaddress.ip_address(text)
    except ValueError as error:
        raise Invalid(f"invalid {what}: {text!r} is not an IP address") from error
