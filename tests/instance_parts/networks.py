"""Interfaces of an instance, and what its networks change."""

from __future__ import annotations

import os
import socket
from functools import partial
from ipaddress import IPv4Address

from corten.errors import Conflict, CortenError, Failed, Invalid, NotFound, Unsupported
from corten.instance.contract import (
    Instance,
    Plug,
    Refresh,
    Route,
    ServeNames,
)
from corten.spec import dns
from free_ports import free_port
from instance_parts.world import World, case, killed, refused
from taps import tap


@case
def an_interface(world: World) -> None:
    instance, created = world.started("sleep", "1000")
    name = f"ct{os.getpid()}"
    with tap(name, world.tap_flags) as device:
        _attached_and_detached(world, instance, name, device)
    killed(instance, created)


def _attached_and_detached(world: World, instance: Instance, name: str, device: int) -> None:
    instance.attach("eth7", device)
    assert name not in [known for _, known in socket.if_nameindex()] or world.guest  # which has the tap's other side
    assert "eth7" in world.devices(instance)
    assert int(world.output_of(instance, "cat", "/sys/class/net/eth7/flags"), 16) & 1  # IFF_UP
    frame = b"\xff" * 6 + b"\2" * 6 + b"\x88\xb5" + bytes(46)
    world.send(name, device, frame)
    while not (received := world.devices(instance)["eth7"])[1]:
        assert world.machine  # where it takes its time
    assert received == [len(frame), 1] or world.machine  # which gets what the host has to say as well
    refused(partial(instance.attach, "eth7", device), Conflict, "eth7")
    refused(partial(instance.attach, "eth8", world.pipe), Invalid, "tap")
    instance.detach("eth7")
    assert "eth7" not in world.devices(instance)
    refused(partial(instance.detach, "eth7"), NotFound, "eth7")


@case
def a_network_that_changes(world: World) -> None:
    """Of one whose network is another kernel's. For others the daemon changes it in its namespace, and that is said."""
    hosts = world.root / "hosts"
    hosts.write_text("10.9.8.2\tfirst\n")
    world.mounts = [{"destination": "/etc/hosts", "type": "bind", "source": str(hosts), "options": ["bind"]}]
    instance, created = world.started("sleep", "1000")
    name = f"cn{os.getpid()}"
    plug = Plug("web0", "02:42:0a:09:08:02", 1400, ("10.9.8.2/24", "fd00:98::2/64"), ("10.9.8.1", "fd00:98::1"))
    with tap(name, world.tap_flags) as device:
        if world.guest:
            _plugged_in(world, instance, plug, device)
            _named(world, instance)
            hosts.write_text("10.9.8.2\tsecond\n")
            instance.change_network(Refresh())
            assert world.output_of(instance, "cat", "/etc/hosts") == "10.9.8.2\tsecond\n"
        else:
            refused(lambda: instance.change_network(plug, [device]), Unsupported, "in its namespace")
    killed(instance, created)


@case
def a_port_that_is_dialled(world: World) -> None:
    """Of one whose loopback is another kernel's. Others are reached in their namespace, and that is said."""
    instance, created = world.started("sleep", "1000")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        if world.guest:
            _dialled(world, instance, ours, theirs)
        else:
            refused(partial(instance.dial, 80, theirs.fileno()), Unsupported, "in its namespace")
    killed(instance, created)


def _dialled(world: World, instance: Instance, ours: socket.socket, theirs: socket.socket) -> None:
    port = free_port()
    refused(partial(instance.dial, port, theirs.fileno()), Failed, "connection refused")
    serving, reader = world.entered(instance, "sh", "-c", f"echo hello | busybox nc -l -p {port}")
    while True:
        try:
            instance.dial(port, theirs.fileno())
        except Failed:  # it does not listen yet
            continue
        break
    theirs.close()  # the instance has its own
    assert world.some(ours.fileno()) == b"hello\n"
    ours.sendall(b"bye")
    ours.shutdown(socket.SHUT_WR)
    world.wait(serving.ended)
    assert serving.reap() == 0
    with os.fdopen(reader, "rb", buffering=0) as file:
        assert world.some(file.fileno()) == b"bye", "the program's output"


def _plugged_in(world: World, instance: Instance, plug: Plug, device: int) -> None:
    instance.change_network(plug, [device])
    shown = world.output_of(instance, "busybox", "ip", "address", "show", "web0")
    for part in ("mtu 1400", "link/ether 02:42:0a:09:08:02", "inet 10.9.8.2/24", "inet6 fd00:98::2/64"):
        assert part in shown, shown
    refused(lambda: instance.change_network(plug, [device]), Conflict, "web0")
    refused(lambda: instance.change_network(plug._replace(name="web1"), [world.pipe]), Invalid, "tap")
    lost = plug._replace(name="web2", mac="02:42:0a:09:08:03", addresses=("nowhere",))
    with tap(f"cl{os.getpid()}", world.tap_flags) as other:
        refused(lambda: instance.change_network(lost, [other]), CortenError, "nowhere")
    refused(partial(instance.detach, "web2"), NotFound, "web2")
    instance.change_network(Route("web0", ("10.9.8.9",)))
    routes = world.output_of(instance, "busybox", "ip", "route").splitlines()
    assert [line.split()[2] for line in routes if line.startswith("default")] == ["10.9.8.9"]
    refused(lambda: instance.change_network(Route("web3", ("10.9.8.9",))), NotFound, "web3")
    instance.pause()
    instance.detach("web0")
    instance.resume()
    assert "web0" not in world.devices(instance)


def _named(world: World, instance: Instance) -> None:
    """Twice: another socket takes the place of the first."""
    for answer in ("10.9.8.77", "10.9.8.78"):
        server, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with server, theirs:
            instance.change_network(ServeNames(), [theirs.fileno()])
            asking, reader = world.entered(instance, "busybox", "nslookup", "-type=a", "web.example", "127.0.0.11")
            world.wait(server.fileno())
            message = server.recv(4096)
            server.send(dns.addresses(message, dns.parse(message), [IPv4Address(answer)], dns.LARGEST))
            with os.fdopen(reader, "rb", buffering=0) as file:
                text = b"".join(iter(lambda: world.some(file.fileno(), 65536), b""))
            world.wait(asking.ended)
            assert asking.reap() == 0 and f"Address: {answer}".encode() in text, text
