"""What of a network is found by what."""

from __future__ import annotations

from dataclasses import replace

from corten.network.addresses import Addresses
from corten.network.definition import Definition
from corten.network.driver import ActiveNetwork
from corten.network.drivers.none import NoneDriver
from corten.network.endpoint import Endpoint


def test_endpoints_are_found_by_id_container_and_device() -> None:
    made = Definition("id", "net", "2026-01-01T00:00:00Z")
    network = ActiveNetwork(made, NoneDriver(), Addresses(made))
    one = Endpoint("id", "net", "e1", "c1", "one", index=8, host_index=7)
    network.add(one)
    network.add(Endpoint("id", "net", "e2", "c2", "two", index=9))  # no end on this host
    assert network.by_host_index == {7: one}
    again = replace(one, host_index=9)  # another pair for the same
    network.add(again)
    assert (network.endpoints["e1"], network.by_container["c1"]) == (again, again)
    assert network.by_host_index == {9: again}
    assert list(network.endpoints) == ["e1", "e2"]
    assert network.drop("e1") and network.drop("e2") and not network.drop("e1")
    assert (network.endpoints, network.by_container, network.by_host_index) == ({}, {}, {})
