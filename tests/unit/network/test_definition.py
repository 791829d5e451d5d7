from __future__ import annotations

from typing import Any

import pytest

from corten.errors import Forbidden, Invalid, NotFound, Unavailable
from corten.network.addresses import wanted
from corten.network.definition import Definition, from_request
from docker_json import endpoint, network

ID = "a1b2c3d4e5f6" + "0" * 52


def make(**request: Any) -> Definition:
    return from_request(network({"Name": "mine", **request}), ID, "2026-01-01T00:00:00Z")


def test_a_plain_network() -> None:
    made = make()
    assert (made.driver, made.ipv4, made.ipv6, made.internal, made.bridge) == (
        "bridge",
        True,
        False,
        False,
        "br-a1b2c3d4e5f6",
    )
    assert Definition.from_json(made.to_json()) == made
    assert made.wire({})["IPAM"] == {"Driver": "default", "Options": None, "Config": []}


def test_everything_survives_storing() -> None:
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
    assert (made.mtu, made.icc, made.user_ranges) == (1400, False, True)
    assert [r.subnet for r in made.ranges] == ["10.1.0.0/16", "fd00::/64"]


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
        ({"IPAM": {"Config": [{"Subnet": "fd00::/64"}]}}, Invalid),
        ({"EnableIPv4": False}, Invalid),
        ({"Options": {"com.docker.network.bridge.name": "x" * 16}}, Invalid),
        ({"Options": {"com.docker.network.bridge.name": "../x"}}, Invalid),
        ({"Options": {"com.docker.network.bridge.enable_icc": "perhaps"}}, Invalid),
        ({"Options": {"com.docker.network.driver.mtu": "12"}}, Invalid),
        ({"Options": {"x": 1}}, Invalid),
        ({"Labels": ["a"]}, Invalid),
    ],
)
def test_refusals(request_: dict[str, Any], error: type[Exception]) -> None:
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
def test_endpoint_wishes_that_cannot_be(settings: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        wanted(make(IPAM={"Config": [{"Subnet": "10.1.0.0/16"}]}), endpoint(settings))


def test_endpoint_wishes() -> None:
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
