"""Ports, names, addresses and network modes of a create request."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence

from corten.errors import Invalid
from corten.network import rate
from corten.plan.namespaces import joins, own_network
from corten.plan.validate.counts import LARGE
from corten.plan.validate.text import check_word
from corten.spec.docker.config import Config, NetworkingConfig
from corten.spec.docker.host_config import HostConfig, PortBinding
from corten.spec.docker.networking import EndpointIPAMConfig, EndpointSettings

_PROTOCOLS = frozenset({"tcp", "udp", "sctp"})
_MAC = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}", re.ASCII)
_MAC_AND_MODE = "mac-address and the network mode"
_PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", re.ASCII)


def check_network(config: Config, host: HostConfig, networking: NetworkingConfig) -> list[str]:
    """Check network settings; returns warnings. Raises Invalid for a bad value."""
    mode = host.network_mode
    check_word("network mode", mode)
    for name, endpoint in (networking.endpoints_config or {}).items():
        check_word("network", name)
        check_endpoint(endpoint)
    for port in config.exposed_ports or {}:
        _check_port(port)
    check_bindings(host.port_bindings or {})
    _check_resolver(host)
    _check_mode(config, host, mode)
    if rate.parse(host.net_rate) != rate.Rate() and not own_network(host):
        raise Invalid("conflicting options: net rate and a network that is not the container's own")
    if mode == "host" and host.port_bindings:
        return ["Published ports are discarded when using host network mode"]
    return []


def check_endpoint(endpoint: EndpointSettings) -> None:
    """Addresses and names of one EndpointSettings; also for POST /networks/ID/connect."""
    ipam = endpoint.ipam_config or EndpointIPAMConfig()
    for text, version in ((ipam.ipv4_address, 4), (ipam.ipv6_address, 6)):
        if text and _ip_version(text) != version:
            raise Invalid(f"invalid IPv{version} address: {text}")
    for text in ipam.link_local_ips or ():
        if not _ip_version(text):
            raise Invalid(f"invalid link-local IP address: {text}")
    check_mac(endpoint.mac_address)
    for alias in endpoint.aliases or ():
        check_word("alias", alias)
    for link in endpoint.links or ():
        parse_link(link)


def parse_link(text: str) -> tuple[str, str]:
    """(container, alias) of one --link: "db", "db:alias", or as inspect shows it, "/db:/app/alias". Invalid."""
    check_word("link", text)
    parts = text.split(":")
    if not text or len(parts) > 2 or not all(parts):
        raise Invalid(f"bad format for links: {text}" if text else "empty string specified for links")
    name, alias = parts[0], parts[-1]
    if name.startswith("/"):
        name, alias = name[1:], alias.rpartition("/")[2]
    if not name or not alias:
        raise Invalid(f"bad format for links: {text}")
    return name, alias


def check_mac(text: str) -> None:
    if text and not _MAC.fullmatch(text):
        raise Invalid(f"invalid MAC address: {text}")


def parse_port(text: str) -> tuple[int, int, str]:
    """(first, last, protocol) of "80", "80/tcp" or "8000-8010/udp"."""
    ports, _, protocol = text.partition("/")
    protocol = protocol.lower() or "tcp"
    if protocol not in _PROTOCOLS:
        raise Invalid(f'invalid proto: "{protocol}"')
    return *port_range(ports), protocol


def port_range(text: str, written: str = "") -> tuple[int, int]:
    """(first, last) of a number or a range; `written` is what the client calls it."""
    match = _PORTS.fullmatch(text)
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
    if not first <= last <= 65535:
        raise Invalid(f'invalid port specification: "{written or text}"')
    return first, last


def _check_port(text: str) -> None:
    parse_port(text)


def check_bindings(bindings: Mapping[str, Sequence[PortBinding]]) -> None:
    """Check a PortMap. Raises Invalid for a bad port or address."""
    total = 0
    for port, places in bindings.items():
        parse_port(port)
        for place in places:
            total += 1
            _check_binding(place)
    if total > LARGE["PortBindings"]:
        raise Invalid(f"too many published ports: {total}, at most {LARGE['PortBindings']} are taken")


def _check_binding(place: PortBinding) -> None:
    ports, address = place.host_range, place.host_ip
    if ports:
        port_range(ports, place.host_port)
    if address and not _ip_version(address.strip("[]")):
        raise Invalid(f'invalid IP address in port binding: "{address}"')


def _check_resolver(host: HostConfig) -> None:
    """These end up as lines of files, so nothing that ends a word or a line may be in them (ESC-14)."""
    for address in host.dns or ():
        if not _ip_version(address):
            raise Invalid(f"invalid DNS server address: {address}")
    for noun, texts in (("DNS search domain", host.dns_search), ("DNS option", host.dns_options)):
        for text in texts or ():
            check_word(noun, text)
    for text in host.extra_hosts or ():
        _check_extra_host(text)


def _check_extra_host(text: str) -> None:
    name, colon, address = text.partition(":")
    if not colon or not name:
        raise Invalid(f'bad format for add-host: "{text}"')
    check_word("host in add-host", name)
    if address != "host-gateway" and not _ip_version(address.removeprefix("[").removesuffix("]")):
        raise Invalid(f'invalid IP address in add-host: "{address}"')


def _check_mode(config: Config, host: HostConfig, mode: str) -> None:
    joined = mode == "container" or mode.startswith("container:")
    if joined and not joins(mode):
        raise Invalid("Invalid network mode: invalid container format container:<name|id>")
    if host.uts_mode == "host" and config.hostname:
        raise Invalid("conflicting options: hostname and the UTS mode")
    if mode == "host" or joined:
        _refuse_beside(config, host, joined)
    if config.network_disabled and (mode == "host" or joined):
        raise Invalid(f"conflicting options: a disabled network and the network mode {mode}")
    if mode == "none" and config.mac_address:
        raise Invalid(f"conflicting options: {_MAC_AND_MODE}")


def _refuse_beside(config: Config, host: HostConfig, joined: bool) -> None:
    kind = "container type network" if joined else "host type networking"
    publishing = "port publishing and the container type network mode"
    conflicts: Iterable[tuple[bool, object, str]] = (
        (False, host.links, f"{kind} can't be used with links. This would result in undefined behavior"),
        (True, config.hostname, "hostname and the network mode"),
        (True, host.dns, "dns and the network mode"),
        (True, host.extra_hosts, "custom host-to-IP mapping and the network mode"),
        (False, config.mac_address, _MAC_AND_MODE),
        (True, host.port_bindings, publishing),
        (True, host.publish_all_ports, publishing),
        (True, config.exposed_ports, "port exposing and the container type network mode"),
    )
    for only_joined, present, text in conflicts:
        if present and (joined or not only_joined):
            raise Invalid(f"conflicting options: {text}")


def _ip_version(text: str) -> int:
    """4, 6, or 0 for what is no address. A zone ("%eth0") is none: it may hold anything."""
    try:
        return 0 if "%" in text else ipaddress.ip_address(text).version
    except ValueError:
        return 0
