"""What a network is: the stored record, made from Docker's create request and rendered in Docker's shape."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace

from corten.errors import Forbidden, Invalid, NotFound, Unavailable, Unsupported
from corten.network.ipam import IPAddress, IPNetwork, Subnet
from corten.spec.docker.networking import IPAM, ConfigReference, IPAMConfig, NetworkCreate
from corten.spec.json import Json
from corten.units.booleans import parse_bool

PREDEFINED = ("bridge", "host", "none")
STACKED = ("macvlan", "ipvlan")
DRIVERS = ("bridge", "host", "null", *STACKED)
MACVLAN_MODES = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}  # linux/if_link.h
IPVLAN_MODES = {"l2": 0, "l3": 1, "l3s": 2}

BRIDGE_NAME = "com.docker.network.bridge.name"
DEFAULT_BRIDGE = "com.docker.network.bridge.default_bridge"
ICC = "com.docker.network.bridge.enable_icc"
MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"
HOST_BINDING = "com.docker.network.bridge.host_binding_ipv4"
MTU = "com.docker.network.driver.mtu"
INTERFACE_PREFIX = "com.docker.network.container_iface_prefix"
INHIBIT_IPV4 = "com.docker.network.bridge.inhibit_ipv4"
GATEWAY_MODE = "com.docker.network.bridge.gateway_mode_ipv"  # and the family's number
GATEWAY_MODES = ("nat", "nat-unprotected", "routed", "isolated")

_NO_SWARM = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm '
    "and try again."
)


@dataclass(frozen=True, slots=True)
class Range:
    """One entry of IPAM.Config. Texts; empty where the client left the choice to us."""

    subnet: str = ""
    ip_range: str = ""
    gateway: str = ""
    auxiliary: dict[str, str] = field(default_factory=dict)

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

    def wire(self) -> Json:
        found: Json = {"Subnet": self.subnet}
        if self.ip_range:
            found["IPRange"] = self.ip_range
        if self.gateway:
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
        known = {f.name for f in fields(cls)}
        values = {key: value for key, value in record.items() if key in known}
        values["ranges"] = tuple(Range(**r) for r in record.get("ranges", ()))
        return cls(**values)

    @property
    def predefined(self) -> bool:
        return self.name in PREDEFINED

    @property
    def default_bridge(self) -> bool:
        return self.name == "bridge"

    @property
    def bridge(self) -> str:
        """The device's name. Docker's scheme, so that people recognise it."""
        return self.options.get(BRIDGE_NAME) or f"br-{self.id[:12]}"

    @property
    def stacked(self) -> bool:
        """Its containers have devices on top of one of the host's."""
        return self.driver in STACKED

    @property
    def parent(self) -> str:
        """Of a stacked network. Docker's name for one that is the network's own."""
        return self.options.get("parent") or f"dm-{self.id[:12]}"

    @property
    def own_parent(self) -> bool:
        return not self.options.get("parent")

    @property
    def mode(self) -> str:
        """Of a stacked network. Invalid for one that its driver does not have."""
        modes, default = (MACVLAN_MODES, "bridge") if self.driver == "macvlan" else (IPVLAN_MODES, "l2")
        mode = self.options.get(f"{self.driver}_mode") or default
        if mode not in modes:
            raise Invalid(f"unknown {self.driver} mode {mode!r}: one of {', '.join(modes)} is needed")
        return mode

    @property
    def device(self) -> str:
        """The device of this host that the network is about: its bridge, or the parent."""
        return self.parent if self.stacked else self.bridge

    @property
    def icc(self) -> bool:
        return truth(self.options, ICC, True)

    @property
    def masquerade(self) -> bool:
        return truth(self.options, MASQUERADE, True)

    def gateway_mode(self, version: int) -> str:
        """How a family's packets get in and out. Invalid for one that there is not.

        nat              as the host's, and in by published ports
        nat-unprotected  the same, and in by the container's own address as well
        routed           nothing is translated; in by the container's own address, to published ports
        isolated         not even this host has an address in it
        """
        mode = self.options.get(f"{GATEWAY_MODE}{version}") or "nat"
        if mode not in GATEWAY_MODES:
            raise Invalid(f"unknown gateway mode {mode}")
        if mode == "isolated" and not self.internal:
            raise Invalid("gateway mode 'isolated' can only be used for an internal network")
        return mode

    def on_bridge(self, version: int) -> bool:
        """The host has the gateway's address of that family."""
        inhibited = version == 4 and truth(self.options, INHIBIT_IPV4, False)
        return self.gateway_mode(version) != "isolated" and not inhibited

    @property
    def mtu(self) -> int:
        """Bytes; 0 leaves it to the kernel."""
        text = self.options.get(MTU, "0")
        if not text.isdigit() or not (text == "0" or 68 <= int(text) <= 65535):
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


def truth(options: Mapping[str, str], key: str, default: bool) -> bool:
    """An option that is a yes or no. Invalid for other words."""
    text = options.get(key, "")
    try:
        return parse_bool(text) if text else default
    except ValueError:
        raise Invalid(f"invalid value {text!r} for option {key}: true or false is needed") from None


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


def from_request(
    request: NetworkCreate, id: str, created: str, configuration: Callable[[str], Definition] | None = None
) -> Definition:
    """Docker's NetworkCreateRequest, checked as far as that goes without knowing other networks.

    `configuration` finds the network of ConfigFrom (NotFound). Forbidden for a predefined name, NotFound for a driver
    that is not there, Unavailable for one of a swarm, Invalid, Unsupported.
    """
    name = request.name
    if not name.strip() or not name.isprintable() or len(name) > 255:
        raise Invalid(f"invalid network name: {name!r}")
    if name in PREDEFINED:
        raise Forbidden(f"operation is not permitted on predefined {name} network")
    _check_configuration(request)
    driver = "null" if request.config_only else (request.driver or "bridge")
    _check_driver(driver, request)
    ipam = request.ipam or IPAM()
    if (ipam.driver or "default") != "default":
        raise NotFound(f"could not find plugin {ipam.driver} in v1 plugin registry: plugin not found")
    made = Definition(
        id=id,
        name=name,
        created=created,
        driver=driver,
        internal=request.internal,
        attachable=request.attachable,
        ipv4=request.enable_ipv4 is not False,
        ipv6=bool(request.enable_ipv6),
        options=dict(request.options or {}),
        labels=dict(request.labels or {}),
        ipam_options=ipam.options or None,
        ranges=tuple(_range(entry) for entry in ipam.config or [] if vars(entry)),
        user_ranges=any(entry.subnet for entry in ipam.config or []),
        config_only=request.config_only,
    )
    source = (request.config_from or ConfigReference()).network
    if source and configuration is not None:
        made = _configured(made, configuration(source))
    _check(made)
    return made


def _configured(made: Definition, source: Definition) -> Definition:
    """With everything that a configuration network is there for."""
    return replace(
        made,
        config_from=source.name,
        ipv4=source.ipv4,
        ipv6=source.ipv6,
        options=source.options,
        labels=source.labels,
        ipam_options=source.ipam_options,
        ranges=source.ranges,
        user_ranges=source.user_ranges,
    )


def _check_configuration(request: NetworkCreate) -> None:
    """Docker's rules for ConfigOnly and ConfigFrom. Forbidden."""
    only, source = request.config_only, (request.config_from or ConfigReference()).network
    if only and (request.ingress or request.internal or request.attachable or request.scope):
        raise Forbidden(
            "configuration network can only contain network specific fields. Network operator fields like "
            "[ ingress | internal | attachable | scope ] are not supported."
        )
    if only and source:
        raise Forbidden("a configuration network cannot depend on another configuration network")
    ipam = request.ipam or IPAM()
    own = ipam.config or ipam.options or request.enable_ipv6 or request.labels
    if source and own:
        raise Forbidden(
            "user specified configurations are not supported if the network depends on a configuration network"
        )
    if source and request.options:
        raise Forbidden("network driver options are not supported if the network depends on a configuration network")


def _check_driver(driver: str, request: NetworkCreate) -> None:
    if driver in ("host", "null") and not request.config_only:
        raise Forbidden(f'only one instance of "{driver}" network is allowed')
    if driver == "overlay" or request.ingress or request.scope == "swarm":
        raise Unavailable(_NO_SWARM)
    if driver not in DRIVERS:
        raise NotFound(f"could not find plugin {driver} in v1 plugin registry: plugin not found")


def _range(entry: IPAMConfig) -> Range:
    auxiliary = entry.auxiliary_addresses or entry.aux_address or {}
    network = parse_subnet(str(entry.subnet)) if entry.subnet else None
    if network is None and (entry.gateway or entry.ip_range):
        raise Invalid("every ip-range or gateway must have a corresponding subnet")
    range = parse_subnet(str(entry.ip_range)) if entry.ip_range else None
    gateway = str(entry.gateway).partition("/")[0]
    return Range(
        subnet=str(network) if network is not None else "",
        ip_range=str(range) if range is not None else "",
        gateway=str(parse_address(gateway, "gateway")) if gateway else "",
        auxiliary=dict(auxiliary),
    )


def _check(made: Definition) -> None:
    if not made.ipv4 and not made.ipv6:
        raise Invalid("IPv4 or IPv6 must be enabled")
    for version in (4, 6):
        found = [r for r in made.ranges if r.subnet and r.version == version]
        if len(found) > 1:
            raise Invalid(f"{made.driver} networks have one IPv{version} subnet, {len(found)} were given")
        if found and not (made.ipv4 if version == 4 else made.ipv6):
            raise Invalid(f"subnet {found[0].subnet} was given, and IPv{version} is not enabled for the network")
        for one in found:
            one.pool()  # its parts fit together
    if made.stacked:
        _check_stacked(made)
    if made.driver != "bridge":
        return
    if len(made.bridge) > 15 or "/" in made.bridge or made.bridge in (".", ".."):
        raise Invalid(f"invalid bridge name {made.bridge!r}: at most 15 bytes, no slash")
    if any(c.isspace() or not c.isprintable() for c in made.bridge):
        raise Invalid(f"invalid bridge name {made.bridge!r}")
    _ = (made.icc, made.masquerade, made.mtu, made.on_bridge(4), made.on_bridge(6))  # each raises Invalid


def _check_stacked(made: Definition) -> None:
    name = made.parent
    if len(name.encode()) > 15 or "/" in name or any(c.isspace() for c in name):
        raise Invalid(f"invalid parent {name!r}: the name of a device of this host is needed")
    if made.options.get("ipvlan_flag", "bridge") != "bridge":
        raise Unsupported(f"option ipvlan_flag={made.options['ipvlan_flag']}: only bridge is available")
    _ = (made.mode, made.mtu)  # each raises Invalid
