"""`endpoint_mode: vip`: what of a service's ports its containers share, and with which engine."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Address, IPv6Address

import pytest
from msgspec.structs import replace

from compose_parts.world import World
from corten.compose.loader import without_effect
from corten.compose.observed import Observed
from corten.compose.plan.asked import Asked
from corten.compose.plan.up import up
from corten.compose.refusals import Refused
from corten.compose.requests.container import Made, container
from corten.kernel import nft
from corten.network.balance import SLOTS, Place, elements

MADE = Made(name="demo-web-1", number=1, hash="h", image="sha256:1")
FILE = """
name: demo
services:
  web:
    image: x
    ports:
      - "127.0.0.1:8080:80"
      - "9000-9005:90"
      - "70"
      - {target: 60, published: "6000", mode: host}
    deploy: {replicas: 3, endpoint_mode: vip}
"""
SHARED = [{"Group": "demo/web", "Port": "80/tcp", "HostIp": "127.0.0.1", "HostPort": "8080"}]


def test_fixed_ports_are_shared(world: World) -> None:
    project = world.load(FILE)
    asked = container(project, project.services["web"], replace(MADE, balanced=True), (1, 50)).given_json()[
        "HostConfig"
    ]
    assert asked["BalancedPorts"] == SHARED
    assert asked["PortBindings"].keys() == {"90/tcp", "70/tcp", "60/tcp"}
    assert without_effect(project) == ()


@pytest.mark.parametrize("more", ["network_mode: host", "network_mode: none"])
def test_without_a_network_of_its_own_there_is_nothing_to_share(world: World, more: str) -> None:
    service = world.service(f"{{image: x, {more}, ports: ['8080:80'], deploy: {{endpoint_mode: vip}}}}")
    assert service.balanced == ()


def test_another_engine(world: World) -> None:
    """One container has the port as ever; several are refused before anything is made."""
    project = world.load(FILE)
    asked = container(project, project.services["web"], MADE, (1, 50)).given_json()["HostConfig"]
    bound = [{"HostIp": "127.0.0.1", "HostPort": "8080"}]
    assert "BalancedPorts" not in asked and asked["PortBindings"]["80/tcp"] == bound
    with pytest.raises(Refused, match="service web publishes port 8080 for 3 containers"):
        up(project, Observed(), Asked())
    assert up(project, Observed(), Asked(scales={"web": 1})).steps
    assert up(project, Observed(balances=True), Asked()).steps


@pytest.mark.parametrize("count", [1, 2, 3, 7, SLOTS])
def test_all_get_their_share(count: int) -> None:
    four = [(IPv4Address(f"10.0.0.{number + 2}"), 80) for number in range(count)]
    place, loopback = Place(6, IPv4Address("0.0.0.0"), 8080), Place(6, IPv6Address("::1"), 8080)
    found = elements({place: four, loopback: []})
    assert found.keys() == {"balanced4_any"}
    keys = {nft.value(b"\x06", nft.port(8080), nft.number(slot)) for slot in range(SLOTS)}
    assert {each.key for each in found["balanced4_any"]} == keys
    shares = Counter(each.data for each in found["balanced4_any"]).values()
    assert len(shares) == count and max(shares) - min(shares) <= 1
