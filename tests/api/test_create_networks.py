"""Which networks a new container is in, and with which addresses: by what its create named, in each API version."""

from __future__ import annotations

from typing import Any

import pytest

from fakes.daemon import Connection

OLD, NEW = "/v1.43", "/v1.44"
MAC, OTHER = "02:42:aa:00:00:01", "02:42:aa:00:00:02"


@pytest.fixture(autouse=True)
def networks(http: Connection) -> None:
    for name in ("n1", "n2"):
        assert http.ask("POST", "/networks/create", {"Name": name})[0] == 201


def create(
    http: Connection, prefix: str, mode: str = "", endpoints: dict[str, Any] | None = None, **config: Any
) -> tuple[int, Any]:
    body = {"Image": "test", "Cmd": ["sleep", "60"], "HostConfig": {"NetworkMode": mode}, **config}
    if endpoints is not None:
        body["NetworkingConfig"] = {"EndpointsConfig": endpoints}
    http.ask("DELETE", "/containers/box?force=1")
    return http.ask("POST", f"{prefix}/containers/create?name=box", body)


def running(http: Connection) -> dict[str, str]:
    """The container is started: the MAC addresses that its endpoints have then, by network."""
    assert http.ask("POST", "/containers/box/start")[0] == 204
    networks = http.ask("GET", "/containers/box/json")[1]["NetworkSettings"]["Networks"]
    return {name: endpoint["MacAddress"] for name, endpoint in networks.items()}


@pytest.mark.parametrize("prefix", [OLD, NEW])
@pytest.mark.parametrize("mode", ["", "default", "bridge", "n2", "none"])
def test_a_named_endpoint_is_the_only_network(http: Connection, prefix: str, mode: str) -> None:
    assert create(http, prefix, mode, {"n1": {}})[0] == 201
    assert list(running(http)) == ["n1"]


@pytest.mark.parametrize(("mode", "network"), [("", "bridge"), ("n1", "n1"), ("none", "none")])
def test_without_an_endpoint_it_is_that_of_the_mode(http: Connection, mode: str, network: str) -> None:
    assert create(http, NEW, mode)[0] == 201
    assert list(running(http)) == [network]


def test_the_default_network_by_its_other_name(http: Connection) -> None:
    assert create(http, NEW, "", {"default": {}})[0] == 201
    assert list(running(http)) == ["bridge"]


def test_several_endpoints(http: Connection) -> None:
    assert create(http, NEW, "n1", {"n2": {}, "n1": {}})[0] == 201
    assert list(running(http)) == ["n1", "n2"]  # that of the mode first: it is eth0
    status, answer = create(http, OLD, "n1", {"n2": {}, "n1": {}})
    assert (status, answer["message"]) == (400, "Container cannot be connected to network endpoints: n1, n2")


@pytest.mark.parametrize(
    ("mode", "endpoints", "text"),
    [
        ("host", {"n1": {}}, "cannot be in another one as well"),
        ("", {"host": {}}, "only a container with the network mode host"),
        ("none", {"none": {}, "n1": {}}, "networks in private (none) mode"),
    ],
)
def test_networks_that_exclude_one_another(http: Connection, mode: str, endpoints: Any, text: str) -> None:
    status, answer = create(http, NEW, mode, endpoints)
    assert status == 400 and text in answer["message"]
    assert create(http, NEW, "host", {"host": {}})[0] == 201


def test_a_container_whose_network_is_disabled(http: Connection) -> None:
    for mode in ("", "bridge", "n1", "none"):
        assert create(http, NEW, mode, {"n1": {}}, NetworkDisabled=True)[0] == 201
        assert running(http) == {}
    assert http.ask("POST", "/networks/n2/connect", {"Container": "box"})[0] == 200
    assert list(http.ask("GET", "/containers/box/json")[1]["NetworkSettings"]["Networks"]) == ["n2"]
    for mode in ("host", "container:box"):
        body = {"Image": "test", "NetworkDisabled": True, "HostConfig": {"NetworkMode": mode}}
        status, answer = http.ask("POST", "/containers/create", body)
        assert (status, answer["message"]) == (
            400,
            f"conflicting options: a disabled network and the network mode {mode}",
        )


@pytest.mark.parametrize(
    ("prefix", "mode", "endpoints", "expected"),
    [
        (OLD, "", None, {"bridge": MAC}),
        (NEW, "", None, {"bridge": MAC}),
        (OLD, "n1", {"n1": {}}, {"n1": MAC}),
        (NEW, "n1", {"n1": {}}, {"n1": MAC}),
        (OLD, "n1", {"n1": {"MacAddress": OTHER}}, {"n1": MAC}),  # which had no effect then
        (NEW, "n1", {"n1": {"MacAddress": MAC.upper()}}, {"n1": MAC}),
        (OLD, "n1", {"n2": {}}, {"n2": MAC}),  # the one endpoint there is
    ],
)
def test_mac_address_of_the_container(
    http: Connection, prefix: str, mode: str, endpoints: Any, expected: dict[str, str]
) -> None:
    status, answer = create(http, prefix, mode, endpoints, MacAddress=MAC)
    assert status == 201
    assert [("deprecated" in text) for text in answer["Warnings"]] == ([True] if prefix == NEW else [])
    assert running(http) == expected
    assert http.ask("GET", "/containers/box/json")[1]["Config"]["MacAddress"] == MAC


@pytest.mark.parametrize(
    ("mode", "endpoints", "text"),
    [
        ("n1", {"n1": {"MacAddress": OTHER}}, "must match the endpoint-specific MAC address for the main network"),
        ("n1", {"n2": {}}, "NetworkMode must match the identity of a network"),
        ("none", None, "conflicting options: mac-address and the network mode"),
        ("host", None, "conflicting options: mac-address and the network mode"),
    ],
)
def test_mac_address_that_is_for_no_endpoint(http: Connection, mode: str, endpoints: Any, text: str) -> None:
    status, answer = create(http, NEW, mode, endpoints, MacAddress=MAC)
    assert status == 400 and text in answer["message"]


def shown_mac(http: Connection, network: str) -> str:
    networks = http.ask("GET", f"{OLD}/containers/box/json")[1]["NetworkSettings"]["Networks"]
    return str(networks[network]["MacAddress"])


@pytest.mark.parametrize("prefix", [OLD, NEW])
def test_mac_address_of_a_network_that_is_left_and_connected_again(http: Connection, prefix: str) -> None:
    """As Compose 1.29 does with each network, to give it aliases."""
    assert create(http, prefix, "n1", {"n1": {}}, MacAddress=MAC)[0] == 201
    for network in ("n1", "n2"):
        http.ask("POST", f"{prefix}/networks/{network}/disconnect", {"Container": "box"})
        body = {"Container": "box", "EndpointConfig": {"Aliases": ["web"]}}
        assert http.ask("POST", f"{prefix}/networks/{network}/connect", body)[0] == 200
    addresses = running(http)
    assert addresses["n1"] == MAC != addresses["n2"]


@pytest.mark.parametrize("prefix", [OLD, NEW])
def test_the_default_network_has_no_aliases(http: Connection, prefix: str) -> None:
    assert create(http, prefix, "n1", {"n1": {}})[0] == 201
    body = {"Container": "box", "EndpointConfig": {"Aliases": ["web"]}}
    status, answer = http.ask("POST", f"{prefix}/networks/bridge/connect", body)
    words = "network-scoped alias is supported only for containers in user defined networks"
    assert (status, answer["message"]) == (400, words)
    assert running(http).keys() == {"n1"}


def test_mac_address_of_an_endpoint_counts_from_1_44_on(http: Connection) -> None:
    assert create(http, NEW, "n1", {"n1": {"MacAddress": OTHER}})[0] == 201
    assert running(http) == {"n1": OTHER}
    assert create(http, OLD, "n1", {"n1": {"MacAddress": OTHER}})[0] == 201
    assert running(http)["n1"] not in ("", OTHER)
    for prefix, counts in ((OLD, False), (NEW, True)):
        assert create(http, prefix)[0] == 201
        body = {"Container": "box", "EndpointConfig": {"MacAddress": OTHER}}
        assert http.ask("POST", f"{prefix}/networks/n2/connect", body)[0] == 200
        assert shown_mac(http, "n2") == OTHER  # before the start, in every version
        assert (running(http)["n2"] == OTHER) is counts


def test_mac_address_without_effect_is_gone_with_the_connection(http: Connection) -> None:
    assert create(http, OLD)[0] == 201
    for settings, shown in (({"MacAddress": OTHER}, OTHER), ({}, ""), ({"MacAddress": OTHER}, OTHER)):
        http.ask("POST", f"{OLD}/networks/n2/disconnect", {"Container": "box"})
        http.ask("POST", f"{OLD}/networks/n2/connect", {"Container": "box", "EndpointConfig": settings})
        assert shown_mac(http, "n2") == shown
    assert running(http)["n2"] not in ("", OTHER)
    http.ask("POST", f"{OLD}/containers/box/kill")
    http.ask("POST", f"{OLD}/containers/box/wait")
    assert shown_mac(http, "n2") == ""


def test_mac_address_that_no_device_can_have(http: Connection) -> None:
    status, answer = create(http, OLD, "", MacAddress="01:42:aa:00:00:01")
    assert status == 400 and "invalid MAC address" in answer["message"]


FIELDS = {"NetworkMode": "joining network namespace of container: ", "PidMode": "", "IpcMode": ""}


@pytest.mark.parametrize("field", FIELDS)
def test_a_container_that_joins_one_that_is_not_there(http: Connection, field: str) -> None:
    for name in ("nosuch", "box"):
        body = {"Image": "test", "HostConfig": {field: f"container:{name}"}}
        status, answer = http.ask("POST", "/containers/create?name=box", body)
        assert (status, answer["message"]) == (400, f"{FIELDS[field]}No such container: {name}")
    assert http.ask("GET", "/containers/json?all=1")[1] == []


def test_a_mode_without_a_container(http: Connection) -> None:
    status, answer = create(http, NEW, "container")
    assert (status, answer["message"]) == (
        400,
        "Invalid network mode: invalid container format container:<name|id>",
    )


def test_one_that_is_joined_may_be_renamed(http: Connection) -> None:
    body = {"Image": "test", "Cmd": ["sleep", "60"], "HostConfig": {"IpcMode": "shareable"}}
    _, made = http.ask("POST", "/containers/create?name=owner", body)
    host = dict.fromkeys(FIELDS, "container:owner")
    body = {"Image": "test", "Cmd": ["sleep", "60"], "HostConfig": host}
    assert http.ask("POST", "/containers/create?name=member", body)[0] == 201
    shown = http.ask("GET", "/containers/member/json")[1]["HostConfig"]
    assert {shown[field] for field in FIELDS} == {f"container:{made['Id']}"}
    assert http.ask("POST", "/containers/owner/rename?name=other")[0] == 204
    assert http.ask("POST", "/containers/other/start")[0] == 204
    status, answer = http.ask("POST", "/containers/member/start")
    assert status == 204, answer
