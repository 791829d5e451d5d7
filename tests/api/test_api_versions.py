"""What requests mean and what answers have in each API version. Their keys beside dockerd's:
tests/e2e/test_api_versions_like_dockerd.py."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from corten.api.shapes import image_for
from corten.api.versions import Version
from corten.images.view import details
from corten.spec.image_config import parse_config, recorded
from corten.store.images import ImageRecord
from fakes.daemon import Connection, Daemon


def create(http: Connection, version: str, **host: Any) -> dict[str, Any]:
    """A container named box is made: its HostConfig as the newest version shows it."""
    http.ask("DELETE", "/containers/box?force=1")
    body = {"Image": "test", "Cmd": ["sleep", "60"], "HostConfig": host}
    status, answer = http.ask("POST", f"/v{version}/containers/create?name=box", body)
    assert status == 201, answer
    shown: dict[str, Any] = http.ask("GET", "/containers/box/json")[1]["HostConfig"]
    return shown


@pytest.mark.parametrize(
    ("field", "given", "before", "old", "since", "new"),
    [
        ("IpcMode", "", "1.39", "shareable", "1.40", "private"),
        ("IpcMode", "private", "1.24", "private", "1.50", "private"),
        ("AutoRemove", True, "1.24", False, "1.25", True),
        ("ConsoleSize", [24, 80], "1.41", [0, 0], "1.42", [24, 80]),
        ("CgroupnsMode", "private", "1.24", "private", "1.50", "private"),
    ],
)
def test_fields_of_a_create(
    http: Connection, field: str, given: Any, before: str, old: Any, since: str, new: Any
) -> None:
    assert create(http, before, **{field: given})[field] == old
    assert create(http, since, **{field: given})[field] == new


#: What stands beside a HostConfig: (body, HostConfig as it is then, {} for the body's), as dockerd 20.10 answers.
BESIDE: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"Memory": 32 << 20, "Runtime": "runc", "Privileged": True}, {}),
    ({"HostConfig": None, "CapAdd": ["CHOWN"]}, {"CapAdd": ["CHOWN"]}),
    ({"Memory": 32 << 20, "HostConfig": {"Memory": 64 << 20, "Runtime": "runc"}}, {"Memory": 64 << 20}),
    ({"memory": 32 << 20, "HostConfig": {"memorySwap": -1}}, {"Memory": 32 << 20, "MemorySwap": -1}),
    (
        {"CpuShares": 7, "CpusetCpus": "0", "VolumeDriver": "local", "Privileged": True, "HostConfig": {}},
        {"CpuShares": 7, "CpusetCpus": "0", "VolumeDriver": "local", "Privileged": False, "Runtime": "corten"},
    ),
    ({"Cpuset": "0", "HostConfig": {"Memory": 32 << 20}}, {"CpusetCpus": "0"}),
]


@pytest.mark.parametrize("version", ["1.24", "1.41", "1.50"])
@pytest.mark.parametrize(("body", "expected"), BESIDE)
def test_members_beside_the_host_config(
    http: Connection, version: str, body: dict[str, Any], expected: dict[str, Any]
) -> None:
    status, answer = http.ask("POST", f"/v{version}/containers/create?name=box", {"Image": "test", **body})
    assert status == 201, answer
    shown = http.ask("GET", "/containers/box/json")[1]["HostConfig"]
    expected = expected or body
    assert {key: shown[key] for key in expected} == expected


def test_refused_members_beside_the_host_config(http: Connection) -> None:
    status, answer = http.ask("POST", "/containers/create", {"Image": "test", "Memory": "x"})
    assert (status, answer["message"]) == (
        400,
        "json: cannot unmarshal string into Go struct field ContainerConfigWrapper.Memory of type int64",
    )
    for body in ({"Memory": 32 << 20}, {"HostConfig": {"Memory": 32 << 20}}, {"Cpuset": "0"}, {}):
        status, answer = http.ask("POST", "/containers/create", body)
        assert (status, answer["message"]) == (400, "Config cannot be empty in order to create a container")


def test_the_daemons_cgroup_namespace_counts_from_1_41_on(daemon: Daemon, http: Connection) -> None:
    configuration = daemon.engine.configuration
    for version, groups, expected in (("1.40", 1, "host"), ("1.41", 1, "private"), ("1.40", 2, "private")):
        facts = replace(configuration.facts, cgroup_version=groups, default_cgroupns_mode="private")
        configuration.replace(configuration.settings, facts)
        assert create(http, version)["CgroupnsMode"] == expected


MOUNTS: list[tuple[str, str, Any, dict[str, Any]]] = [
    ("1.39", "1.40", {"Type": "bind", "Source": "/", "Target": "/x"}, {"BindOptions": {"NonRecursive": True}}),
    ("1.44", "1.45", {"Type": "volume", "Target": "/x"}, {"VolumeOptions": {"Subpath": "a"}}),
    ("1.45", "1.46", {"Type": "tmpfs", "Target": "/x"}, {"TmpfsOptions": {"Options": [["noexec"]]}}),
    ("1.43", "1.44", {"Type": "bind", "Source": "/", "Target": "/x"}, {"BindOptions": {"ReadOnlyNonRecursive": True}}),
]


@pytest.mark.parametrize(("before", "since", "mount", "option"), MOUNTS)
def test_options_of_mounts(http: Connection, before: str, since: str, mount: Any, option: dict[str, Any]) -> None:
    name, fields = next(iter(option.items()))
    assert create(http, before, Mounts=[{**mount, **option}])["Mounts"] == [{**mount, name: {}}]
    assert create(http, since, Mounts=[{**mount, **option}])["Mounts"] == [{**mount, name: fields}]


def test_a_source_is_made_from_1_42_on(http: Connection, tmp_path: Path) -> None:
    source = str(tmp_path / "nosuch")
    mount = {"Type": "bind", "Source": source, "Target": "/x", "BindOptions": {"CreateMountpoint": True}}
    body = {"Image": "test", "HostConfig": {"Mounts": [mount]}}
    status, answer = http.ask("POST", "/v1.41/containers/create", body)
    assert status == 400 and "bind source path does not exist" in answer["message"]
    assert http.ask("POST", "/v1.42/containers/create", body)[0] == 201


@pytest.mark.parametrize(("version", "rro"), [("1.24", "no"), ("1.43", "no"), ("1.44", "if-possible")])
def test_read_only_binds(daemon: Daemon, http: Connection, version: str, rro: str) -> None:
    """What is mounted below a read-only bind stayed writable before 1.44; what is borrowed is as it was made."""
    mounts = [{"Type": "bind", "Source": "/", "Target": "/m", "ReadOnly": True}]
    create(http, version, Binds=["/:/b:ro"], Mounts=mounts)
    points = daemon.engine.containers.get("box").record.mounts
    assert {point.destination: point.rro for point in points} == {"/b": rro, "/m": rro}
    for other in ("1.24", "1.50"):
        body = {"Image": "test", "HostConfig": {"VolumesFrom": ["box"]}}
        _, made = http.ask("POST", f"/v{other}/containers/create", body)
        points = daemon.engine.containers.get(made["Id"]).record.mounts
        assert {point.rro for point in points} == {rro}


def test_platform_counts_from_1_41_on(http: Connection) -> None:
    path = "/containers/create?platform=linux/s390x"
    assert http.ask("POST", f"/v1.40{path}", {"Image": "test"})[0] == 201
    status, answer = http.ask("POST", f"/v1.41{path}", {"Image": "test"})
    assert status == 404 and "does not match the specified platform" in answer["message"]


def test_a_limit_of_processes_that_is_updated(http: Connection) -> None:
    assert create(http, "1.50", PidsLimit=0)["PidsLimit"] is None

    def updated(version: str, limit: int | None) -> Any:
        assert http.ask("POST", f"/v{version}/containers/box/update", {"PidsLimit": limit})[0] == 200
        return http.ask("GET", "/containers/box/json")[1]["HostConfig"]["PidsLimit"]

    assert updated("1.40", 50) == 50
    assert updated("1.39", 60) == 50
    assert updated("1.40", None) == 50
    for unlimited in (0, -1, -2):
        assert updated("1.40", 50) == 50
        assert updated("1.40", unlimited) == 0


def test_a_start_has_no_body(http: Connection) -> None:
    create(http, "1.24")
    status, answer = http.ask("POST", "/v1.24/containers/box/start", {"Binds": ["/:/host"]})
    assert status == 400 and "starting container with non-empty request body" in answer["message"]
    bodies: tuple[dict[str, str] | None, ...] = ({}, None)
    for body in bodies:
        assert http.ask("POST", "/v1.24/containers/box/start", body)[0] in (204, 304)


# --------------------------------------------------------------------------------------------------------- answers


@pytest.fixture
def box(http: Connection) -> str:
    """A container that runs in the network n1; its id."""
    assert http.ask("POST", "/networks/create", {"Name": "n1"})[0] == 201
    endpoint = {"EndpointsConfig": {"n1": {"Aliases": ["web"]}}}
    body = {"Image": "test", "Cmd": ["sleep", "60"], "Hostname": "named", "NetworkingConfig": endpoint}
    body["HostConfig"] = {"NetworkMode": "n1", "Annotations": {"a": "b"}}
    _, made = http.ask("POST", "/containers/create?name=box", body)
    assert http.ask("POST", "/containers/box/start")[0] == 204
    id: str = made["Id"]
    return id


def test_short_id_and_hostname_are_aliases_below_1_45(http: Connection, box: str) -> None:
    def aliases(version: str, name: str, network: str) -> Any:
        return http.ask("GET", f"/v{version}/containers/{name}/json")[1]["NetworkSettings"]["Networks"][network][
            "Aliases"
        ]

    assert aliases("1.44", "box", "n1") == ["web", box[:12], "named"]
    assert aliases("1.45", "box", "n1") == ["web"]
    assert http.ask("POST", "/containers/create?name=plain", {"Image": "test", "Cmd": ["sleep", "60"]})[0] == 201
    assert http.ask("POST", "/containers/plain/start")[0] == 204
    assert aliases("1.44", "plain", "bridge") is None
    assert (
        http.ask("POST", "/containers/create?name=new", {"Image": "test", "HostConfig": {"NetworkMode": "n1"}})[0]
        == 201
    )
    assert aliases("1.44", "new", "n1") is None
    assert http.ask("POST", "/networks/n1/connect", {"Container": "plain"})[0] == 200
    assert aliases("1.44", "plain", "n1") is not None
    assert http.ask("POST", "/containers/box/kill")[0] == 204
    assert http.ask("POST", "/containers/box/wait")[0] == 200
    assert aliases("1.44", "box", "n1") == ["web", box[:12], "named"]  # dockerd keeps them when it has ended


def test_the_network_of_a_container_that_has_ended(http: Connection, box: str) -> None:
    """As with dockerd its id is shown from the first start on, and finds the container in lists."""
    id = http.ask("GET", "/networks/n1")[1]["Id"]
    assert (
        http.ask("POST", "/containers/create?name=new", {"Image": "test", "HostConfig": {"NetworkMode": "n1"}})[0]
        == 201
    )
    assert http.ask("POST", "/containers/box/kill")[0] == 204
    assert http.ask("POST", "/containers/box/wait")[0] == 200

    def network(name: str) -> tuple[str, str]:
        shown = http.ask("GET", f"/containers/{name}/json")[1]["NetworkSettings"]["Networks"]["n1"]
        return shown["NetworkID"], shown["EndpointID"]

    assert (network("box"), network("new")) == ((id, ""), ("", ""))
    rows = http.ask("GET", f'/containers/json?all=1&filters={{"network":["{id[:20]}"]}}')[1]
    assert [(row["Names"], row["NetworkSettings"]["Networks"]["n1"]["NetworkID"]) for row in rows] == [(["/box"], id)]
    assert http.ask("DELETE", "/networks/n1")[0] == 204
    assert network("box") == ("", "")


@pytest.mark.parametrize(
    ("version", "missing"), [("1.43", {"DNSNames", "GwPriority"}), ("1.44", {"GwPriority"}), ("1.48", set())]
)
def test_fields_of_endpoints(http: Connection, box: str, version: str, missing: set[str]) -> None:
    newest = http.ask("GET", "/containers/box/json")[1]["NetworkSettings"]["Networks"]["n1"].keys()
    answers = (
        http.ask("GET", f"/v{version}/containers/box/json")[1],
        http.ask("GET", f"/v{version}/containers/json")[1][0],
        http.ask("GET", f"/v{version}/system/df")[1]["Containers"][0],
    )
    for answer in answers:
        assert newest - answer["NetworkSettings"]["Networks"]["n1"].keys() == missing


def test_annotations_in_lists_from_1_46_on(http: Connection, box: str) -> None:
    def hosts(version: str) -> list[Any]:
        rows = http.ask("GET", f"/v{version}/containers/json")[1]
        return [row["HostConfig"] for row in rows + http.ask("GET", f"/v{version}/system/df")[1]["Containers"]]

    assert hosts("1.45") == [{"NetworkMode": "n1"}] * 2
    assert hosts("1.46") == [{"NetworkMode": "n1", "Annotations": {"a": "b"}}] * 2


def test_networks(http: Connection, box: str) -> None:
    def n1(version: str) -> dict[str, Any]:
        listed: list[dict[str, Any]] = http.ask("GET", f"/v{version}/networks")[1]
        return next(network for network in listed if network["Name"] == "n1")

    assert n1("1.27")["Containers"].keys() == {box}
    assert n1("1.28")["Containers"] == {}
    assert "EnableIPv4" not in n1("1.47") and n1("1.48")["EnableIPv4"] is True
    for version, there in (("1.47", False), ("1.48", True)):
        shown = http.ask("GET", f"/v{version}/networks/n1")[1]
        assert ("EnableIPv4" in shown) is there and shown["Containers"].keys() == {box}


def test_images(http: Connection) -> None:
    for version in ("1.24", "1.44", "1.45", "1.50"):
        shown = http.ask("GET", f"/v{version}/images/test/json")[1]
        assert shown["Container"] == "" and shown["ContainerConfig"]["Volumes"] is None
        assert shown["ContainerConfig"].keys() == {*shown["Config"].keys()} - {"ExposedPorts", "Healthcheck"}


def test_virtual_sizes(http: Connection) -> None:
    def images(version: str) -> list[dict[str, Any]]:
        image, listed, usage = (
            http.ask("GET", f"/v{version}{path}")[1] for path in ("/images/test/json", "/images/json", "/system/df")
        )
        return [image, *listed, *usage["Images"]]

    assert len(images("1.43")) == 3
    assert all(image["VirtualSize"] == image["Size"] for image in images("1.43"))
    assert not any("VirtualSize" in image for image in images("1.44"))


@pytest.mark.parametrize(
    ("path", "key", "last", "gone", "value"),
    [
        ("/info", "ExecutionDriver", "1.24", "1.25", "<not supported>"),
        ("/info", "KernelMemory", "1.41", "1.42", False),
        ("/system/df", "BuilderSize", "1.41", "1.42", 0),
    ],
)
def test_keys_that_are_gone(http: Connection, path: str, key: str, last: str, gone: str, value: Any) -> None:
    assert http.ask("GET", f"/v{last}{path}")[1][key] == value
    assert key not in http.ask("GET", f"/v{gone}{path}")[1]


def test_info(http: Connection, daemon: Daemon) -> None:
    configuration, options = daemon.engine.configuration, ("name=seccomp,profile=builtin", "name=cgroupns")
    settings = replace(configuration.settings, security_options=options)
    configuration.replace(settings, configuration.facts)
    assert http.ask("GET", "/v1.24/info")[1]["SecurityOptions"] == ["seccomp", "cgroupns"]
    assert http.ask("GET", "/v1.25/info")[1]["SecurityOptions"] == list(options)
    assert "CDISpecDirs" not in http.ask("GET", "/v1.45/info")[1]
    assert http.ask("GET", "/v1.46/info")[1]["CDISpecDirs"] == []


def test_kernel_memory_of_a_container(http: Connection) -> None:
    create(http, "1.50")
    for version, there in (("1.41", True), ("1.42", False)):
        shown = http.ask("GET", f"/v{version}/containers/box/json")[1]["HostConfig"]
        found = {key: shown[key] for key in ("KernelMemory", "KernelMemoryTCP") if key in shown}
        assert found == ({"KernelMemory": 0, "KernelMemoryTCP": 0} if there else {})


def test_a_wait_without_an_error(http: Connection) -> None:
    for version, expected in (
        ("1.24", {"StatusCode": 0, "Error": None}),
        ("1.41", {"StatusCode": 0, "Error": None}),
        ("1.42", {"StatusCode": 0}),
    ):
        http.ask("DELETE", "/containers/box?force=1")
        http.ask("POST", "/containers/create?name=box", {"Image": "test", "Cmd": ["true"]})
        assert http.ask("POST", "/containers/box/start")[0] == 204
        assert http.ask("POST", f"/v{version}/containers/box/wait") == (200, expected)


def test_container_config_of_an_image() -> None:
    """That of the container it was made of, where the image says so."""
    document = {
        "container": "ab" * 32,
        "container_config": {"Hostname": "abab", "Volumes": {"/data": {}}, "Env": None},
        "config": {"User": "u"},
        "rootfs": {"type": "layers", "diff_ids": []},
    }
    config = parse_config(json.dumps(document).encode())
    assert recorded(config.to_bytes().decode()) == (config, None)
    image = details(ImageRecord("sha256:" + "0" * 64, "", config, (), 1, "", 0), [], [], {})
    shown = image_for(Version(1, 41), image)
    assert shown["Container"] == "ab" * 32
    assert (shown["ContainerConfig"]["Hostname"], shown["ContainerConfig"]["Volumes"]) == ("abab", {"/data": {}})
    assert (shown["ContainerConfig"]["User"], shown["Config"]["User"]) == ("", "u")
    empty = parse_config(json.dumps({"container_config": None, "rootfs": document["rootfs"]}).encode())
    assert empty.container_config == {}
