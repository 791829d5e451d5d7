"""Docker's request to create a network, as a definition."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

from corten.errors import Forbidden, Invalid, NotFound, Unavailable
from corten.network.definition import PREDEFINED, Definition, Range, parse_address, parse_subnet
from corten.network.driver import Driver
from corten.spec.docker.networking import IPAM, ConfigReference, IPAMConfig, NetworkCreate

_NO_SWARM = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm '
    "and try again."
)


def definition_of(
    request: NetworkCreate,
    id: str,
    created: str,
    drivers: Mapping[str, Driver],
    configuration: Callable[[str], Definition],
    default_options: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
) -> Definition:
    """Docker's NetworkCreateRequest, checked as far as that goes without knowing other networks.

    `default_options` are those of the daemon's configuration, by driver. `configuration` finds the network of
    ConfigFrom (NotFound). Forbidden for a predefined name, NotFound for a driver that is not there, Unavailable for one
    of a swarm, Invalid, Unsupported.
    """
    name = request.name
    if not name.strip() or not name.isprintable() or len(name) > 255:
        raise Invalid(f"invalid network name: {name!r}")
    if name in PREDEFINED:
        raise Forbidden(f"operation is not permitted on predefined {name} network")
    _check_configuration(request)
    driver = "null" if request.config_only else (request.driver or "bridge")
    _check_driver(driver, drivers, request)
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
        options={**default_options.get(driver, {}), **(request.options or {})},
        labels=dict(request.labels or {}),
        ipam_options=ipam.options,
        ranges=tuple(_range(entry) for entry in ipam.config or [] if vars(entry)),
        config_only=request.config_only,
    )
    made = replace(made, user_ranges=any(r.subnet and made.has(r.version) for r in made.ranges))
    source = (request.config_from or ConfigReference()).network
    if source:
        made = _configured(made, configuration(source))
    _check(made)
    drivers[driver].check(made)
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


def _check_driver(driver: str, drivers: Mapping[str, Driver], request: NetworkCreate) -> None:
    if driver in drivers and drivers[driver].predefined_only and not request.config_only:
        raise Forbidden(f'only one instance of "{driver}" network is allowed')
    if driver == "overlay" or request.ingress or request.scope == "swarm":
        raise Unavailable(_NO_SWARM)
    if driver not in drivers:
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
        if found and not made.has(version):
            if version == 4:
                raise Invalid(f"subnet {found[0].subnet} was given, and IPv4 is not enabled for the network")
            continue  # dockerd takes subnets of IPv6 without EnableIPv6, shows them, and uses them for nothing
        if len(found) > 1:
            raise Invalid(f"{made.driver} networks have one IPv{version} subnet, {len(found)} were given")
        for one in found:
            one.pool()  # its parts fit together
