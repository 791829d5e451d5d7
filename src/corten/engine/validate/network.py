"""Ports, names, addresses and network modes of a create request."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Any

from corten.engine.oci.namespaces import joins, own_network
from corten.engine.validate.text import check_word
from corten.errors import Invalid
from corten.network import rate

_PROTOCOLS = frozenset({"tcp", "udp", "sctp"})
_MAC = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}", re.ASCII)
_PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", re.ASCII)


def check_network(config: Mapping[str, Any], host: Mapping[str, Any], networking: Mapping[str, Any]) -> list[str]:
    """Invalid, or the warnings."""
    mode = host.get("NetworkMode") or ""
    check_word("network mode", mode)
    for name, endpoint in (networking.get("EndpointsConfig") or {}).items():
        check_word("network", name)
        check_endpoint(endpoint or {})
    for port in config.get("ExposedPorts") or {}:
        _check_port(port)
    check_bindings(host.get("PortBindings") or {})
    _check_resolver(host)
    _check_mode(config, host, mode)
    if rate.parse(host.get("NetRate") or "") != rate.Rate() and not own_network(host):
        raise Invalid("conflicting options: net rate and a network that is not the container's own")
    if mode == "host" and host.get("PortBindings"):
        return ["Published ports are discarded when using host network mode"]
    return []


def check_endpoint(endpoint: Mapping[str, Any]) -> None:
    """Addresses and names of one EndpointSettings; also for POST /networks/ID/connect."""
    ipam = endpoint.get("IPAMConfig") or {}
    for key, version in (("IPv4Address", 4), ("IPv6Address", 6)):
        text = ipam.get(key)
        if text and _ip_version(text) != version:
            raise Invalid(f"invalid IPv{version} address: {text}")
    for text in ipam.get("LinkLocalIPs") or ():
        if not _ip_version(text):
            raise Invalid(f"invalid link-local IP address: {text}")
    check_mac(endpoint.get("MacAddress") or "")
    for alias in endpoint.get("Aliases") or ():
        check_word("alias", alias)


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


def port_range(text: str) -> tuple[int, int]:
    match = _PORTS.fullmatch(text)
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
    if not first <= last <= 65535:
        raise Invalid(f'invalid port specification: "{text}"')
    return first, last


def _check_port(text: str) -> None:
    parse_port(text)


def check_bindings(bindings: Mapping[str, Any]) -> None:
    """A PortMap. Invalid."""
    total = 0
    for port, places in bindings.items():
        parse_port(port)
        for place in places or ():
            total += 1
            _check_binding(place or {})
    if total > 65_536:
        raise Invalid(f"too many published ports: {total}")


def _check_binding(place: Mapping[str, Any]) -> None:
    text, address = place.get("HostPort") or "", place.get("HostIp") or ""
    if text:
        port_range(text)
    if address and not _ip_version(address.strip("[]")):
        raise Invalid(f'invalid IP address in port binding: "{address}"')


def _check_resolver(host: Mapping[str, Any]) -> None:
    """These end up as lines of files, so nothing that ends a word or a line may be in them (ESC-14)."""
    for address in host.get("Dns") or ():
        if not _ip_version(address):
            raise Invalid(f"invalid DNS server address: {address}")
    for noun, key in (("DNS search domain", "DnsSearch"), ("DNS option", "DnsOptions")):
        for text in host.get(key) or ():
            check_word(noun, text)
    for text in host.get("ExtraHosts") or ():
        _check_extra_host(text)


def _check_extra_host(text: str) -> None:
    name, colon, address = text.partition(":")
    if not colon or not name:
        raise Invalid(f'bad format for add-host: "{text}"')
    check_word("host in add-host", name)
    if address != "host-gateway" and not _ip_version(address.removeprefix("[").removesuffix("]")):
        raise Invalid(f'invalid IP address in add-host: "{address}"')


def _check_mode(config: Mapping[str, Any], host: Mapping[str, Any], mode: str) -> None:
    joined = mode.startswith("container:")
    if joined and not joins(mode):
        raise Invalid("Invalid network mode: invalid container format container:<name|id>")
    if host.get("UTSMode") == "host" and config.get("Hostname"):
        raise Invalid("conflicting options: hostname and the UTS mode")
    if mode in ("host",) or joined:
        _refuse_beside(config, host, joined)


def _refuse_beside(config: Mapping[str, Any], host: Mapping[str, Any], joined: bool) -> None:
    kind = "container type network" if joined else "host type networking"
    publishing = "port publishing and the container type network mode"
    conflicts: Iterable[tuple[bool, object, str]] = (
        (False, host.get("Links"), f"{kind} can't be used with links. This would result in undefined behavior"),
        (True, config.get("Hostname"), "hostname and the network mode"),
        (True, host.get("Dns"), "dns and the network mode"),
        (True, host.get("ExtraHosts"), "custom host-to-IP mapping and the network mode"),
        (False, config.get("MacAddress"), "mac-address and the network mode"),
        (True, host.get("PortBindings"), publishing),
        (True, host.get("PublishAllPorts"), publishing),
        (True, config.get("ExposedPorts"), "port exposing and the container type network mode"),
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
