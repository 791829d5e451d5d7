"""Where a registry is and whether it may be spoken to without TLS. Never decided by what answers: a registry that is
neither on this machine nor configured as insecure is spoken to by verified TLS or not at all (CVE-2014-5277)."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from corten.errors import Invalid
from corten.spec.reference import DEFAULT_DOMAIN

_HUB = "registry-1.docker.io"
CERTIFICATES = (Path("/etc/corten/certs.d"), Path("/etc/docker/certs.d"))


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`schemes` in the order to try: more than one only for a registry that was configured as insecure.

    `verify` False accepts any certificate (configured as insecure, again).
    """

    host: str
    schemes: tuple[str, ...]
    verify: bool
    tls: ssl.SSLContext | None = None  # with the authorities and client certificates of a certs.d directory

    @property
    def insecure(self) -> bool:
        return "http" in self.schemes


class Endpoints:
    """`insecure` holds hosts, `host:port`s and networks in CIDR form, as dockerd's --insecure-registry; `certificates`
    directories with one directory for each `host:port` (certs.d)."""

    def __init__(self, insecure: Sequence[str] = (), certificates: Sequence[Path] = CERTIFICATES) -> None:
        self._certificates = tuple(certificates)
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
        """The endpoint of a reference's domain. Raises Invalid when its port is none."""
        host = _HUB if domain == DEFAULT_DOMAIN else domain
        port = host.rpartition("]")[2].partition(":")[2]
        if port and not 0 < int(port) < 1 << 16:
            raise Invalid(f"invalid registry address {domain!r}: there is no port {port}")
        name = host_name(host)
        tls = client_tls(self._certificates, (host, domain))
        if self._configured(host.lower(), name):
            return Endpoint(host, ("https", "http"), False)
        if is_loopback(name):
            return Endpoint(host, ("https",) if tls else ("http",), True, tls)
        return Endpoint(host, ("https",), True, tls)

    def mirror(self, host: str, scheme: str) -> Endpoint:
        """A mirror's URL has the scheme; one that is configured as insecure may have any certificate."""
        verify = not self._configured(host.lower(), host_name(host))
        return Endpoint(host, (scheme,), verify, client_tls(self._certificates, (host,)) if verify else None)

    def _configured(self, host: str, name: str) -> bool:
        if host in self._hosts or name in self._hosts:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return any(address in network for network in self._networks)


def client_tls(directories: Sequence[Path], hosts: Sequence[str]) -> ssl.SSLContext | None:
    """What HOST:PORT's directory says: *.crt are authorities besides the system's, *.cert with *.key our own
    certificate. None when there is no such directory. Raises Invalid with a file's path when it cannot be used."""
    for directory in (base / host for base in directories for host in hosts):
        if "/" in directory.name or not directory.is_dir():
            continue
        context = ssl.create_default_context()
        for file in sorted(directory.iterdir()):
            try:
                if file.suffix == ".crt":
                    context.load_verify_locations(cafile=file)
                elif file.suffix == ".cert":
                    context.load_cert_chain(file, file.with_suffix(".key"))
            except (ssl.SSLError, OSError) as error:
                raise Invalid(f"certificate {file} cannot be used: {error}") from error
        return context
    return None


def host_name(host: str) -> str:
    """`host` without its port and brackets, lower case."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def is_loopback(name: str) -> bool:
    """localhost, 127.0.0.0/8 or ::1. By the name as written: other names are not resolved."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
