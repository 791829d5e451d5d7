"""macvlan and ipvlan: what is asked of the kernel. The tests' kernel may have no ipvlan, so its plan is read here."""

from __future__ import annotations

import ipaddress
import struct

import pytest

from corten.errors import Invalid, NotFound, Unsupported
from corten.kernel.netlink import attributes
from corten.network.bridge import Plug
from corten.network.definition import Definition, from_request
from corten.network.stacked import device, inner
from corten.spec.docker.networking import NetworkCreate

PLUG = Plug(
    "eth0",
    "02:42:0a:00:00:02",
    (ipaddress.ip_interface("10.0.0.2/24"), ipaddress.ip_interface("fd00::2/64")),
    (ipaddress.ip_address("10.0.0.1"), ipaddress.ip_address("fd00::1")),
    1400,
)
IFINFO = 16


def network(driver: str, **options: str) -> Definition:
    return from_request(NetworkCreate(name="n", driver=driver, enable_ipv6=True, options=options), "f" * 64, "")


def kind_and_mode(body: bytes) -> tuple[bytes, bytes]:
    info = attributes(attributes(body, IFINFO)[18])
    return info[1], attributes(info[2])[1]


@pytest.mark.parametrize(("mode", "number"), [("", 4), ("bridge", 4), ("private", 1), ("vepa", 2), ("passthru", 8)])
def test_the_message_of_a_macvlan(mode: str, number: int) -> None:
    made = network("macvlan", parent="eth7", **({"macvlan_mode": mode} if mode else {}))
    body = device(made, 7, 101, 33, PLUG).body
    found = attributes(body, IFINFO)
    assert struct.unpack_from("=i", body, 4) == (101,)
    assert (found[3], found[5]) == (b"eth0\0", struct.pack("=I", 7))  # its name, and the parent's number
    assert found[1] == bytes.fromhex("02420a000002")
    assert (found[4], found[28]) == (struct.pack("=I", 1400), struct.pack("=I", 33))
    assert kind_and_mode(body) == (b"macvlan\0", struct.pack("=I", number))


@pytest.mark.parametrize(("mode", "number"), [("", 0), ("l2", 0), ("l3", 1), ("l3s", 2)])
def test_the_message_of_an_ipvlan(mode: str, number: int) -> None:
    made = network("ipvlan", parent="eth7", **({"ipvlan_mode": mode} if mode else {}))
    body = device(made, 7, 101, 33, PLUG).body
    assert 1 not in attributes(body, IFINFO)  # its MAC is its parent's
    assert kind_and_mode(body) == (b"ipvlan\0", struct.pack("=H", number))


def test_the_way_out_of_an_l3_ipvlan_is_the_device() -> None:
    names = [r.name for r in inner(network("ipvlan", parent="e", ipvlan_mode="l3"), 5, PLUG, has_ipv6=True)]
    assert names[-2:] == ["add route default via 5", "add route default via 5"]  # one of each family
    names = [r.name for r in inner(network("ipvlan", parent="e"), 5, PLUG, has_ipv6=True)]
    assert names[-2:] == ["add route default via 10.0.0.1", "add route default via fd00::1"]


def test_no_ipv6_is_spoken_of_where_there_is_none() -> None:
    with_it, without = (inner(network("macvlan", parent="e"), 5, PLUG, has) for has in (True, False))
    assert len(with_it) == len(without) + 1


def test_a_network_without_parent_has_one_of_its_own() -> None:
    made = network("macvlan")
    assert made.own_parent and made.parent == "dm-" + "f" * 12
    assert not network("macvlan", parent="eth0").own_parent


def test_bad_options() -> None:
    for driver, options in (
        ("macvlan", {"macvlan_mode": "l2"}),
        ("ipvlan", {"ipvlan_mode": "bridge"}),
        ("macvlan", {"parent": "a/b"}),
        ("macvlan", {"parent": "longer than a name"}),
        ("macvlan", {"com.docker.network.driver.mtu": "7"}),
    ):
        with pytest.raises(Invalid):
            network(driver, **options)
    with pytest.raises(Unsupported):
        network("ipvlan", ipvlan_flag="vepa")
    with pytest.raises(NotFound):
        network("qvlan")
