"""Docker's requests to create a network, and what an endpoint may ask of one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Protocol

import pytest

from corten.engine.networks.requests import definition_of
from corten.errors import Forbidden, Invalid, NotFound, Unavailable
from corten.network.addresses import Addresses, AddressRequest
from corten.network.dataplane import Dataplane
from corten.network.definition import Definition
from corten.network.driver import ActiveNetwork, Reachability
from corten.network.drivers.bridge_options import bridge_name, icc
from corten.network.drivers.none import NoneDriver
from corten.network.endpoint_request import address_request
from corten.spec.docker.networking import EndpointSettings
from docker_json import endpoint, network

ID = "a1b2c3d4e5f6" + "0" * 52


class Make(Protocol):
    def __call__(self, **request: Any) -> Definition: ...


@pytest.fixture
def make() -> Iterator[Make]:
    """A definition of Docker's request; the data plane's socket is not used, its drivers only check."""
    plane = Dataplane("unit")

    def made(**request: Any) -> Definition:
        asked = network({"Name": "mine", **request})
        return definition_of(asked, ID, "2026-01-01T00:00:00Z", plane.drivers, no_configuration)

    yield made
    plane.close()


def no_configuration(name: str) -> Definition:
    raise NotFound(name)


def wanted(made: Definition, settings: EndpointSettings) -> AddressRequest:
    return address_request(ActiveNetwork(made, Plain(), Addresses(replace(made, ranges=()))), settings)


class Plain(NoneDriver):
    reachability = Reachability()


def test_a_plain_network(make: Make) -> None:
    made = make()
    assert (made.driver, made.ipv4, made.ipv6, made.internal, bridge_name(made)) == (
        "bridge",
        True,
        False,
        False,
        "br-a1b2c3d4e5f6",
    )
    assert Definition.from_json(made.to_json()) == made
    assert made.wire({})["IPAM"] == {"Driver": "default", "Options": None, "Config": []}
    assert make(IPAM={"Options": {}}).wire({})["IPAM"]["Options"] == {}  # as dockerd, what was sent


def test_a_gateway_of_our_choice_is_not_shown_in_a_subnet_of_the_client(make: Make) -> None:
    (given,) = make(IPAM={"Config": [{"Subnet": "10.1.0.0/24"}]}).ranges
    filled = given.with_gateway(True)
    assert (filled.gateway, filled.wire()) == ("10.1.0.1", {"Subnet": "10.1.0.0/24"})
    assert given.with_gateway(False).wire() == {"Subnet": "10.1.0.0/24", "Gateway": "10.1.0.1"}
    (whole,) = make(IPAM={"Config": [{"Subnet": "10.1.0.0/24", "Gateway": "10.1.0.9"}]}).ranges
    assert whole.with_gateway(True).wire() == {"Subnet": "10.1.0.0/24", "Gateway": "10.1.0.9"}


def test_everything_survives_storing(make: Make) -> None:
    made = make(
        EnableIPv6=True,
        Internal=True,
        Labels={"a": "b"},
        Options={"com.docker.network.driver.mtu": "1400", "com.docker.network.bridge.enable_icc": "false"},
        IPAM={
            "Config": [
                {"Subnet": "10.1.2.3/16", "Gateway": "10.1.0.9", "AuxAddress": {"x": "10.1.0.8"}},
                {"Subnet": "fd00::/64"},
            ]
        },
    )
    assert Definition.from_json(made.to_json()) == made
    assert (made.mtu, icc(made), made.user_ranges) == (1400, False, True)
    assert [r.subnet for r in made.ranges] == ["10.1.0.0/16", "fd00::/64"]


def test_a_subnet_of_ipv6_where_that_is_not_enabled_is_shown_alone(make: Make) -> None:
    """dockerd 20.10 to 29 take it, and use it for nothing; an address in it is refused."""
    made = make(IPAM={"Config": [{"Subnet": "10.1.0.0/16"}, {"Subnet": "2001:db8:1::/64"}]})
    addresses = Addresses(made)
    assert [r["Subnet"] for r in made.wire({})["IPAM"]["Config"]] == ["10.1.0.0/16", "2001:db8:1::/64"]
    assert [str(s.network) for s in addresses.subnets] == ["10.1.0.0/16"]
    asked = endpoint({"IPAMConfig": {"IPv6Address": "2001:db8:1::d"}})
    with pytest.raises(Invalid, match="address 2001:db8:1::d: IPv6 is not enabled for network mine"):
        address_request(ActiveNetwork(made, Plain(), addresses), asked)
    assert not make(IPAM={"Config": [{"Subnet": "2001:db8:1::/64"}]}).user_ranges
    assert make(EnableIPv6=True, IPAM={"Config": [{"Subnet": "2001:db8:1::/64"}]}).user_ranges


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ({"Name": ""}, Invalid),
        ({"Name": "  "}, Invalid),
        ({"Name": "a\nb"}, Invalid),
        ({"Name": "bridge"}, Forbidden),
        ({"Driver": "host"}, Forbidden),
        ({"Driver": "overlay"}, Unavailable),
        ({"Ingress": True}, Unavailable),
        ({"Driver": "weave"}, NotFound),
        ({"IPAM": {"Driver": "other"}}, NotFound),
        ({"ConfigOnly": True, "Internal": True}, Forbidden),
        ({"ConfigOnly": True, "ConfigFrom": {"Network": "other"}}, Forbidden),
        ({"ConfigFrom": {"Network": "other"}, "Labels": {"a": "b"}}, Forbidden),
        ({"ConfigFrom": {"Network": "other"}, "Options": {"a": "b"}}, Forbidden),
        ({"Options": {"com.docker.network.bridge.gateway_mode_ipv4": "bent"}}, Invalid),
        ({"Options": {"com.docker.network.bridge.gateway_mode_ipv4": "isolated"}}, Invalid),
        ({"IPAM": {"Config": [{"Subnet": "10.0.0.0"}]}}, Invalid),
        ({"IPAM": {"Config": [{"Subnet": "10.0.0.0/33"}]}}, Invalid),
        ({"IPAM": {"Config": [{"Gateway": "10.0.0.1"}]}}, Invalid),
        ({"IPAM": {"Config": [{"Subnet": "10.0.0.0/24", "Gateway": "10.0.1.1"}]}}, Invalid),
        ({"IPAM": {"Config": [{"Subnet": "10.0.0.0/24", "IPRange": "10.0.1.0/25"}]}}, Invalid),
        ({"IPAM": {"Config": [{"Subnet": "10.0.0.0/24"}, {"Subnet": "10.0.1.0/24"}]}}, Invalid),
        ({"EnableIPv6": True, "IPAM": {"Config": [{"Subnet": "fd00::/64"}, {"Subnet": "fd01::/64"}]}}, Invalid),
        ({"EnableIPv4": False, "EnableIPv6": True, "IPAM": {"Config": [{"Subnet": "10.0.0.0/24"}]}}, Invalid),
        ({"EnableIPv4": False}, Invalid),
        ({"Options": {"com.docker.network.bridge.name": "x" * 16}}, Invalid),
        ({"Options": {"com.docker.network.bridge.name": "../x"}}, Invalid),
        ({"Options": {"com.docker.network.bridge.enable_icc": "perhaps"}}, Invalid),
        ({"Options": {"com.docker.network.driver.mtu": "12"}}, Invalid),
        ({"Options": {"x": 1}}, Invalid),
        ({"Labels": ["a"]}, Invalid),
    ],
)
def test_refusals(make: Make, request_: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        make(**request_)


@pytest.mark.parametrize(
    "settings",
    [
        {"IPAMConfig": {"IPv4Address": "fd00::1"}},
        {"IPAMConfig": {"IPv4Address": "10.1.0.400"}},
        {"IPAMConfig": {"LinkLocalIPs": ["10.0.0.1"]}},
        {"MacAddress": "02:42"},
        {"MacAddress": "01:00:5e:00:00:01"},
        {"MacAddress": "00:00:00:00:00:00"},
        {"MacAddress": "0x:00:00:00:00:00"},
    ],
)
def test_endpoint_requests_that_cannot_be(make: Make, settings: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        wanted(make(IPAM={"Config": [{"Subnet": "10.1.0.0/16"}]}), endpoint(settings))


def test_endpoint_requests(make: Make) -> None:
    made = make(IPAM={"Config": [{"Subnet": "10.1.0.0/16"}]})
    found = wanted(
        made,
        endpoint(
            {"IPAMConfig": {"IPv4Address": "10.1.0.7", "LinkLocalIPs": ["fe80::7"]}, "MacAddress": "02-42-AC-11-00-02"}
        ),
    )
    assert (str(found.v4), found.mac, [str(a) for a in found.link_local]) == (
        "10.1.0.7",
        "02:42:ac:11:00:02",
        ["fe80::7"],
    )
    with pytest.raises(Invalid, match="user configured subnets"):
        wanted(make(), endpoint({"IPAMConfig": {"IPv4Address": "10.1.0.7"}}))
