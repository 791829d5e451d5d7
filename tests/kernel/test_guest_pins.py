"""What root in a guest can send by its tap: frames as it likes, of which those that are its own pass."""

# ruff: noqa: F401, F811 - fixtures are imported

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

import pytest

from corten.errors import Unsupported
from corten.kernel import nft, rtnetlink
from corten.kernel.netlink import Request
from corten.network.endpoint import Endpoint
from corten.network.endpoint_request import EndpointRequest
from corten.network.guest import GuestNamespace
from corten.network.interface import link_local_of
from corten.network.links import beside
from corten.spec import udp
from corten.spec.udp import Datagram
from docker_json import endpoint as endpoint_of
from docker_json import network
from netns import Net
from network_world import World, host, world

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not os.path.exists("/dev/net/tun"), reason="needs /dev/net/tun"),
]

_HEADER = bytes(12)  # virtio's, before each frame
_ALL, _NODES, _LLDP = "ff:ff:ff:ff:ff:ff", "33:33:00:00:00:01", "01:80:c2:00:00:0e"
_STRANGE = "02:66:66:66:66:66"
_MARK = b"mark"
_HOPS, _DESTINATION, _FRAGMENT = 0, 60, 44
_PADS = bytes((0, 1, 4, 0, 0, 0, 0))  # all eight bytes but the first, which says what follows
_HEADERS = {_HOPS: _PADS, _DESTINATION: _PADS, _FRAGMENT: bytes((0, 0, 1, 0, 0, 0, 9))}  # the first of several


class Guest(NamedTuple):
    """`six` is the address that its network gives, `local` the one that its MAC makes."""

    tap: int
    endpoint: Endpoint
    mac: str
    four: str
    six: str
    local: str

    def send(self, frame: bytes) -> None:
        os.write(self.tap, _HEADER + frame)


def ethernet(source: str, kind: int, body: bytes, to: str = _ALL, tag: int | None = None) -> bytes:
    vlan = b"" if tag is None else struct.pack(">HH", 0x8100, tag)
    return (
        rtnetlink.mac_bytes(to) + rtnetlink.mac_bytes(source) + vlan + struct.pack(">H", kind) + body.ljust(46, b"\0")
    )


def arp(source: str, sender: str, address: str, target: str = "10.77.0.250", operation: int = 1) -> bytes:
    body = struct.pack(">HHBBH", 1, 0x800, 6, 4, operation) + rtnetlink.mac_bytes(sender)
    body += ipaddress.ip_address(address).packed + bytes(6) + ipaddress.ip_address(target).packed
    return ethernet(source, 0x806, body)


def ipv4(source: str, address: str, text: bytes = b"", tag: int | None = None) -> bytes:
    size = 28 + len(text)
    head = struct.pack(">BBHHHBBH", 0x45, 0, size, 0, 0, 64, socket.IPPROTO_UDP, 0)
    head += ipaddress.ip_address(address).packed + ipaddress.ip_address("10.77.0.255").packed
    head = head[:10] + checksum(head) + head[12:]
    return ethernet(source, 0x800, head + struct.pack(">HHHH", 9, 9, 8 + len(text), 0) + text, tag=tag)


def ipv6(
    source: str, address: str, body: bytes, protocol: int = socket.IPPROTO_ICMPV6, before: Sequence[int] = ()
) -> bytes:
    """`before` are the kinds of 8-byte headers that come before `body`."""
    ends = ipaddress.ip_address(address).packed + ipaddress.ip_address("ff02::1").packed
    if protocol == socket.IPPROTO_ICMPV6:
        body = body[:2] + checksum(ends + struct.pack(">II", len(body), protocol) + body) + body[4:]
    following = (*before[1:], protocol)
    headers = b"".join(bytes((then,)) + _HEADERS[kind] for kind, then in zip(before, following, strict=False))
    head = struct.pack(">IHBB", 6 << 28, len(headers + body), before[0] if before else protocol, 255)
    return ethernet(source, 0x86DD, head + ends + headers + body, to=_NODES)


def checksum(data: bytes) -> bytes:
    """RFC 1071. A bridge looks at some."""
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack(">H", ~total & 0xFFFF)


def icmp6(kind: int, target: str = "", option: bytes = b"") -> bytes:
    return bytes((kind, 0, 0, 0, 0, 0, 0, 0)) + (ipaddress.ip_address(target).packed if target else b"") + option


async def plugged(world: World, name: str, **settings: Any) -> Guest:
    """The other side of a guest's tap, and its endpoint."""
    net = Net()  # its monitor's, with nothing in it
    world.containers.append(net)
    namespace = GuestNamespace(net.fd, net.route.fileno())
    asks = settings.pop("asks", False)
    request = EndpointRequest(
        "both", name.ljust(64, "0"), namespace, endpoint_of(settings), names=[name], asks_bridge=asks
    )
    endpoint = await world.networks.connect(request)
    (tap,) = namespace.taps
    local = str(link_local_of(endpoint.mac).ip)
    return Guest(tap.fd, endpoint, endpoint.mac, endpoint.address, endpoint.address6, local)


@pytest.fixture
async def guests(world: World) -> AsyncIterator[list[Guest]]:
    """Two in one network of both families; the first has a link-local IPv4 address beside."""
    ranges = [{"Subnet": "10.77.0.0/24"}, {"Subnet": "fd77::/64"}]
    await world.networks.create(network({"Name": "both", "EnableIPv6": True, "IPAM": {"Config": ranges}}))
    first = await plugged(world, "first", IPAMConfig={"LinkLocalIPs": ["169.254.7.7"]})
    second = await plugged(world, "second")
    yield [first, second]
    for guest in (first, second):
        os.close(guest.tap)


def own(me: Guest, other: Guest) -> dict[str, bytes]:
    """Strange as some of it is."""
    return {
        "arp": arp(me.mac, me.mac, me.four),
        "arp, an answer": arp(me.mac, me.mac, me.four, operation=2),
        "arp, its further address": arp(me.mac, me.mac, "169.254.7.7"),
        "arp, is my address taken": arp(me.mac, me.mac, "0.0.0.0", target=me.four),
        "ipv4": ipv4(me.mac, me.four),
        "ipv4, its further address": ipv4(me.mac, "169.254.7.7"),
        "ipv6": ipv6(me.mac, me.six, bytes(8), 17),
        "ipv6, link-local": ipv6(me.mac, me.local, bytes(8), 17),
        "ipv6, a protocol that none knows": ipv6(me.mac, me.six, bytes(8), 253),
        "asking for a neighbour": ipv6(me.mac, me.local, icmp6(135, other.six)),
        "advertising itself": ipv6(me.mac, me.six, icmp6(136, me.six)),
        "advertising itself, its other address": ipv6(me.mac, me.six, icmp6(136, me.local)),
        "is my address taken": ipv6(me.mac, "::", icmp6(135, me.six)),
        "what it listens to": ipv6(me.mac, "::", icmp6(143)),
        "an echo, behind a header": ipv6(me.mac, me.local, icmp6(128), before=[_HOPS]),
        "asking for routers": ipv6(me.mac, me.local, icmp6(133)),
    }


def stolen(me: Guest, other: Guest) -> dict[str, bytes]:
    return {
        "another MAC": ipv4(other.mac, me.four),
        "a MAC that no one has": ipv4(_STRANGE, me.four),
        "a group's MAC": ipv4("03:00:00:00:00:01", me.four),
        "arp, another address": arp(me.mac, me.mac, other.four),
        "arp, the gateway's": arp(me.mac, me.mac, "10.77.0.1", operation=2),
        "arp, another MAC in it": arp(me.mac, other.mac, me.four),
        "arp, is another's address taken": arp(me.mac, me.mac, "0.0.0.0", target=other.four),
        "arp, of another kind": ethernet(me.mac, 0x806, struct.pack(">HHBBH", 6, 0x800, 6, 4, 1) + bytes(20)),
        "reverse arp": ethernet(me.mac, 0x8035, arp(me.mac, me.mac, me.four)[14:]),
        "ipv4, another address": ipv4(me.mac, other.four),
        "ipv4, the gateway's": ipv4(me.mac, "10.77.0.1"),
        "ipv4, no address": ipv4(me.mac, "0.0.0.0"),
        "ipv4, an address outside": ipv4(me.mac, "192.0.2.9"),
        "ipv4, a tag": ipv4(me.mac, me.four, tag=7),
        "ipv4, the tag of no VLAN": ipv4(me.mac, me.four, tag=0),
        "ipv6, another address": ipv6(me.mac, other.six, bytes(8), 17),
        "ipv6, another link-local": ipv6(me.mac, other.local, bytes(8), 17),
        "ipv6, no address": ipv6(me.mac, "::", bytes(8), 17),
        "a router": ipv6(me.mac, me.local, icmp6(134)),
        "a router, behind a header": ipv6(me.mac, me.local, icmp6(134), before=[_HOPS]),
        "a router, behind three headers": ipv6(me.mac, me.local, icmp6(134), before=[_HOPS, _DESTINATION, _FRAGMENT]),
        "a redirect": ipv6(me.mac, me.local, icmp6(137, other.six)),
        "advertising another": ipv6(me.mac, me.six, icmp6(136, other.six)),
        "advertising the gateway, behind a header": ipv6(me.mac, me.six, icmp6(136, "fd77::1"), before=[_HOPS]),
        "is another's address taken": ipv6(me.mac, "::", icmp6(135, other.six)),
        "another protocol": ethernet(me.mac, 0x88B5, b"text"),
        "LLDP": ethernet(me.mac, 0x88CC, b"text", to=_LLDP),
        "LLDP of another": ethernet(_STRANGE, 0x88CC, b"text", to=_LLDP),
        "a bridge": ethernet(me.mac, 0x26, b"\x42\x42\x03", to="01:80:c2:00:00:00"),
        "cut short": rtnetlink.mac_bytes(_ALL) + rtnetlink.mac_bytes(me.mac) + b"\x08\x00\x45",
    }


def seen(box: Net) -> socket.socket:
    """Every frame that reaches a container."""
    with box.entered():
        packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    packets.settimeout(5)
    return packets


def passes(guest: Guest, frame: bytes, packets: socket.socket) -> bool:
    """Behind it comes one that does in any case: nothing is waited for in vain."""
    mark = ipv4(guest.mac, guest.four, _MARK)
    guest.send(frame)
    guest.send(mark)
    came = False
    while True:
        got = packets.recv(2000)
        if is_like(got, mark):
            return came
        came = came or is_like(got, frame)


def is_like(got: bytes, frame: bytes) -> bool:
    """A packet socket shows no tag, and a bridge that is filtered takes away what fills a frame up."""
    plain = frame[:12] + frame[16:] if frame[12:14] == b"\x81\0" else frame
    return len(got) >= 15 and got == plain[: len(got)]


@pytest.mark.parametrize("limits", ["none", "egress=1gbit,ingress=1gbit"])
async def test_what_is_its_own_passes_and_nothing_else(world: World, guests: list[Guest], limits: str) -> None:
    """Also where what it sends takes a detour, because that is limited."""
    box, _ = await world.run("box", "both")
    me, other = guests
    for guest in guests:
        world.networks.shape_taps(guest.endpoint.container_id, limits)
    with seen(box) as packets:
        lost = [name for name, frame in own(me, other).items() if not passes(me, frame, packets)]
        taken = [name for name, frame in stolen(me, other).items() if passes(me, frame, packets)]
    assert (lost, taken) == ([], [])
    learned = world.host.run("bridge", "fdb")
    assert me.mac in learned and _STRANGE not in learned


async def test_it_holds_for_the_next_daemon_and_ends_with_the_device(world: World, guests: list[Guest]) -> None:
    me, other = guests
    chains = nft.Transactions()

    def pinned() -> set[str]:
        return {chain.name for chain in chains.chains() if chain.family == nft.NFPROTO_NETDEV}

    assert pinned() == {me.endpoint.host_interface, other.endpoint.host_interface}
    box, its = await world.run("box", "both")
    await world.restart()
    for endpoint in (me.endpoint, its):
        await world.networks.adopt(endpoint.record, endpoint.container_id)
    with seen(box) as packets:
        assert not passes(me, ipv4(me.mac, other.four), packets)
        await world.networks.reconcile()
        assert pinned() == {me.endpoint.host_interface}, "the other one is of no container"
        assert not passes(me, ipv4(me.mac, other.four), packets)
    await world.networks.disconnect(me.endpoint)
    await world.networks.dataplane.settle()
    assert pinned() == set()
    chains.close()


@pytest.mark.parametrize("limits", ["none", "egress=1gbit"])
async def test_what_a_machine_asks_goes_no_further(world: World, guests: list[Guest], limits: str) -> None:
    """Nothing of the host's hears it, or says that none does."""
    me = await plugged(world, "asking", asks=True)
    assert me.endpoint.names_at == "10.77.0.1"
    world.networks.shape_taps(me.endpoint.container_id, limits)
    links = {link.ifindex: link for link in rtnetlink.links(world.host.route)}
    bridge = links[links[me.endpoint.host_index or 0].master]
    own, its = (ipaddress.ip_address(text).packed for text in (me.four, "10.77.0.1"))
    with (
        world.host.entered(),
        socket.socket(type=socket.SOCK_DGRAM) as names,
        socket.socket(type=socket.SOCK_DGRAM) as one,
    ):
        for port, listening in ((53, names), (54, one)):
            listening.bind(("10.77.0.1", port))
            listening.settimeout(30)
        for port in (53, 54):
            sent = Datagram(rtnetlink.mac_bytes(me.mac), rtnetlink.mac_bytes(bridge.mac), own, its, 999, port, b"text")
            me.send(udp.made(sent))
        assert one.recv(10) == b"text"
        names.setblocking(False)
        with pytest.raises(BlockingIOError):
            names.recv(10)
    os.close(me.tap)


async def test_what_limits_it_ends_with_the_device(world: World, guests: list[Guest]) -> None:
    me, other = guests

    def detours() -> list[str]:
        return sorted(link.name for link in rtnetlink.links(world.host.route) if link.kind == "ifb")

    names = sorted(beside(guest.endpoint.host_interface) for guest in guests)
    for _ in range(2):
        for guest in guests:
            world.networks.shape_taps(guest.endpoint.container_id, "egress=8mbit")
        assert detours() == names
    world.networks.shape_taps(me.endpoint.container_id, "ingress=8mbit")
    assert detours() == [beside(other.endpoint.host_interface)]
    world.networks.shape_taps(me.endpoint.container_id, "egress=8mbit")
    await world.restart()
    await world.networks.adopt(me.endpoint.record, me.endpoint.container_id)
    await world.networks.reconcile()
    assert detours() == [beside(me.endpoint.host_interface)], "the other one is of no container"
    await world.networks.disconnect(me.endpoint)
    await world.networks.dataplane.settle()
    assert detours() == []


async def test_a_kernel_that_cannot(world: World, guests: list[Guest], monkeypatch: pytest.MonkeyPatch) -> None:
    """No guest without it, and nothing is left."""
    before = {link.name for link in rtnetlink.links(world.host.route)}

    new_table = nft.new_table

    def refuses(table: nft.Table, flags: int = 0) -> Request:
        return new_table(table._replace(family=9) if table.family == nft.NFPROTO_NETDEV else table, flags)

    monkeypatch.setattr(nft, "new_table", refuses)
    with pytest.raises(Unsupported, match="cannot keep a guest to its own addresses"):
        await plugged(world, "third")
    assert {link.name for link in rtnetlink.links(world.host.route)} == before


def test_a_container_has_none() -> None:
    made = Endpoint("n", "net", "e", "c", host_interface="v0", index=7, mac=_STRANGE, address="10.0.0.2")
    assert made.pin is None
    assert Endpoint("n", "net", "e", "c").pin is None
