"""A network namespace that others have filled, lent to a guest: what it gets of it, and where its frames go."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterator
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from corten.errors import Unsupported
from corten.kernel import rtnetlink
from corten.network.guest import Tap, Way
from corten.network.lent import lend
from e2e_parts.patience import PATIENCE
from netns import Net

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not os.path.exists("/dev/net/tun"), reason="needs /dev/net/tun"),
]

_HEADER = bytes(12)  # virtio's, before each frame
_POD, _NODE, _OTHER = bytes.fromhex("024200000005"), bytes.fromhex("024200000001"), b"\xff" * 6
_KIND = 0x88B5  # of local experiments (IEEE 802)


class World:
    """A pod's namespace and its node's, with a pair of devices between them."""

    def __init__(self) -> None:
        self.host, self.pod, self.node = Net(), Net(), Net()
        self.taps: list[Tap] = []
        there = f"/proc/{os.getpid()}/fd/{self.node.fd}"
        pair = ["eth0", "address", _POD.hex(":"), "mtu", "1400", "type", "veth", "peer", "name", "node0"]
        self.pod.run("ip", "link", "add", *pair, "address", _NODE.hex(":"), "netns", there)
        for net, name in ((self.pod, "eth0"), (self.node, "node0")):
            net.run("ip", "link", "set", name, "up")
        for net, name in ((self.pod, "eth0"), (self.node, "node0")):
            rtnetlink.settle_carrier(net.route, name)  # or what is sent first is dropped
        self.pod.run("ip", "address", "add", "10.88.0.5/24", "dev", "eth0")
        self.pod.run("ip", "-6", "address", "add", "fd88::5/64", "dev", "eth0", "nodad")
        self.pod.run("ip", "route", "add", "169.254.1.1", "dev", "eth0", "scope", "link")
        self.pod.run("ip", "route", "add", "default", "via", "169.254.1.1")
        with self.node.entered():
            self.wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_KIND))
        self.wire.bind(("node0", _KIND))

    def lend(self) -> Tap:
        with self.host.entered():  # where the tap is made
            found = lend(self.pod.namespace)
        self.taps += found
        (tap,) = found
        return tap

    def receive(self, tap: Tap, part: bytes = _KIND.to_bytes(2, "big")) -> bytes:
        """The next frame with that in it that the guest gets: the kernel has things to say as well."""
        while select.select([tap.fd], [], [], PATIENCE)[0]:
            found = os.read(tap.fd, 65536)[len(_HEADER) :]
            if part in found:
                return found
        raise AssertionError("nothing came")

    def close(self) -> None:
        for tap in self.taps:
            os.close(tap.fd)
        self.wire.close()
        for net in (self.host, self.pod, self.node):
            net.close()


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


def frame(to: bytes, source: bytes, text: bytes) -> bytes:
    return to + source + _KIND.to_bytes(2, "big") + text.ljust(46, b"\0")


def test_it_has_the_interface_as_it_is(world: World) -> None:
    tap = world.lend()
    assert (tap.spec.name, tap.spec.mac, tap.spec.mtu) == ("eth0", _POD.hex(":"), 1400)
    assert set(tap.spec.interfaces) == {ip_interface("10.88.0.5/24"), ip_interface("fd88::5/64")}
    gateway = ip_address("169.254.1.1")
    assert set(tap.ways) == {Way(ip_network("169.254.1.1/32"), None), Way(ip_network("0.0.0.0/0"), gateway)}


def test_frames_go_on_in_both_directions(world: World) -> None:
    tap = world.lend()
    for to in (_POD, _OTHER):
        world.wire.send(frame(to, _NODE, b"to the guest"))
        assert world.receive(tap) == frame(to, _NODE, b"to the guest")
    os.write(tap.fd, _HEADER + frame(_NODE, _POD, b"from the guest"))
    world.wire.settimeout(PATIENCE)
    while (seen := world.wire.recv(65536)) != frame(_NODE, _POD, b"from the guest"):
        assert seen[6:12] == _NODE, f"what the test has sent itself, not {seen!r}"


def test_nothing_answers_in_the_namespace_any_more(world: World) -> None:
    world.node.run("ip", "address", "add", "10.88.0.1/24", "dev", "node0")
    world.node.run("ip", "neighbour", "replace", "10.88.0.5", "lladdr", _POD.hex(":"), "dev", "node0")
    with world.node.entered():
        sending = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sending, world.pod.listen("10.88.0.5", 7777, "udp") as inside:
        inside.settimeout(PATIENCE)
        sending.sendto(b"before", ("10.88.0.5", 7777))
        assert inside.recv(100) == b"before"
        tap = world.lend()
        sending.sendto(b"behind", ("10.88.0.5", 7777))
        assert b"behind" in world.receive(tap, b"behind")
        inside.setblocking(False)
        with pytest.raises(BlockingIOError):
            inside.recv(100)


def test_the_next_guest_has_all_of_it(world: World) -> None:
    """The first one's tap may be there for a while, or be gone."""
    first = world.lend()
    second = world.lend()
    world.wire.send(frame(_POD, _NODE, b"one"))
    assert world.receive(second) == frame(_POD, _NODE, b"one")
    for tap in (first, second):
        os.close(tap.fd)
        world.taps.remove(tap)
    third = world.lend()
    assert third.spec == first.spec and third.ways == first.ways
    world.wire.send(frame(_POD, _NODE, b"two"))
    assert world.receive(third) == frame(_POD, _NODE, b"two")


def test_what_leads_nowhere_is_left_out(world: World) -> None:
    world.pod.run("ip", "link", "add", "idle0", "type", "veth", "peer", "name", "idle1")
    for name in ("idle0", "idle1"):
        world.pod.run("ip", "link", "set", name, "up")  # which the kernel gives a link-local address
    world.pod.run("ip", "link", "set", "eth0", "down")
    with world.host.entered():
        assert lend(world.pod.namespace) == []


def test_an_interface_without_ethernet_is_refused(world: World) -> None:
    world.pod.run("ip", "tuntap", "add", "tun7", "mode", "tun")
    world.pod.run("ip", "link", "set", "tun7", "up")
    world.pod.run("ip", "address", "add", "10.99.0.1/24", "dev", "tun7")
    with world.host.entered(), pytest.raises(Unsupported, match="tun7: it has no Ethernet address"):
        lend(world.pod.namespace)
    assert "guest" not in world.pod.run("ip", "link"), "nothing of the other interface is left"
