"""Published ports: what was asked for, which host ports that becomes, and holding them against other programs.

A published port is translated by the firewall; no packet reaches the socket that holds it. The socket is there so that
no other program can take the port, and so that taking a port which is in use is an error at once. It does not listen
(except see `port_sockets.hold`): should the firewall be gone, a client is refused instead of waiting. A port that a
process has to forward listens, and is given away to that.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import re
import socket
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias

from corten.errors import Failed, Invalid, NotFound
from corten.network.firewall import PROTOCOLS, Published
from corten.network.holders import in_use_by
from corten.network.port_sockets import Key, has_ipv6, hold, listening
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


class Refusal(NamedTuple):
    """Why a port of the host cannot be had, and where."""

    ip: IPAddress
    error: OSError


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
            first, last = _range(row.host_range or "0", row.host_port)
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
            address = _leads_to(host_ip, v4, v6)
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

    def __init__(self, host_ip: str = "", forwards: bool = False) -> None:
        """`host_ip` is what an empty HostIp means; empty: every address. `forwards`: there is a process that forwards
        what the firewall cannot translate."""
        self._held: dict[Key, tuple[socket.socket | None, str]] = {}
        self._host_ip, self.forwards = host_ip, forwards
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

    def wanted(self, request: PortRequest, target: Target) -> list[Published]:
        """What `take` would answer for a fixed port, without taking it. Invalid."""
        ips = self._host_addresses(request, request.host_ip or self._host_ip, target)
        return [Published(request.protocol, ip, request.first, _address_for(target, ip), request.port) for ip in ips]

    def retake(self, published: Iterable[Published], owner: str, elsewhere: Container[Published] = ()) -> list[str]:
        """Hold ports of an earlier daemon again; those `elsewhere` are in the hands of a process. Returns one line for
        each that another program took meanwhile."""
        refusals = []
        for one in published:
            if one in elsewhere:
                self._held[_key(one)] = (None, owner)
                continue
            refusal = self._hold([one] if one.host_port else [], owner)
            if refusal is not None:
                text = refusal.error.strerror
                refusals.append(f"port {one.host_port}/{one.protocol} on {one.host_ip}: {text}")
        return refusals

    def to_forward(self, published: Iterable[Published]) -> dict[Published, int]:
        """The sockets of those that are to be forwarded and were not given away yet."""
        wanted = [one for one in published if self.forwards and one.forwarded]
        held = {one: self._held.get(_key(one), (None, ""))[0] for one in wanted}
        return {one: found.fileno() for one, found in held.items() if found is not None}

    def given(self, published: Iterable[Published]) -> None:
        """Another process has the sockets of these now: they are its to close."""
        for one in published:
            held, owner = self._held[_key(one)]
            self._held[_key(one)] = (None, owner)
            if held is not None:
                held.close()

    def release(self, published: Iterable[Published]) -> None:
        """Idempotent; the ports are free when this returns, but for those that were given away."""
        for one in published:
            held, _ = self._held.pop(_key(one), (None, ""))
            if held is not None:
                held.close()

    def _take(self, request: PortRequest, target: Target, host_ip: str) -> list[Published]:
        every = self._host_addresses(request, request.host_ip or host_ip or self._host_ip, target)
        ips = [ip for ip in every if ip.version not in target.routed]
        routed = [
            Published(request.protocol, ip, 0, _address_for(target, ip), request.port)
            for ip in every
            if ip.version in target.routed
        ]
        if not ips:
            return routed
        refusal: Refusal | None = None
        for port in _candidates(request, self._ephemeral):
            chosen = [Published(request.protocol, ip, port, _address_for(target, ip), request.port) for ip in ips]
            refusal = self._hold(chosen, target.name)
            if refusal is not None and refusal.error.errno == errno.EADDRINUSE:
                continue
            if refusal is not None:
                break
            return chosen + routed
        raise self._refused(request, target, refusal or Refusal(ips[0], OSError(errno.EADDRINUSE, "no port")))

    def _refused(self, request: PortRequest, target: Target, refusal: Refusal) -> Failed:
        ip, error = refusal
        start = f"driver failed programming external connectivity on endpoint {target.name} ({target.endpoint_id}): "
        where = f"[{ip}]" if ip.version == 6 else str(ip)
        if error.errno != errno.EADDRINUSE:
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

    def _hold(self, published: Sequence[Published], owner: str) -> Refusal | None:
        """All of them, or none: then what is in the way."""
        done: list[Published] = []
        for one in published:
            key = _key(one)
            try:
                if key in self._held:
                    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
                self._held[key] = (listening(key) if self.forwards and one.forwarded else hold(key), owner)
            except OSError as error:
                self.release(done)
                return Refusal(one.host_ip, error)
            done.append(one)
        return None

    def _host_addresses(self, request: PortRequest, host_ip: str, target: Target) -> list[IPAddress]:
        """Nothing means every address of the families that the endpoint has, and IPv6 where that can be forwarded."""
        if host_ip:
            ip = ipaddress.ip_address(host_ip)
            if not self._carried(request, ip, target):
                raise Invalid(f"port binding to {ip}: {self._obstacle(ip, target)}")
            return [ip]
        found: list[IPAddress] = []
        if target.v4 is not None:
            found.append(ipaddress.IPv4Address(0))
        if self._carried(request, six := ipaddress.IPv6Address(0), target) and (target.v6 is not None or has_ipv6()):
            found.append(six)
        return found

    def _carried(self, request: PortRequest, ip: IPAddress, target: Target) -> bool:
        """Something brings what arrives at `ip` to the container."""
        address = _leads_to(ip, target.v4, target.v6)
        if address is None or address.version in target.routed:
            return address is not None and ip.version == address.version
        one = Published(request.protocol, ip, request.first or 1, address, request.port)
        return one.translated or (self.forwards and one.forwarded)

    def _obstacle(self, ip: IPAddress, target: Target) -> str:
        if (target.v4 if ip.version == 4 else target.v6) is None:
            return f"the container's network has no IPv{ip.version} address to send it to"
        return "what is sent there can only be forwarded by a process, for tcp and udp, and with userland-proxy"

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


def _address_for(target: Target, ip: IPAddress) -> IPAddress:
    address = _leads_to(ip, target.v4, target.v6)
    assert address is not None  # _host_addresses saw to it
    return address


def _leads_to(ip: IPAddress, v4: IPAddress | None, v6: IPAddress | None) -> IPAddress | None:
    """The address of a container that a port at `ip` leads to."""
    return v4 if ip.version == 4 else v6 or v4


def _key(one: Published) -> Key:
    return Key(one.protocol, one.host_ip, one.host_port)
