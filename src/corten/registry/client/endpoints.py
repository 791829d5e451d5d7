"""Where a registry is and whether it may be spoken to without TLS. Never decided by what answers: a registry that is
neither on this machine nor configured as insecure is spoken to by verified TLS or not at all (CVE-2014-5277).

One on this machine is asked by TLS first, whatever its certificate, and then without, as one that was configured as
insecure: by its name, its address, or because all addresses of its name lie in a network that was."""

from __future__ import annotations

import ipaddress
import ssl
import stat
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from corten.errors import Invalid
from corten.registry.client import lookups
from corten.spec.reference import DEFAULT_DOMAIN

_HUB = "registry-1.docker.io"
CERTIFICATES = (Path("/etc/corten/certs.d"), Path("/etc/docker/certs.d"))
_LARGEST = 4 << 20  # bytes of a file with certificates: those of all public authorities are 250 KB


Networks = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]
_EITHER = ("https", "http")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`schemes` in the order to try: more than one only for a registry on this machine or configured as insecure.

    `verify` False accepts any certificate (of these, again). `inside` is what takes its place when its name resolves
    into `networks`: see `settled`.
    """

    host: str
    schemes: tuple[str, ...]
    verify: bool
    tls: ssl.SSLContext | None = None  # with the authorities and client certificates of a certs.d directory
    networks: Networks = ()
    inside: Endpoint | None = None

    @property
    def insecure(self) -> bool:
        return "http" in self.schemes

    @property
    def is_settled(self) -> bool:
        """Whether nothing has to be found out before it is used."""
        return len(self.schemes) == 1 and self.inside is None


class Endpoints:
    """`insecure` holds hosts, `host:port`s and networks in CIDR form, as dockerd's --insecure-registry; `certificates`
    directories with one directory for each `host:port` (certs.d)."""

    def __init__(self, insecure: Sequence[str] = (), certificates: Sequence[Path] = CERTIFICATES) -> None:
        self._certificates = tuple(certificates)
        self._hosts: set[str] = set()
        networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        for entry in insecure:
            if "/" in entry and "://" not in entry:
                try:
                    networks.append(ipaddress.ip_network(entry, strict=False))
                except ValueError as error:
                    raise Invalid(f"insecure registry {entry!r} is no network: {error}") from error
            else:
                self._hosts.add(entry.rpartition("://")[2].rstrip("/").lower())
        self._networks: Networks = tuple(networks)

    def find(self, domain: str) -> Endpoint:
        """The endpoint of a reference's domain. Raises Invalid when its port is none."""
        host = _HUB if domain == DEFAULT_DOMAIN else domain
        port = host.rpartition("]")[2].partition(":")[2]
        if port and not 0 < int(port) < 1 << 16:
            raise Invalid(f"invalid registry address {domain!r}: there is no port {port}")
        name = host_name(host)
        tls = client_tls(self._certificates, (host, domain))
        if self._configured(host.lower(), name):
            return Endpoint(host, _EITHER, False)
        if is_loopback(name):
            return Endpoint(host, ("https",), True, tls) if tls else Endpoint(host, _EITHER, False)
        return self._by_address(Endpoint(host, ("https",), True, tls), Endpoint(host, _EITHER, False))

    def mirror(self, host: str, scheme: str) -> Endpoint:
        """A mirror's URL has the scheme; one on this machine, or configured as insecure, may have any certificate."""
        name, tls = host_name(host), client_tls(self._certificates, (host,))
        lax = Endpoint(host, (scheme,), False)
        if self._configured(host.lower(), name) or (is_loopback(name) and tls is None):
            return lax
        return self._by_address(Endpoint(host, (scheme,), True, tls), lax)

    def _by_address(self, found: Endpoint, lax: Endpoint) -> Endpoint:
        """`lax` if the name is found to resolve into a network that is configured as insecure."""
        named = self._networks and _address(host_name(found.host)) is None
        return replace(found, networks=self._networks, inside=lax) if named else found

    def _configured(self, host: str, name: str) -> bool:
        if host in self._hosts or name in self._hosts:
            return True
        address = _address(name)
        return address is not None and _lies_in(address, self._networks)


async def settled(endpoint: Endpoint) -> Endpoint:
    """The endpoint when its name has been looked up, if anything depends on its addresses: all of them have to lie in
    the networks."""
    if endpoint.inside is None:
        return endpoint
    found = await lookups.addresses(host_name(endpoint.host))
    if found and all(_lies_in(address, endpoint.networks) for address in found):
        return endpoint.inside
    return replace(endpoint, networks=(), inside=None)


def _lies_in(address: lookups.Address, networks: Networks) -> bool:
    return any(address in network for network in networks)


def _address(name: str) -> lookups.Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


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
                    context.load_verify_locations(cafile=_readable(file))
                elif file.suffix == ".cert":
                    key = _readable(file.with_suffix(".key"))
                    context.load_cert_chain(_readable(file), key, password=lambda: "")  # a daemon cannot ask for one
            except (ssl.SSLError, OSError) as error:
                raise Invalid(f"certificate {file} cannot be used: {error}") from error
        return context
    return None


def _readable(file: Path) -> Path:
    """OpenSSL opens whatever has the name, and reads to its end, where the daemon waits for it: a pipe has none, nor
    has /dev/zero. Raises Invalid, OSError."""
    status = file.stat()
    if not stat.S_ISREG(status.st_mode):
        raise Invalid(f"certificate {file} cannot be used: it is no regular file")
    if status.st_size > _LARGEST:
        raise Invalid(f"certificate {file} cannot be used: it has more than {_LARGEST} bytes")
    return file


def host_name(host: str) -> str:
    """`host` without its port and brackets, lower case."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def is_loopback(name: str) -> bool:
    """localhost, 127.0.0.0/8 or ::1. By the name as written: other names are not resolved."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = _address(name)
    return address is not None and address.is_loopback
