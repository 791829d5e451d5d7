"""dockerd's keys of daemon.json about networks and the API, each with what it changes for a container or client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e_parts.clients import Client, available
from e2e_parts.cortend import IMAGE, Cortend

SETTINGS = {
    "host-gateway-ip": "192.0.2.7",
    "bip": "10.213.7.1/24",
    "default-gateway": "10.213.7.254",
    "ipv6": True,
    "fixed-cidr-v6": "fd7c:1:2::/64",
    "default-network-opts": {"bridge": {"com.docker.network.driver.mtu": "1337"}},
    "default-address-pools": [{"base": "10.214.0.0/16", "size": 24}],
    "min-api-version": "1.30",
    "selinux-enabled": True,
}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cortend]:
    root = tmp_path_factory.mktemp("own")
    (root / "daemon.json").write_text("\ufeff" + json.dumps(SETTINGS), encoding="utf-8")
    daemon = Cortend(root, "--config-file", str(root / "daemon.json"))
    daemon.start()
    yield daemon
    daemon.stop()


@pytest.fixture
def corten(own: Cortend, tmp_path: Path) -> Client:
    return Client("corten", available()["corten"], own.address, tmp_path)


def test_addresses_of_the_default_network(corten: Client) -> None:
    script = "ip route; ip -6 addr show eth0; grep h.test /etc/hosts"
    out = corten("run", "--rm", "--add-host", "h.test:host-gateway", IMAGE, "sh", "-c", script).out
    assert "default via 10.213.7.254 dev eth0" in out
    assert "inet6 fd7c:1:2::" in out
    assert "192.0.2.7\th.test" in out
    [four, six] = json.loads(corten("network", "inspect", "bridge").out)[0]["IPAM"]["Config"]
    assert (four["Gateway"], four["AuxiliaryAddresses"]) == ("10.213.7.1", {"DefaultGatewayIPv4": "10.213.7.254"})
    assert six["Subnet"] == "fd7c:1:2::/64"


def test_options_of_new_networks(corten: Client, own: Cortend) -> None:
    for flags, mtu in ([], "1337"), (["-o", "com.docker.network.driver.mtu=1400"], "1400"):
        corten("network", "create", *flags, "n1")
        try:
            found = corten("run", "--rm", "--network", "n1", IMAGE, "cat", "/sys/class/net/eth0/mtu").out
            assert found == f"{mtu}\n"
        finally:
            corten("network", "rm", "n1")


def test_older_clients_are_refused(own: Cortend) -> None:
    status, answer = own.ask("GET", "/v1.29/containers/json")
    assert (
        status == 400 and "client version 1.29 is too old. Minimum supported API version is 1.30" in answer["message"]
    )
    assert own.ask("GET", "/v1.30/containers/json") == (200, [])
    assert own.get("/version")["MinAPIVersion"] == "1.30"


def test_info_names_what_has_no_effect(own: Cortend) -> None:
    info = own.get("/info")
    assert "WARNING: the setting selinux-enabled has no effect" in info["Warnings"]
    assert info["DefaultAddressPools"] == [{"Base": "10.214.0.0/16", "Size": 24}]
    assert "the setting selinux-enabled has no effect" in own.log.read_text()
