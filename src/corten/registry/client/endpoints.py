"""Where a registry is and whether it may be spoken to without TLS. Never decided by what answers: a registry that is
neither on this machine nor configured as insecure is spoken to by verified TLS or not at all (CVE-2014-5277)."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from corten.errors import Invalid
from corten.spec.reference import DEFAULT_DOMAIN

_HUB = "registry-1.docker.io"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`schemes` in the order to try: more than one only for a registry that was configured as insecure.

    `verify` False accepts any certificate (configured as insecure, again).
    """

    host: str
    schemes: tuple[str, ...]
    verify: bool

    @property
    def insecure(self) -> bool:
        return "http" in self.schemes


class Endpoints:
    """`insecure` holds hosts, `host:port`s and networks in CIDR form, as dockerd's --insecure-registry."""

    def __init__(self, insecure: Sequence[str] = ()) -> None:
        self._hosts: set[str] = set()
        self._networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        for entry in insecure:
            if "/" in entry and "://" not in entry:
                try:
                    self._networks.append(ipaddress.ip_network(entry, strict=False))
                except ValueError as error:
                    raise Invalid(f"insecure registry {entry!r} is no network: {error}") from error
            else:
                self._hosts.add(entry.rpartition("://")[2].rstrip("/").lower())

    def find(self, domain: str) -> Endpoint:
        """The endpoint of a reference's domain."""
        host = _HUB if domain == DEFAULT_DOMAIN else domain
        name = host_name(host)
        if self._configured(host.lower(), name):
            return Endpoint(host, ("https", "http"), False)
        if is_loopback(name):
            return Endpoint(host, ("http",), True)
        return Endpoint(host, ("https",), True)

    def _configured(self, host: str, name: str) -> bool:
        if host in self._hosts or name in self._hosts:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return any(address in network for network in self._networks)


def host_name(host: str) -> str:
    """`host` without its port and brackets, lower case."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def is_loopback(name: str) -> bool:
    """localhost, 127.0.0.0/8 or ::1. By the name as written: what a DNS server says about other names is not asked."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
