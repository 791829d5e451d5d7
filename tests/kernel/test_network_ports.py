"""Published ports of every protocol: what arrives, its source address, and the named holder of one that is taken."""

# ruff: noqa: F401, F811 - fixtures are imported

from __future__ import annotations

import ipaddress
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator

import pytest

from corten.errors import Failed
from corten.network.holders import holder
from netns import Net
from network_world import World, host, neighbour, world

SCTP = 132


def crc32c(data: bytes) -> int:
    """RFC 9260, appendix A: reflected, polynomial 1EDC6F41."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def packet(source: int, destination: int, chunk: bytes, tag: int) -> bytes:
    """An SCTP packet of one chunk."""
    head = struct.pack(">HHI", source, destination, tag)
    return head + struct.pack("<I", crc32c(head + bytes(4) + chunk)) + chunk


def init(kind: int, tag: int) -> bytes:
    """INIT (1) or INIT ACK (2)."""
    return struct.pack(">BBHIIHHI", kind, 0, 20, tag, 65536, 1, 1, 1)


def raw(net: Net) -> socket.socket:
    with net.entered():
        made = socket.socket(socket.AF_INET, socket.SOCK_RAW, SCTP)
    made.settimeout(5)
    return made


async def test_sctp_is_translated_both_ways(world: World, neighbour: Net) -> None:
    """Without an SCTP stack on either side (this kernel may have none): an association's first two packets."""
    box, endpoint = await world.run("box", ports={"90/sctp": [{"HostPort": "9000"}]})
    assert endpoint.ports["90/sctp"] == [{"HostIp": "0.0.0.0", "HostPort": "9000"}]
    client, server = raw(neighbour), raw(box)
    client.sendto(packet(5555, 9000, init(1, 0x1234), 0), ("192.0.2.1", 0))
    data, peer = server.recvfrom(2000)
    assert peer[0] == "192.0.2.9"  # the client's own address
    assert struct.unpack(">HH", data[20:24]) == (5555, 90)
    server.sendto(packet(90, 5555, init(2, 0x5678), 0x1234), ("192.0.2.9", 0))
    data, peer = client.recvfrom(2000)
    assert peer[0] == "192.0.2.1"
    assert struct.unpack(">HH", data[20:24]) == (9000, 5555)
    await world.networks.disconnect(endpoint)
    assert (
        "sctp" not in world.host.run("nft", "list", "map", "inet", "corten-ct0", "ports4_any").partition("elements")[2]
    )
    client.close()
    server.close()


HOLD = """
import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, int(sys.argv[3]))
s.bind((sys.argv[1], int(sys.argv[2])))
s.type == socket.SOCK_DGRAM or s.listen()
print("bound", flush=True)
sys.stdin.read()
"""


@pytest.fixture(params=[("0.0.0.0", "tcp"), ("192.0.2.1", "tcp"), ("::", "tcp"), ("127.0.0.1", "udp")], ids=" ".join)
def taken(host: Net, neighbour: Net, request: pytest.FixtureRequest) -> Iterator[tuple[str, str, int]]:
    """Another program with port 8080: its address, protocol and pid."""
    address, protocol = request.param
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    command = [sys.executable, "-c", HOLD, address, "8080", str(int(kind))]
    with host.entered(), subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        program.stdout.readline()
        yield address, protocol, program.pid


async def test_the_program_that_has_a_port_is_named(world: World, taken: tuple[str, str, int]) -> None:
    _, protocol, pid = taken
    with pytest.raises(Failed, match=rf"8080 failed: port is already allocated \(by process \S+, pid {pid}\)"):
        await world.run("web", ports={f"80/{protocol}": [{"HostPort": "8080"}]})
    assert world.leftovers() == []


async def test_no_holder_is_named_for_a_free_port(world: World) -> None:
    assert holder("tcp", ipaddress.ip_address("0.0.0.0"), 8080) == ""
    assert holder("sctp", ipaddress.ip_address("0.0.0.0"), 8080) == ""
