"""Published ports: what was asked for, which host ports that becomes, and holding them against other programs.

A published port is translated by the firewall; no packet reaches the socket that holds it. The socket is there so that
no other program can take the port, and so that taking a port which is in use is an error at once. It does not listen
(except see `_hold`): should the firewall be gone, a client is refused instead of waiting.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import re
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias

from corten.errors import Failed, Invalid, NotFound
from corten.network.firewall import PROTOCOLS, Published
from corten.network.holders import in_use_by
from corten.spec.docker.host_config import PortBinding

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
PortMap: TypeAlias = Mapping[str, Sequence[PortBinding]]

_SPEC = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_LOCAL_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")


class PortRequest(NamedTuple):
    """A container's port to be published. `first` 0 means any free port; otherwise the first free one of the range."""

    port: int
    protocol: str
    host_ip: str
    first: int
    last: int

    @property
    def name(self) -> str:
        return f"{self.port}/{self.protocol}"

    @property
    def choices(self) -> int:
        """How many ports of the host it can be."""
        return self.last - self.first + 1 if self.first else 1 << 16


class Key(NamedTuple):
    protocol: str
    ip: IPAddress
    port: int


@dataclass(frozen=True, slots=True)
class Target:
    """Where ports of an endpoint lead, and its name, for errors. An address is None where the network has none.

    In the families `routed` ports are opened at the container's own address, and none of this host's are taken.
    """

    name: str
    endpoint_id: str
    v4: IPAddress | None
    v6: IPAddress | None
    routed: frozenset[int] = frozenset()


def parse_port(text: str) -> tuple[int, str]:
    """ "80/tcp", or "80" for tcp. Invalid otherwise."""
    number, _, protocol = text.partition("/")
    protocol = protocol.lower() or "tcp"
    if protocol not in PROTOCOLS:
        raise Invalid(f"invalid port specification {text!r}: protocol is none of tcp, udp, sctp")
    first, last = _range(number, text)
    if first != last or not first:
        raise Invalid(f"invalid port specification {text!r}")
    return first, protocol


def _range(text: str, whole: str) -> tuple[int, int]:
    match = _SPEC.fullmatch(text)
    if not match:
        raise Invalid(f"invalid port specification {whole!r}")
    first = int(match[1])
    last = int(match[2] or match[1])
    if not first <= last <= 65535:
        raise Invalid(f"invalid port specification {whole!r}: not a port or a range of ports up to 65535")
    return first, last


def port_requests(bindings: PortMap, exposed: Iterable[str], publish_all: bool) -> list[PortRequest]:
    """HostConfig.PortBindings, and with `publish_all` every exposed port without a binding. Sorted by port. Invalid."""
    found = []
    for key, rows in bindings.items():
        port, protocol = parse_port(key)
        for row in rows or [PortBinding()]:
            asked = row.host_port or "0"
            first, last = _range(asked, asked)
            found.append(PortRequest(port, protocol, _host_ip(row.host_ip), first, last))
    if publish_all:
        bound = {request.name for request in found}
        for text in exposed:
            port, protocol = parse_port(text)
            if f"{port}/{protocol}" not in bound:
                found.append(PortRequest(port, protocol, "", 0, 0))
    return sorted(found, key=lambda w: (w.protocol, w.port, w.first))


def _host_ip(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text)) if text else ""
    except ValueError as error:
        raise Invalid(f"invalid IP address in a port binding: {text!r}") from error


def report(exposed: Iterable[str], published: Iterable[Published]) -> dict[str, list[dict[str, str]] | None]:
    """NetworkSettings.Ports: every exposed port, null when it is not published."""
    found: dict[str, list[dict[str, str]] | None] = {"{}/{}".format(*parse_port(text)): None for text in exposed}
    for one in published:
        key = f"{one.port}/{one.protocol}"
        row = {"HostIp": str(one.host_ip), "HostPort": str(one.host_port or "")}
        found[key] = [*(found.get(key) or []), row]
    return found


def published_again(
    ports: Mapping[str, list[dict[str, str]] | None], v4: IPAddress | None, v6: IPAddress | None
) -> list[Published]:
    """The opposite of `report`, for a container with these addresses."""
    found = []
    for key, rows in ports.items():
        port, protocol = parse_port(key)
        for row in rows or []:
            host_ip = ipaddress.ip_address(row["HostIp"])
            address = v4 if host_ip.version == 4 else v6
            if address is not None:
                found.append(Published(protocol, host_ip, int(row["HostPort"] or 0), address, port))
    return found


def matching(published: Sequence[Published], bindings: PortMap) -> list[Published]:
    """Those of `published` that a PortMap names; a port without rows, and a row without port or address, name all.

    NotFound for what names none.
    """
    found: list[Published] = []
    for key, rows in bindings.items():
        port, protocol = parse_port(key)
        for row in rows or [PortBinding()]:
            ip, host_port = _host_ip(row.host_ip), row.host_port
            named = [
                one
                for one in published
                if (one.port, one.protocol) == (port, protocol)
                and ip in ("", str(one.host_ip))
                and host_port in ("", "0", str(one.host_port))
            ]
            if not named:
                raise NotFound(f"port {key} is not published{f' as {host_port}' if host_port else ''}")
            found += [one for one in named if one not in found]
    return found


class Reservations:
    """The host ports that this daemon holds."""

    def __init__(self, host_ip: str = "") -> None:
        """`host_ip` is what an empty HostIp means; empty: every address."""
        self._held: dict[Key, tuple[socket.socket | None, str]] = {}
        self._host_ip = host_ip
        self._cursor = 0

    def __len__(self) -> int:
        return len(self._held)

    def take(self, requests: Sequence[PortRequest], target: Target, host_ip: str = "") -> list[Published]:
        """Reserve host ports for every request, or for none. Failed with Docker's words when one cannot be had.

        `host_ip` is what an empty HostIp means here, before the general one. Those that can be fewer ports choose
        first, so that none gets what another one asked for; the answer is in the order of `requests`.
        """
        found: dict[int, list[Published]] = {}
        try:
            for number, request in sorted(enumerate(requests), key=lambda pair: pair[1].choices):
                found[number] = self._take(request, target, host_ip)
        except BaseException:
            for taken in found.values():
                self.release(taken)
            raise
        return [one for number in sorted(found) for one in found[number]]

    def retake(self, published: Iterable[Published], owner: str) -> list[str]:
        """Hold ports of an earlier daemon again. Returns one line for each that another program took meanwhile."""
        refusals = []
        for one in published:
            key = Key(one.protocol, one.host_ip, one.host_port)
            try:
                self._hold([key] if one.host_port else [], owner)
            except OSError as error:
                refusals.append(f"port {one.host_port}/{one.protocol} on {one.host_ip}: {error.strerror}")
        return refusals

    def release(self, published: Iterable[Published]) -> None:
        """Idempotent; the ports are free when this returns."""
        for one in published:
            held, _ = self._held.pop(Key(one.protocol, one.host_ip, one.host_port), (None, ""))
            if held is not None:
                held.close()

    def _take(self, request: PortRequest, target: Target, host_ip: str) -> list[Published]:
        every = _host_addresses(request.host_ip or host_ip or self._host_ip, target)
        ips = [ip for ip in every if ip.version not in target.routed]
        routed = [
            Published(request.protocol, ip, 0, _address_for(target, ip), request.port)
            for ip in every
            if ip.version in target.routed
        ]
        if not ips:
            return routed
        last: OSError | None = None
        for port in _candidates(request, self._ephemeral):
            keys = [Key(request.protocol, ip, port) for ip in ips]
            try:
                self._hold(keys, target.name)
            except OSError as error:
                last = error
                if error.errno != errno.EADDRINUSE:
                    break
                continue
            return [
                Published(k.protocol, k.ip, k.port, _address_for(target, k.ip), request.port) for k in keys
            ] + routed
        raise self._refused(request, ips[0], target, last)

    def _refused(self, request: PortRequest, ip: IPAddress, target: Target, error: OSError | None) -> Failed:
        start = f"driver failed programming external connectivity on endpoint {target.name} ({target.endpoint_id}): "
        where = f"[{ip}]" if ip.version == 6 else str(ip)
        if error is not None and error.errno != errno.EADDRINUSE:
            return Failed(f"{start}Bind for {where}:{request.first} failed: {(error.strerror or str(error)).lower()}")
        if request.first != request.last or not request.first:
            return Failed(f"{start}Bind for {where} failed: all ports are allocated")
        by = in_use_by(request.protocol, ip, request.first, self._holder(request, ip))
        return Failed(f"{start}Bind for {where}:{request.first} failed: port is already allocated{by}")

    def _holder(self, request: PortRequest, ip: IPAddress) -> str:
        for key, (_, owner) in self._held.items():
            same = key.ip == ip or key.ip.is_unspecified or ip.is_unspecified
            if key.protocol == request.protocol and key.port == request.first and same and key.ip.version == ip.version:
                return owner
        return ""

    def _hold(self, keys: Sequence[Key], owner: str) -> None:
        done: list[Key] = []
        try:
            for key in keys:
                if key in self._held:
                    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
                self._held[key] = (_hold(key), owner)
                done.append(key)
        except OSError:
            for key in done:
                held, _ = self._held.pop(key)
                if held is not None:
                    held.close()
            raise

    def _ephemeral(self) -> Iterator[int]:
        """Every port of the machine's ephemeral range, beginning behind the one that was given last."""
        first, last = (int(word) for word in _LOCAL_PORTS.read_text().split())
        count = last - first + 1
        start = self._cursor
        for step in range(count):
            offset = (start + step) % count
            self._cursor = offset + 1
            yield first + offset


def _candidates(request: PortRequest, ephemeral: Callable[[], Iterator[int]]) -> Iterator[int]:
    return iter(range(request.first, request.last + 1)) if request.first else ephemeral()


def _host_addresses(host_ip: str, target: Target) -> list[IPAddress]:
    """Nothing means every address of the families that the endpoint has."""
    if not host_ip:
        found: list[IPAddress] = []
        if target.v4 is not None:
            found.append(ipaddress.IPv4Address(0))
        if target.v6 is not None:
            found.append(ipaddress.IPv6Address(0))
        return found
    ip = ipaddress.ip_address(host_ip)
    if (target.v4 if ip.version == 4 else target.v6) is None:
        raise Invalid(f"port binding to {ip}: the container's network has no IPv{ip.version} address to send it to")
    return [ip]


def _address_for(target: Target, ip: IPAddress) -> IPAddress:
    address = target.v4 if ip.version == 4 else target.v6
    assert address is not None  # _host_addresses saw to it
    return address


def _hold(key: Key) -> socket.socket | None:
    """A socket bound to the port, so that no other program can. None where the machine has no SCTP: no program can.

    Not SO_REUSEADDR: another program that sets it could then bind as well. That makes connections in TIME_WAIT an
    obstacle, though, which they are not for a server; so in that case try again as a server would, listening.
    """
    family = socket.AF_INET if key.ip.version == 4 else socket.AF_INET6
    kind = socket.SOCK_DGRAM if key.protocol == "udp" else socket.SOCK_STREAM
    try:
        return _bound(family, kind, key, reuse=False)
    except OSError as error:
        if key.protocol == "sctp" and error.errno in (errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT):
            return None
        if key.protocol != "tcp" or error.errno != errno.EADDRINUSE:
            raise
        return _bound(family, kind, key, reuse=True)


def _bound(family: int, kind: int, key: Key, reuse: bool) -> socket.socket:
    held = socket.socket(family, kind, PROTOCOLS[key.protocol])
    try:
        if family == socket.AF_INET6:
            held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if reuse:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((str(key.ip), key.port))
        if reuse:
            held.listen(0)
    except BaseException:
        held.close()
        raise
    return held
