"""Devices and rules that another program removes, while the daemon runs and while it does not."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e_parts.patience import PATIENCE
from e2e_parts.secluded import Host, ask, fetch
from fault_parts.fragile import until


class Place(Host):
    """A web server and a client of it in the network "inner"."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.daemon.start()
        self.bridge = self.network("inner")
        self.web = self.serve("web", "inner", {"80/tcp": [{"HostPort": "8080"}]})
        self.client = self.idle("client", "inner")

    def served(self, seconds: float = PATIENCE) -> bool:
        """From this host by its port, and in the network by its name."""
        here = fetch(self.net, "http://127.0.0.1:8080/", seconds) == "hello from web"
        return here and ask(self.daemon, self.client, "http://web/", seconds) == "hello from web"

    def damages(self) -> dict[str, list[list[str]]]:
        pair = self.device(self.web, "inner")
        return {
            "bridge": [["ip", "link", "delete", self.bridge]],
            "pair": [["ip", "link", "delete", pair]],
            "both": [["ip", "link", "delete", pair], ["ip", "link", "delete", self.bridge]],
            "rules": [["nft", "flush", "ruleset"]],
        }


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.close()


def test_devices_that_are_taken_away_come_back(place: Place) -> None:
    until(lambda: place.served(2), "the server answers")
    before = place.daemon.inspect(place.web)["NetworkSettings"]
    for name in ("bridge", "pair", "both", "bridge"):
        for command in place.damages()[name]:
            place.net.run(*command)
        until(lambda: place.served(2), f"it answers again after the loss of: {name}")
    assert place.daemon.inspect(place.web)["NetworkSettings"] == before


@pytest.mark.parametrize("name", ["bridge", "pair", "both", "rules"])
def test_what_went_while_no_daemon_ran_is_there_at_the_next_start(place: Place, name: str) -> None:
    rules, damage = place.net.run("nft", "list", "ruleset"), place.damages()[name]
    place.daemon.kill()
    for command in damage:
        place.net.run(*command)
    place.daemon.start()
    assert place.served()
    assert place.net.run("nft", "list", "ruleset") == rules


def test_the_firewall_cannot_be_taken_away(place: Place) -> None:
    rules = place.net.run("nft", "list", "ruleset")
    table = f"corten-{place.daemon.bridge}"
    assert table in rules
    for command in (["flush", "ruleset"], ["delete", "table", "inet", table], ["flush", "table", "inet", table]):
        with contextlib.suppress(AssertionError):  # a kernel with owned tables refuses
            place.net.run("nft", *command)
        until(lambda: place.net.run("nft", "list", "ruleset") == rules, "every rule is there")
        assert place.served()
