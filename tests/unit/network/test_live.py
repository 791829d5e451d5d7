"""What of a network is found by what."""

from __future__ import annotations

from dataclasses import replace

from corten.network.addresses import Addresses
from corten.network.definition import Definition
from corten.network.endpoint import Endpoint
from corten.network.live import Live


def test_endpoints_are_found_by_id_container_and_device() -> None:
    made = Definition("id", "net", "2026-01-01T00:00:00Z")
    live = Live(made, Addresses(made))
    one = Endpoint("id", "net", "e1", "c1", "one", ifindex=7)
    live.add(one)
    live.add(Endpoint("id", "net", "e2", "c2", "two"))  # of host or none: no device
    assert live.plugged == {7: one}
    again = replace(one, ifindex=9)  # another pair for the same
    live.add(again)
    assert (live.endpoints["e1"], live.of["c1"], live.plugged) == (again, again, {9: again})
    assert list(live.endpoints) == ["e1", "e2"]
    assert live.drop("e1") and live.drop("e2") and not live.drop("e1")
    assert (live.endpoints, live.of, live.plugged) == ({}, {}, {})
