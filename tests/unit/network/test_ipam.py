from __future__ import annotations

import ipaddress
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.errors import Exhausted, Forbidden, Invalid
from corten.network.ipam import DEFAULT_POOLS, Pool, Subnet, choose, overlapping, parse_pool, ula_pool

ip, net = ipaddress.ip_address, ipaddress.ip_network


def test_the_gateway_is_first_and_addresses_follow() -> None:
    subnet = Subnet(net("10.0.0.0/29"))
    assert str(subnet.gateway) == "10.0.0.1"
    assert [str(subnet.allocate()) for _ in range(5)] == [f"10.0.0.{n}" for n in range(2, 7)]
    with pytest.raises(Exhausted, match=r"10\.0\.0\.0/29"):
        subnet.allocate()
    subnet.release(ip("10.0.0.4"))
    subnet.release(ip("10.0.0.4"))
    assert str(subnet.allocate()) == "10.0.0.4"
    with pytest.raises(Exhausted):
        subnet.allocate()


def test_a_range_does_not_limit_requested_addresses() -> None:
    subnet = Subnet(net("10.0.0.0/16"), ip("10.0.0.1"), net("10.0.5.0/30"), {"printer": ip("10.0.5.1")})
    assert [str(subnet.allocate()) for _ in range(3)] == ["10.0.5.0", "10.0.5.2", "10.0.5.3"]
    assert str(subnet.allocate(ip("10.0.200.9"))) == "10.0.200.9"
    with pytest.raises(Forbidden, match="already in use"):
        subnet.allocate(ip("10.0.5.1"))


@pytest.mark.parametrize("address", ["10.0.0.0", "10.0.255.255", "10.1.0.1", "fd00::1"])
def test_addresses_that_cannot_be_allocated(address: str) -> None:
    with pytest.raises(Invalid, match=address):
        Subnet(net("10.0.0.0/16")).allocate(ip(address))


@pytest.mark.parametrize("size", ["10.0.0.0/31", "10.0.0.4/32", "fd00::/127"])
def test_tiny_subnets(size: str) -> None:
    network = net(size)
    subnet = Subnet(network)
    assert subnet.gateway == network.network_address
    for _ in range(network.num_addresses - 1):
        subnet.allocate()
    with pytest.raises(Exhausted):
        subnet.allocate()


def test_ipv6_has_no_broadcast_address() -> None:
    subnet = Subnet(net("fd00::/126"))
    assert [str(subnet.allocate()) for _ in range(2)] == ["fd00::2", "fd00::3"]


def test_a_range_or_gateway_elsewhere_is_refused() -> None:
    with pytest.raises(Invalid, match="not within subnet"):
        Subnet(net("10.0.0.0/24"), None, net("10.0.1.0/24"))
    with pytest.raises(Invalid, match="not within subnet"):
        Subnet(net("10.0.0.0/24"), None, net("10.0.0.0/16"))
    with pytest.raises(Invalid, match="gateway"):
        Subnet(net("10.0.0.0/24"), ip("10.0.1.1"))


@given(st.lists(st.one_of(st.none(), st.integers(0, 12)), max_size=60))
def test_no_address_is_ever_given_twice(steps: list[int | None]) -> None:
    """None allocates, a number releases the address given out at that place."""
    subnet = Subnet(net("10.0.0.0/28"))
    held: list[ipaddress.IPv4Address | ipaddress.IPv6Address] = []
    for step in steps:
        if step is None:
            if len(held) == 13:
                with pytest.raises(Exhausted):
                    subnet.allocate()
                continue
            lowest = min(set(map(ip, range(int(ip("10.0.0.2")), int(ip("10.0.0.15"))))) - set(held), key=int)
            assert subnet.allocate() == lowest
            held.append(lowest)
        elif step < len(held):
            subnet.release(held.pop(step))


def test_sixty_thousand_addresses_are_quick() -> None:
    subnet = Subnet(net("10.0.0.0/16"))
    before = time.process_time()
    for _ in range(65_533):
        subnet.allocate()
    assert time.process_time() - before < 5  # a linear search takes minutes


def test_the_first_free_pool_is_chosen() -> None:
    assert str(choose(DEFAULT_POOLS, {})) == "172.17.0.0/16"
    taken = {net("172.17.3.0/24"): "eth1", net("172.18.0.1/32"): "route"}
    assert str(choose(DEFAULT_POOLS, taken)) == "172.19.0.0/16"
    taken = {net("172.16.0.0/12"): "vpn"}
    assert str(choose(DEFAULT_POOLS, taken)) == "192.168.0.0/20"
    taken[net("192.168.1.0/24")] = "eth0"
    assert str(choose(DEFAULT_POOLS, taken)) == "192.168.16.0/20"


def test_all_thirty_one_default_subnets_then_the_error_names_the_conflict() -> None:
    taken: dict[ipaddress.IPv4Network | ipaddress.IPv6Network, str] = {}
    for number in range(31):
        taken[choose(DEFAULT_POOLS, taken)] = f"network n{number}"
    with pytest.raises(Exhausted, match=r"network n0, .*more pools"):
        choose(DEFAULT_POOLS, taken)


def test_a_host_with_a_route_to_everything_is_answered_at_once() -> None:
    with pytest.raises(Exhausted, match="vpn0"):
        choose([Pool(net("10.0.0.0/8"), 28)], {net("10.0.0.0/8"): "vpn0"})


def test_ula() -> None:
    pool = ula_pool(b"\x01\x02\x03\x04\x05rest")
    assert str(pool.base) == "fd01:203:405::/48"
    first = choose([pool], {}, 6)
    assert str(choose([pool], {first: "a"}, 6)) == "fd01:203:405:1::/64"
    assert overlapping(first, {net("10.0.0.0/8"): "x", net("fd01:203:405::/52"): "y"}) == "y"


def test_a_pool_in_words() -> None:
    assert parse_pool("10.0.0.0/8", 24) == Pool(net("10.0.0.0/8"), 24)
    for base, size in (("10.0.0.0/8", 7), ("10.0.0.0/8", 33), ("10.0.0.1/8", 24), ("x", 24)):
        with pytest.raises(Invalid, match="address pool"):
            parse_pool(base, size)
