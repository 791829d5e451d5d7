from __future__ import annotations

import ipaddress
import socket

import pytest

from corten.errors import Failed, Invalid
from corten.network.firewall import Published
from corten.network.ports import PortRequest, Reservations, Target, parse_port, port_requests, published_again, report
from docker_json import port_map
from free_ports import free_port, free_ports

V4, V6 = ipaddress.ip_address("172.17.0.2"), ipaddress.ip_address("fd00::2")
TARGET = Target("web", "e" * 64, V4, None)
BOTH = Target("web", "e" * 64, V4, V6)
LOCAL = ipaddress.ip_address("127.0.0.1")


@pytest.mark.parametrize(
    ("text", "parsed"),
    [("80/tcp", (80, "tcp")), ("53/UDP", (53, "udp")), ("65535", (65535, "tcp")), ("1/sctp", (1, "sctp"))],
)
def test_a_port(text: str, parsed: tuple[int, str]) -> None:
    assert parse_port(text) == parsed


@pytest.mark.parametrize(
    "text", ["", "/tcp", "0/tcp", "65536", "80/icmp", "a", "-1", "80-81/tcp", "9" * 5000, "８０", " 80"]
)
def test_no_port(text: str) -> None:
    with pytest.raises(Invalid):
        parse_port(text)


def test_port_requests() -> None:
    bindings = {
        "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}, {"HostPort": "9000-9010"}],
        "53/udp": None,
        "443": [{"HostIp": "", "HostPort": ""}],
    }
    assert port_requests(port_map(bindings), ["80/tcp", "81/tcp"], publish_all=True) == [
        PortRequest(80, "tcp", "127.0.0.1", 8080, 8080),
        PortRequest(80, "tcp", "", 9000, 9010),
        PortRequest(81, "tcp", "", 0, 0),
        PortRequest(443, "tcp", "", 0, 0),
        PortRequest(53, "udp", "", 0, 0),
    ]
    assert port_requests({}, ["80/tcp"], publish_all=False) == []


@pytest.mark.parametrize(
    ("text", "first", "last"), [("8125/udp", 8125, 8125), ("90-95/tcp/", 90, 95), ("80/", 80, 80), ("/81", 0, 0)]
)
def test_a_port_of_the_host_with_a_protocol(text: str, first: int, last: int) -> None:
    """What testcontainers writes. The protocol is the container's port's, as in dockerd."""
    asked = port_requests(port_map({"80/tcp": [{"HostPort": text}]}), [], False)
    assert asked == [PortRequest(80, "tcp", "", first, last)]


@pytest.mark.parametrize(
    "row",
    [
        {"HostPort": "70000"},
        {"HostPort": "90-80"},
        {"HostPort": "x"},
        {"HostIp": "localhost"},
        {"HostPort": "1-"},
        {"HostPort": "udp/1"},
    ],
)
def test_bad_bindings(row: dict[str, str]) -> None:
    with pytest.raises(Invalid):
        port_requests(port_map({"80/tcp": [row]}), [], False)


def test_report_and_back() -> None:
    published = [
        Published("tcp", ipaddress.ip_address("0.0.0.0"), 8080, V4, 80),
        Published("tcp", ipaddress.ip_address("::"), 8080, V6, 80),
    ]
    shown = report(["80/tcp", "81/tcp"], published)
    assert shown == {
        "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}],
        "81/tcp": None,
    }
    assert published_again(shown, V4, V6) == published


def test_a_reservation_excludes_other_sockets_and_ends() -> None:
    held, port = Reservations(), free_port()
    taken = held.take([PortRequest(80, "tcp", "127.0.0.1", port, port)], TARGET)
    assert taken == [Published("tcp", LOCAL, port, V4, 80)]
    for reuse in (0, 1):
        with socket.socket() as rival:
            rival.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
            with pytest.raises(OSError):
                rival.bind(("127.0.0.1", port))
    with socket.socket() as client, pytest.raises(ConnectionRefusedError):
        client.connect(("127.0.0.1", port))  # refused, not left waiting
    held.release(taken)
    held.release(taken)
    with socket.socket() as rival:
        rival.bind(("127.0.0.1", port))


def test_all_or_none() -> None:
    held, port = Reservations(), free_port()
    with socket.socket() as rival:
        busy = free_port()
        rival.bind(("127.0.0.1", busy))
        with pytest.raises(Failed, match=rf"endpoint web \(e+\): Bind for 127\.0\.0\.1:{busy} failed: port is already"):
            held.take(
                [PortRequest(80, "tcp", "127.0.0.1", port, port), PortRequest(81, "tcp", "127.0.0.1", busy, busy)],
                TARGET,
            )
    assert len(held) == 0


def test_a_port_of_another_container_names_it() -> None:
    held, port = Reservations(), free_port()
    asked = PortRequest(80, "tcp", "127.0.0.1", port, port)
    taken = held.take([asked], TARGET)
    with pytest.raises(Failed, match=r"already allocated \(by container web\)"):
        held.take([asked], Target("other", "f" * 64, V4, None))
    held.release(taken)


def test_a_range_goes_on_to_the_next() -> None:
    held, busy = Reservations(), free_ports(2)
    with socket.socket() as rival:
        rival.bind(("127.0.0.1", busy))
        taken = held.take([PortRequest(80, "tcp", "127.0.0.1", busy, busy + 1)], TARGET)
    assert taken[0].host_port == busy + 1
    held.release(taken)


def test_what_was_asked_for_is_not_given_to_another_of_the_same_container() -> None:
    """Whatever comes first in the list: any port, one of a range, exactly this one."""
    held, first = Reservations(), free_ports(3)
    held._ephemeral = lambda: iter(range(first, first + 3))  # type: ignore[method-assign]
    requests = [
        PortRequest(80, "tcp", "127.0.0.1", 0, 0),
        PortRequest(81, "tcp", "127.0.0.1", first, first + 1),
        PortRequest(82, "tcp", "127.0.0.1", first, first),
    ]
    for asked in (requests, requests[::-1]):
        taken = held.take(asked, TARGET)
        assert {one.port: one.host_port for one in taken} == {80: first + 2, 81: first + 1, 82: first}
        assert [one.port for one in taken] == [one.port for one in asked]
        held.release(taken)
    with pytest.raises(Failed):
        held.take([*requests, PortRequest(83, "tcp", "127.0.0.1", 0, 0)], TARGET)
    assert len(held) == 0


def test_time_wait_is_no_obstacle() -> None:
    """A server's port stays in TIME_WAIT for a minute; publishing it must not wait for that."""
    port = free_port()
    with socket.create_server(("127.0.0.1", port)) as server, socket.create_connection(("127.0.0.1", port)) as client:
        accepted, _ = server.accept()
        accepted.close()  # closes first, and so keeps the port
        assert client.recv(1) == b""
    held = Reservations()
    taken = held.take([PortRequest(80, "tcp", "127.0.0.1", port, port)], TARGET)
    with socket.socket() as rival:
        rival.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError):
            rival.bind(("127.0.0.1", port))
    held.release(taken)


def test_an_address_that_is_not_this_hosts() -> None:
    with pytest.raises(Failed, match="cannot assign requested address"):
        Reservations().take([PortRequest(80, "tcp", "192.0.2.254", 8080, 8080)], TARGET)
    with pytest.raises(Invalid, match="no IPv6 address"):
        Reservations().take([PortRequest(80, "tcp", "::1", 8080, 8080)], TARGET)


def test_both_families_get_one_port() -> None:
    held = Reservations()
    four, six = held.take([PortRequest(80, "udp", "", 0, 0)], BOTH)
    assert (four.host_ip.version, six.host_ip.version, four.host_port) == (4, 6, six.host_port)
    held.release([four, six])


def test_what_was_taken_meanwhile_is_a_complaint() -> None:
    with socket.socket() as rival:
        busy = free_port()
        rival.bind(("127.0.0.1", busy))
        held = Reservations()
        complaints = held.retake([Published("tcp", LOCAL, busy, V4, 80)], "web")
    assert complaints == [f"port {busy}/tcp on 127.0.0.1: Address already in use"]
