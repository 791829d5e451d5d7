"""macvlan and ipvlan: what is asked of the kernel. The tests' kernel may have no ipvlan, so its plan is read here."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator

import pytest

from corten.errors import Invalid, Unsupported
from corten.kernel.netlink import attributes
from corten.network.definition import Definition
from corten.network.drivers.ipvlan import IpvlanDriver
from corten.network.drivers.macvlan import MacvlanDriver
from corten.network.interface import InterfaceSpec
from corten.network.links import HostLinks

SPEC = InterfaceSpec(
    "eth0",
    "02:42:0a:00:00:02",
    (ipaddress.ip_interface("10.0.0.2/24"), ipaddress.ip_interface("fd00::2/64")),
    (ipaddress.ip_address("10.0.0.1"), ipaddress.ip_address("fd00::1")),
    1400,
)
IFINFO = 16


@pytest.fixture
def links() -> Iterator[HostLinks]:
    made = HostLinks("unit")
    yield made
    made.close()


@pytest.fixture
def macvlan(links: HostLinks) -> MacvlanDriver:
    return MacvlanDriver(links, [])


@pytest.fixture
def ipvlan(links: HostLinks) -> IpvlanDriver:
    return IpvlanDriver(links, [])


def network(driver: str, **options: str) -> Definition:
    return Definition("f" * 64, "n", "", driver, ipv6=True, options=options)


def kind_and_mode(body: bytes) -> tuple[bytes, bytes]:
    info = attributes(attributes(body, IFINFO)[18])
    return info[1], attributes(info[2])[1]


@pytest.mark.parametrize(("mode", "number"), [("", 4), ("bridge", 4), ("private", 1), ("vepa", 2), ("passthru", 8)])
def test_the_message_of_a_macvlan(macvlan: MacvlanDriver, mode: str, number: int) -> None:
    made = network("macvlan", parent="eth7", **({"macvlan_mode": mode} if mode else {}))
    body = macvlan.message(made, 7, 101, 33, SPEC).body
    found = attributes(body, IFINFO)
    assert struct.unpack_from("=i", body, 4) == (101,)
    assert (found[3], found[5]) == (b"eth0\0", struct.pack("=I", 7))  # its name, and the parent's number
    assert found[1] == bytes.fromhex("02420a000002")
    assert (found[4], found[28]) == (struct.pack("=I", 1400), struct.pack("=I", 33))
    assert kind_and_mode(body) == (b"macvlan\0", struct.pack("=I", number))


@pytest.mark.parametrize(("mode", "number"), [("", 0), ("l2", 0), ("l3", 1), ("l3s", 2)])
def test_the_message_of_an_ipvlan(ipvlan: IpvlanDriver, mode: str, number: int) -> None:
    made = network("ipvlan", parent="eth7", **({"ipvlan_mode": mode} if mode else {}))
    body = ipvlan.message(made, 7, 101, 33, SPEC).body
    assert 1 not in attributes(body, IFINFO)  # its MAC is its parent's
    assert kind_and_mode(body) == (b"ipvlan\0", struct.pack("=H", number))


def test_the_default_route_of_an_l3_ipvlan_is_the_device(ipvlan: IpvlanDriver) -> None:
    names = [r.name for r in ipvlan.inner(network("ipvlan", parent="e", ipvlan_mode="l3"), 5, SPEC, has_ipv6=True)]
    assert names[-2:] == ["add route default via 5", "add route default via 5"]  # one of each family
    names = [r.name for r in ipvlan.inner(network("ipvlan", parent="e"), 5, SPEC, has_ipv6=True)]
    assert names[-2:] == ["add route default via 10.0.0.1", "add route default via fd00::1"]


def test_no_ipv6_is_spoken_of_where_there_is_none(macvlan: MacvlanDriver) -> None:
    made = network("macvlan", parent="e")
    with_it, without = (macvlan.inner(made, 5, SPEC, has) for has in (True, False))
    assert len(with_it) == len(without) + 1


def test_a_network_without_parent_has_one_of_its_own(macvlan: MacvlanDriver) -> None:
    made = network("macvlan")
    assert macvlan.device(made) == "dm-" + "f" * 12
    assert macvlan.sources(made, 4) == ("n",)
    assert macvlan.sources(network("macvlan", parent="eth0"), 4) == ("outside", "n")


@pytest.mark.parametrize(
    "options",
    [
        {"macvlan_mode": "l2"},
        {"parent": "a/b"},
        {"parent": "longer than a name"},
        *({"com.docker.network.driver.mtu": text} for text in ("7", "", "²", "٦٨", "65536", "1" * 5000)),
    ],
)
def test_bad_options_of_a_macvlan(macvlan: MacvlanDriver, options: dict[str, str]) -> None:
    with pytest.raises(Invalid):
        macvlan.check(network("macvlan", **options))


def test_bad_options_of_an_ipvlan(ipvlan: IpvlanDriver) -> None:
    with pytest.raises(Invalid):
        ipvlan.check(network("ipvlan", ipvlan_mode="bridge"))
    with pytest.raises(Unsupported):
        ipvlan.check(network("ipvlan", ipvlan_flag="vepa"))
