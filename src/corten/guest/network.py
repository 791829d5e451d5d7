"""The interfaces of a guest, by netlink, as the host says: a guest has no addresses but those."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

from corten.errors import NotFound
from corten.guest import devices
from corten.kernel import netlink, process, rtnetlink
from corten.supervisor import clone
from corten.vm.contract import NOWHERE

Json = dict[str, Any]

_COUNTERS = tuple(f"{way}_{what}" for way in ("rx", "tx") for what in ("bytes", "packets", "errors", "dropped"))
_PATIENCE = 60.0  # seconds for an interface to appear


class Route(NamedTuple):
    """Without destination the default route, without gateway on the link."""

    destination: ipaddress.IPv4Network | ipaddress.IPv6Network | None
    gateway: ipaddress.IPv4Address | ipaddress.IPv6Address | None


class Interface(NamedTuple):
    """As the host sends it: {"name", "mac": which it is found by, "mtu": 0 leaves it, "addresses": ["172.17.0.2/16"],
    "routes": [{"destination": "0.0.0.0/0" or more, "gateway": "" or an address}], "neighbours": [[address, MAC]]}."""

    name: str
    mac: str
    mtu: int
    addresses: tuple[ipaddress.IPv4Interface | ipaddress.IPv6Interface, ...]
    routes: tuple[Route, ...]
    neighbours: tuple[tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, str], ...]


def interface(message: Json) -> Interface:
    """ValueError for what is no address."""
    routes = (
        Route(
            ipaddress.ip_network(route["destination"]),
            ipaddress.ip_address(route["gateway"]) if route["gateway"] else None,
        )
        for route in message.get("routes") or ()
    )
    neighbours = ((ipaddress.ip_address(ip), mac) for ip, mac in message.get("neighbours") or ())
    return Interface(
        message["name"],
        message["mac"],
        int(message.get("mtu") or 0),
        tuple(map(ipaddress.ip_interface, message.get("addresses") or ())),
        tuple(routes),
        tuple(neighbours),
    )


def loopback() -> None:
    with netlink.Socket() as route:
        route.request(rtnetlink.up(socket.if_nametoindex("lo")))


def attach(wanted: Interface) -> None:
    """NotFound when no device with that MAC appears. OSError with netlink's words."""
    found = devices.wait_for(
        lambda: devices.interface(wanted.mac) or devices.interface(NOWHERE), time.monotonic() + _PATIENCE
    )
    if found is None:
        raise NotFound(f"the guest has no interface with the address {wanted.mac}")
    index = devices.interface_index(found)
    with netlink.Socket() as route:
        route.request(rtnetlink.set_mac(index, wanted.mac))
        if found != wanted.name:
            _make_room(route, wanted.name)
            route.request(rtnetlink.down(index), rtnetlink.rename(index, wanted.name, wanted.mtu))
        elif wanted.mtu:
            route.request(rtnetlink.rename(index, wanted.name, wanted.mtu))
        try:
            route.request(rtnetlink.no_link_local(index))  # its addresses are the host's to give
        except OSError as error:
            if error.errno not in (errno.EAFNOSUPPORT, errno.EOPNOTSUPP):
                raise
        route.request(rtnetlink.up(index))
        rtnetlink.settle_carrier(route, wanted.name)
        for address in wanted.addresses:
            route.request(rtnetlink.address(index, address))
        for one in sorted(wanted.routes, key=lambda one: one.gateway is not None):  # gateways may need the others
            route.request(rtnetlink.route(index, one.gateway, one.destination, replace=one.gateway is not None))
        for ip, mac in wanted.neighbours:
            route.request(rtnetlink.neighbour(index, ip, mac))


def _make_room(route: netlink.Socket, name: str) -> None:
    """The kernel numbers devices as it finds them, which is in no order: one that waits for its turn has a name that is
    not its own."""
    try:
        index = socket.if_nametoindex(name)
    except OSError:
        return
    link = rtnetlink.link(route, index)
    if link is not None and not link.up:
        route.request(rtnetlink.rename(index, f"waits{index}"))


def lead(name: str, gateways: Iterable[str]) -> None:
    """Default routes by these. NotFound, ValueError for what is no address."""
    index = _index(name)
    with netlink.Socket() as route:
        for gateway in gateways:
            route.request(rtnetlink.route(index, ipaddress.ip_address(gateway), replace=True))


def detach(name: str) -> None:
    """Out of the container's sight, with its addresses: into a namespace of nothing, where the host unplugs it.
    NotFound.

    A machine takes its time for that, and what is plugged in next may have the same name."""
    index = _index(name)
    if not _aside:
        _, fds = clone.in_child(lambda _: _new_namespace())
        _aside.extend(fds)
    with netlink.Socket() as route:
        route.request(rtnetlink.down(index), rtnetlink.move(index, f"gone{index}", _aside[0]))


def _index(name: str) -> int:
    try:
        return socket.if_nametoindex(name)
    except OSError:
        raise NotFound(f"the container has no interface {name}") from None


def counters() -> dict[str, dict[str, int]]:
    """Of each interface but the loopback device (sysfs, class/net/*/statistics)."""
    names = [name for _, name in socket.if_nameindex() if name != "lo"]
    return {name: {counter: _counter(name, counter) for counter in _COUNTERS} for name in names}


def _counter(name: str, counter: str) -> int:
    try:
        with open(f"/sys/class/net/{name}/statistics/{counter}", "rb") as file:
            return int(file.read())
    except FileNotFoundError:  # it went meanwhile
        return 0


_aside: list[int] = []  # that namespace, when there is one


def _new_namespace() -> clone.Answer:
    process.unshare(process.CLONE_NEWNET)
    return {"pid": 0}, [os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)]
