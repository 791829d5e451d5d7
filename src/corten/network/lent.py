"""The interfaces of a network namespace, lent to a guest: with their names, MACs, addresses and routes they are the
guest's, and every frame goes on between its machine and them.

A pod's network is made in a namespace, by our own drivers or by plugins, before there is a guest, and for longer than
one. So a guest gets a tap beside each interface there. What arrives at the interface goes out by the tap before the
namespace's own stack has seen it, and what the guest sends goes out by the interface (tc-mirred(8)). The namespace
keeps its addresses, and nothing answers there as long as a guest has them. The taps go with the machine that has their
descriptors; what still arrives afterwards is dropped.
"""

from __future__ import annotations

import errno
import os
import secrets
import socket
from collections.abc import Sequence
from contextlib import suppress

from corten.errors import CortenError, Failed, Unsupported
from corten.kernel import qdisc, rtnetlink, tap
from corten.kernel.netlink import Socket
from corten.kernel.rtnetlink import Link
from corten.network.driver import Namespace
from corten.network.guest import Tap, Way
from corten.network.interface import Interface, InterfaceSpec
from corten.network.sysctls import IPV6

_ETHERNET = 17  # characters of a MAC
_PREFIX = "guest"  # of the names of taps


def lend(namespace: Namespace) -> list[Tap]:
    """A tap for each interface with an address, the caller's to close. An earlier guest has them no more. Raises
    Unsupported, Failed."""
    taps: list[Tap] = []
    try:
        with Socket(fd=namespace.route) as inside:
            for link, addresses in _interfaces(inside):
                taps.append(_lent(inside, namespace.fd, link, addresses))
    except BaseException as error:
        for each in taps:
            os.close(each.fd)
        if isinstance(error, OSError):
            raise Failed(f"the network cannot be lent to a guest: {error}") from error
        raise
    return taps


def _interfaces(inside: Socket) -> list[tuple[Link, list[Interface]]]:
    """Those that lead somewhere. What the kernel gives an interface by itself is no reason."""
    found: dict[int, list[Interface]] = {}
    for address in rtnetlink.addresses(inside):
        if not address.interface.ip.is_link_local or address.interface.version == 4:
            found.setdefault(address.ifindex, []).append(address.interface)
    links = [link for link in rtnetlink.links(inside) if link.name != "lo" and link.up and link.ifindex in found]
    return [(link, found[link.ifindex]) for link in links]


def _lent(inside: Socket, netns: int, link: Link, addresses: Sequence[Interface]) -> Tap:
    if len(link.mac) != _ETHERNET:
        raise Unsupported(f"a guest cannot have the interface {link.name}: it has no Ethernet address")
    fd = _beside(inside, netns, link)
    try:
        spec = InterfaceSpec(link.name, link.mac, tuple(addresses), mtu=link.mtu)
        return Tap(fd, spec, _ways(inside, link.ifindex))
    except BaseException:
        os.close(fd)
        raise


def _ways(inside: Socket, index: int) -> tuple[Way, ...]:
    """Of the main table, but for those that the kernel makes of addresses."""
    return tuple(
        Way(each.destination, each.gateway)
        for each in rtnetlink.routes(inside)
        if each.ifindex == index
        and each.table == rtnetlink.RT_TABLE_MAIN
        and each.protocol != rtnetlink.RTPROT_KERNEL
        and not (each.destination.version == 6 and each.destination.is_link_local)
    )


def _beside(inside: Socket, netns: int, link: Link) -> int:
    """A tap that has all frames of that interface. One of an earlier guest may not be gone yet: a name is used once."""
    name = f"{_PREFIX}{secrets.token_hex(4)}"
    try:
        fd = tap.make(name)
    except OSError as error:
        raise Unsupported(f"this kernel cannot make taps: {error.strerror}") from error
    try:
        with Socket() as host:
            host.request(rtnetlink.move(socket.if_nametoindex(name), name, netns))
        made = rtnetlink.link_named(inside, name)
        assert made is not None, "it was moved there"
        inside.request(rtnetlink.mtu(made.ifindex, link.mtu))
        if IPV6.exists():
            inside.request(rtnetlink.no_link_local(made.ifindex))
        inside.request(rtnetlink.up(made.ifindex))
        _connect(inside, link.ifindex, made.ifindex)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _connect(inside: Socket, interface: int, other: int) -> None:
    with suppress(OSError):  # there was none: otherwise what an earlier guest had goes with it
        inside.request(qdisc.no_ingress(interface))
    try:
        inside.request(
            qdisc.ingress(interface),
            qdisc.ingress(other),
            qdisc.redirect(interface, other),
            qdisc.redirect(other, interface),
        )
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EOPNOTSUPP):
            raise _no_redirection() from error
        raise


def _no_redirection() -> CortenError:
    return Unsupported(
        "pods cannot have guests: this kernel redirects no frames, it needs sch_ingress, cls_u32 and act_mirred"
    )
