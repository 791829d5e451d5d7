"""The commands without streams: requests, output, messages, exit codes."""

from __future__ import annotations

import io
import json
import socket
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unit.cli.scripted import Daemon, Request, frame, reply, stream

Corten = Callable[..., tuple[int, str, str]]

BOX: dict[str, Any] = {
    "Id": "8f7814026edb" + "0" * 52,
    "Names": ["/y2", "/other/y2"],
    "Image": "busybox",
    "ImageID": "sha256:73006c1bd892",
    "Command": "sh -c 'echo \"a very long\"'",
    "Created": 0,
    "Ports": [
        {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
        {"PrivatePort": 90, "Type": "tcp"},
        {"PrivatePort": 91, "Type": "tcp"},
        {"IP": "::", "PrivatePort": 53, "PublicPort": 53, "Type": "udp"},
    ],
    "Labels": {"b": "2", "a": "1"},
    "State": "running",
    "Status": "Up 5 minutes",
    "SizeRw": 5,
    "SizeRootFs": 1984162,
    "Mounts": [{"Type": "bind", "Source": "/a/very/long/path/indeed"}, {"Name": "vol", "Driver": "local"}],
    "NetworkSettings": {"Networks": {"bridge": {}, "foo": {}}},
}


def test_a_table_of_containers(daemon: Daemon, corten: Corten) -> None:
    daemon.on("GET /containers/json", reply(200, [BOX]))
    code, out, _ = corten("ps", "-s")
    head, row = out.splitlines()
    assert code == 0
    assert head.split() == "CONTAINER ID IMAGE COMMAND CREATED STATUS PORTS NAMES SIZE".split()
    assert row.startswith('8f7814026edb   busybox   "sh -c \'echo \\"a very…"   ')
    assert "[::]:53->53/udp, 90-91/tcp, 0.0.0.0:8080->80/tcp   y2        5B (virtual 1.98MB)" in row


@pytest.mark.parametrize(
    ("words", "query"),
    [
        ([], ""),
        (["-a"], "all=1"),
        (["-l"], "limit=1"),
        (["-n", "3"], "limit=3"),
        (["-s"], "size=1"),
        (["--format", "{{.Size}}"], "size=1"),
        (
            ["-f", "status=exited", "-f", "status=paused"],
            "filters=%7B%22status%22%3A%7B%22exited%22%3Atrue%2C%22paused%22%3Atrue%7D%7D",
        ),
    ],
)
def test_flags_of_ps_become_a_query(daemon: Daemon, corten: Corten, words: list[str], query: str) -> None:
    daemon.on("GET /containers/json", reply(200, []))
    assert corten("ps", *words)[0] == 0
    assert daemon.requests[-1].query == query


def test_fields_of_a_container(daemon: Daemon, corten: Corten) -> None:
    daemon.on("GET /containers/json", reply(200, [BOX]))
    template = (
        '{{.Names}}|{{.Labels}}|{{.Label "a"}}|{{.Label "x"}}|{{.Mounts}}|{{.LocalVolumes}}|{{.Networks}}|{{.State}}'
    )
    assert corten("ps", "--format", template)[1] == "y2|a=1,b=2|1||/a/very/long/p…,vol|1|bridge,foo|running\n"
    assert corten("ps", "--no-trunc", "--format", "{{.ID}} {{.Names}}")[1] == f"{BOX['Id']} y2,other/y2\n"
    assert corten("ps", "-q")[1] == "8f7814026edb\n"
    shown = json.loads(corten("ps", "--format", "json")[1])
    assert (shown["Image"], shown["Status"], list(shown)) == ("busybox", "Up 5 minutes", sorted(shown))


def test_a_table_template_has_headers(daemon: Daemon, corten: Corten) -> None:
    daemon.on("GET /containers/json", reply(200, [BOX]))
    out = corten("ps", "--format", 'table {{.Names | upper}}\\t{{.Label "com.x-y"}}\\t{{json .State}}')[1]
    assert out == 'NAMES     x y       STATE\nY2                  "running"\n'


def test_an_unknown_field_is_reported(daemon: Daemon, corten: Corten) -> None:
    daemon.on("GET /containers/json", reply(200, [BOX]))
    code, _, err = corten("ps", "--format", "{{.Foo}}")
    assert code == 1
    assert err == (
        'failed to execute template: template: :1:2: executing "" at <.Foo>: '
        "can't evaluate field Foo in type *formatter.ContainerContext\n"
    )


IMAGE = {
    "Id": "sha256:73006c1bd8927ed74e",
    "RepoTags": ["busybox:latest", "host:5/b:1"],
    "RepoDigests": ["host:5/b@sha256:aa"],
    "Created": 0,
    "Size": 1984162,
    "SharedSize": -1,
    "Containers": -1,
}


def test_a_table_of_images(daemon: Daemon, corten: Corten) -> None:
    nameless = {**IMAGE, "Id": "sha256:ff", "RepoTags": [], "RepoDigests": None}
    daemon.on("GET /images/json", reply(200, [IMAGE, nameless]))
    assert corten("images")[1].splitlines() == [
        "REPOSITORY   TAG       IMAGE ID       CREATED   SIZE",
        "busybox      latest    73006c1bd892   N/A       1.98MB",
        "host:5/b     1         73006c1bd892   N/A       1.98MB",
        "<none>       <none>    ff             N/A       1.98MB",
    ]
    assert corten("images", "--format", "{{.Repository}} {{.Digest}}")[1].splitlines() == [
        "busybox <none>",
        "host:5/b sha256:aa",
        "<none> <none>",
    ]
    assert corten("images", "-q", "busybox")[0] == 0
    assert "reference" in daemon.requests[-1].query


def test_inspect_prints_what_the_daemon_wrote(daemon: Daemon, corten: Corten) -> None:
    raw = b'{"Id":"x","N":1.0,"E":[],"O":{},"T":"a\\u003c\\"{,}","L":[1,2]}'
    daemon.on("GET /containers/x/json", b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(raw) + raw)
    assert corten("inspect", "x")[1] == (
        '[\n    {\n        "Id": "x",\n        "N": 1.0,\n        "E": [],\n        "O": {},\n'
        '        "T": "a\\u003c\\"{,}",\n        "L": [\n            1,\n            2\n        ]\n    }\n]\n'
    )


def test_inspect_looks_through_all_types(daemon: Daemon, corten: Corten) -> None:
    daemon.on("GET /networks/n", reply(200, {"Name": "n"}))
    code, out, err = corten("inspect", "-f", "{{.Name}}", "n", "nope")
    assert (code, out, err) == (1, "n\n", "Error: No such object: nope\n")
    assert corten("inspect", "--type", "volume", "n")[2] == "Error response from daemon: page not found: /volumes/n\n"
    assert corten("container", "inspect", "n")[1] == "[]\n"


def test_a_bad_template_is_64(corten: Corten) -> None:
    assert corten("inspect", "-f", "{{", "x") == (64, "", "template parsing error: template: :1: unclosed action\n")


def test_each_name_is_tried(daemon: Daemon, corten: Corten) -> None:
    daemon.on("DELETE /containers/a", reply(204))
    gone = "Error response from daemon: page not found: /containers/b\n"
    assert corten("rm", "b", "a") == (1, "a\n", gone)
    assert corten("rm", "-f", "-v", "b", "a") == (0, "a\n", gone)
    assert daemon.requests[-1].query == "v=1&force=1"


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (["logs"], "container"), (["stop"], "container"), (["rm", "-f"], "container"),
        (["exec", "", "true"], "container"), (["start"], "container"), (["top"], "container"),
        (["container", "inspect"], "container"), (["inspect", "--type", "network"], "network"),
        (["image", "inspect"], "image"), (["rmi"], "image"), (["history"], "image"),
        (["network", "inspect"], "network"), (["network", "rm"], "network"),
        (["volume", "inspect"], "volume"), (["volume", "rm"], "volume"),
    ],
)  # fmt: skip
def test_an_empty_name_is_no_name(daemon: Daemon, corten: Corten, words: list[str], kind: str) -> None:
    """In a path it would be another request: that for the list of all networks, for one."""
    code, _, said = corten(*(words if "" in words else [*words, ""]))
    assert (code, said.splitlines()[0]) == (1, f"invalid {kind} name or ID: value is empty")
    assert [request for request in daemon.requests if request.path != "/_ping"] == []


@pytest.mark.parametrize(
    ("words", "asked", "query"),
    [
        (["kill", "-s", "HUP", "a"], "POST /containers/a/kill", "signal=HUP"),
        (["stop", "-t", "3", "a"], "POST /containers/a/stop", "t=3"),
        (["stop", "--time=0", "a"], "POST /containers/a/stop", "t=0"),
        (["stop", "a"], "POST /containers/a/stop", ""),
        (["restart", "-s", "INT", "a"], "POST /containers/a/restart", "signal=INT"),
        (["pause", "a"], "POST /containers/a/pause", ""),
        (["container", "unpause", "a"], "POST /containers/a/unpause", ""),
    ],
)
def test_simple_commands(daemon: Daemon, corten: Corten, words: list[str], asked: str, query: str) -> None:
    daemon.on(asked, reply(204))
    assert corten(*words) == (0, "a\n", "")
    assert f"{daemon.requests[-1].method} {daemon.requests[-1].path}" == asked
    assert daemon.requests[-1].query == query


def test_rename_and_tag_print_nothing(daemon: Daemon, corten: Corten) -> None:
    daemon.on("POST /containers/a/rename", reply(204))
    daemon.on("POST /images/host:5/a/tag", reply(201))
    assert corten("rename", "a", "b") == (0, "", "")
    assert corten("tag", "host:5/a", "host:5/b") == (0, "", "")
    assert daemon.requests[-1].query == "repo=host%3A5%2Fb&tag=latest"


def test_update_sends_what_was_given_even_zero(daemon: Daemon, corten: Corten) -> None:
    daemon.on("POST /containers/a/update", reply(200, {"Warnings": ["careful"]}))
    assert corten("update", "--memory", "1g", "--cpu-shares", "0", "--restart", "on-failure:3", "a") == (
        0,
        "a\n",
        "careful\n",
    )
    assert daemon.requests[-1].json() == {
        "Memory": 1 << 30,
        "CpuShares": 0,
        "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
    }
    assert corten("update", "a")[2] == "you must provide one or more flags when using this command\n"


def test_logs_keep_output_and_errors_apart(daemon: Daemon, corten: Corten) -> None:
    daemon.on("GET /containers/a/json", reply(200, {"Config": {"Tty": False}}))
    body = frame(1, b"out\n") + frame(2, b"err\n")
    daemon.on("GET /containers/a/logs", b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    assert corten("logs", "-t", "-n", "5", "--since", "100", "a") == (0, "out\n", "err\n")
    assert daemon.requests[-1].query == "since=100&stderr=1&stdout=1&tail=5&timestamps=1"


def test_ports(daemon: Daemon, corten: Corten) -> None:
    ports = {
        "443/tcp": [{"HostIp": "::", "HostPort": "8443"}],
        "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}],
        "9/udp": None,
    }
    daemon.on("GET /containers/a/json", reply(200, {"NetworkSettings": {"Ports": ports}}))
    assert corten("port", "a")[1] == "80/tcp -> 0.0.0.0:8080\n443/tcp -> [::]:8443\n"
    assert corten("port", "a", "443")[1] == "[::]:8443\n"
    assert corten("port", "a", "9/udp") == (1, "", "Error: No public port '9/udp' published for a\n")


def test_top_is_a_wide_table(daemon: Daemon, corten: Corten) -> None:
    daemon.on("GET /containers/a/top", reply(200, {"Titles": ["PID", "CMD"], "Processes": [["1", "sh -c x"]]}))
    assert corten("top", "a", "-o", "pid,cmd")[1] == "PID                 CMD\n1                   sh -c x\n"
    assert daemon.requests[-1].query == "ps_args=-o%20pid%2Ccmd"


def test_removing_images(daemon: Daemon, corten: Corten) -> None:
    daemon.on("DELETE /images/a:1", reply(200, [{"Untagged": "a:1"}, {"Deleted": "sha256:x"}]))
    assert corten("rmi", "-f", "a:1") == (0, "Untagged: a:1\nDeleted: sha256:x\n", "")
    assert daemon.requests[-1].query == "force=1"


def test_pulling_shows_lines_and_the_full_name(daemon: Daemon, corten: Corten) -> None:
    progress = {"status": "Downloading", "id": "l1", "progressDetail": {"current": 5, "total": 10}}
    daemon.on(
        "POST /images/create",
        stream(
            {"status": "Pulling from library/x", "id": "latest"},
            progress,
            {"status": "Pull complete", "id": "l1", "progressDetail": {}},
        ),
    )
    code, out, _ = corten("pull", "x")
    assert (code, out) == (
        0,
        "Using default tag: latest\nlatest: Pulling from library/x\nl1: Pull complete\ndocker.io/library/x:latest\n",
    )
    assert corten("pull", "-q", "h:5/x:2")[1] == "h:5/x:2\n"
    assert corten("pull", "-a", "x:1") == (1, "", "tag can't be used with --all-tags/-a\n")


def test_credentials_of_the_registry_are_sent(daemon: Daemon, corten: Corten) -> None:
    config = daemon.path.parent / ".docker"
    config.mkdir()
    (config / "config.json").write_text('{"auths": {"h:5": {"auth": "dTpw"}}}')
    daemon.on("POST /images/create", stream())
    assert corten("pull", "-q", "h:5/x:2")[0] == 0
    import base64

    sent = json.loads(base64.urlsafe_b64decode(daemon.requests[-1].headers["x-registry-auth"]))
    assert sent == {"username": "u", "password": "p", "serveraddress": "h:5"}


def test_import_sends_the_file(daemon: Daemon, corten: Corten, tmp_path: Path) -> None:
    archive = tmp_path / "root.tar"
    with tarfile.open(archive, "w") as tar:
        tar.addfile(tarfile.TarInfo("x"), io.BytesIO(b""))
    daemon.on("POST /images/create", stream({"status": "sha256:abc"}))
    assert corten("import", "-c", "CMD sh", "-c", "ENV A=1", "-m", "msg", str(archive), "img:1") == (
        0,
        "sha256:abc\n",
        "",
    )
    assert daemon.requests[-1].query == "fromSrc=-&repo=img&tag=1&message=msg&changes=CMD%20sh&changes=ENV%20A%3D1"
    assert daemon.requests[-1].body == archive.read_bytes()
    assert corten("import", "/no/such") == (1, "", "open /no/such: no such file or directory\n")


def test_load_shows_what_was_loaded(daemon: Daemon, corten: Corten, tmp_path: Path) -> None:
    (tmp_path / "i.tar").write_bytes(b"tar")
    daemon.on("POST /images/load", stream({"stream": "Loaded image: x:1\n"}))
    assert corten("load", "-i", str(tmp_path / "i.tar")) == (0, "Loaded image: x:1\n", "")
    assert daemon.requests[-1].query == "quiet=1"


def test_events_are_lines(daemon: Daemon, corten: Corten, monkeypatch: pytest.MonkeyPatch) -> None:
    event = {
        "status": "die",
        "id": "x",
        "Type": "container",
        "Action": "die",
        "Actor": {"ID": "x", "Attributes": {"name": "n", "exitCode": "0"}},
        "scope": "local",
        "time": 1700000000,
        "timeNano": 1700000000000000001,
    }
    daemon.on("GET /events", stream(event))
    code, out, _ = corten("events", "--since", "5", "--until", "6", "-f", "event=die")
    assert code == 0
    assert out.endswith(" container die x (exitCode=0, name=n)\n") and ".000000001" in out
    assert (
        corten("events", "--format", "{{.Type}} {{.Status}} {{.ID}} {{.TimeNano}}")[1]
        == "container die x 1700000000000000001\n"
    )
    assert json.loads(corten("events", "--format", "json")[1]) == event


@pytest.mark.parametrize(
    ("words", "code", "out"),
    [
        (["version", "-f", "{{.Server.Version}}"], 1, ""),
        (["version", "-f", "{{.Client.Os}}"], 1, "linux\n"),
        (["info", "-f", "{{.ServerVersion}}"], 1, ""),
        (["info", "-f", "{{.ClientInfo.Os}}"], 1, "linux\n"),
        (["ps", "--format", "{{.ID}}"], 1, ""),
    ],
)
def test_templates_without_a_daemon(
    corten: Corten, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int, out: str
) -> None:
    url = f"unix://{tmp_path}/none.sock"
    monkeypatch.setenv("CORTEN_HOST", url)
    absent = f"cannot connect to the Corten daemon at {url}; is it running? start it with: corten daemon\n"
    assert corten(*words) == (code, out, absent)


def test_json_of_maps_is_sorted_and_that_of_structs_is_not(daemon: Daemon, corten: Corten) -> None:
    labels = {"z": "1", "a": "2"}
    box = {
        "Name": "/n",
        "Id": "i",
        "Config": {"Labels": labels},
        "HostConfig": {"LogConfig": {"Type": "t", "Config": labels}},
    }
    daemon.on("GET /containers/n/json", reply(200, box))
    text = corten("inspect", "-f", "{{json .}} {{json .Config.Labels}}", "n")[1]
    ordered = '{"a":"2","z":"1"}'
    assert text == (
        f'{{"Name":"/n","Id":"i","Config":{{"Labels":{ordered}}},'
        f'"HostConfig":{{"LogConfig":{{"Type":"t","Config":{ordered}}}}}}} {ordered}\n'
    )
    daemon.on(
        "GET /info", reply(200, {"Plugins": {"Volume": [], "Network": []}, "Runtimes": {"runc": {}, "corten": {}}})
    )
    assert corten("info", "-f", "{{json .Plugins}}{{json .Runtimes}}")[1] == (
        '{"Volume":[],"Network":[]}{"corten":{},"runc":{}}\n'
    )


def test_version_and_info(daemon: Daemon, corten: Corten) -> None:
    daemon.on("GET /version", reply(200, {"Version": "9", "ApiVersion": "1.50", "Os": "linux", "Arch": "amd64"}))
    daemon.on(
        "GET /info",
        reply(200, {"ServerVersion": "9", "NCPU": 2, "MemTotal": 1 << 30, "Warnings": ["WARNING: no swap"]}),
    )
    out = corten("version")[1]
    assert " API version:       1.50\n" in out and "\nServer:\n Engine:\n  Version:          9\n" in out
    assert corten("version", "-f", "{{.Server.Version}}")[1] == "9\n"
    code, out, err = corten("info")
    assert (code, err) == (0, "WARNING: no swap\n") and " Total Memory: 1GiB\n" in out
    assert corten("info", "-f", "{{.NCPU}}")[1] == "2\n"
    assert "can't evaluate field Foo in type system.dockerInfo" in corten("info", "-f", "{{.Foo}}")[2]


def test_info_says_how_guests_run(daemon: Daemon, corten: Corten) -> None:
    info = {"Guests": {"Accelerator": "tcg", "Reason": "KVM by PVM", "Hint": "guests are emulated"}}
    daemon.on("GET /info", reply(200, info))
    assert " Guests: emulation (KVM by PVM)\n  guests are emulated\n" in corten("info")[1]
    daemon.on("GET /info", reply(200, {"Guests": {"Accelerator": "kvm", "Reason": "KVM by VMX", "Hint": ""}}))
    assert " Guests: kvm (KVM by VMX)\n" in corten("info")[1]
    daemon.on("GET /info", reply(200, {"ServerVersion": "9"}))
    assert "Guests" not in corten("info")[1]


def test_networks(daemon: Daemon, corten: Corten) -> None:
    listed = [
        {"Id": "f" * 64, "Name": "n10", "Driver": "bridge", "Scope": "local", "Created": "2026-11-23T05:04:33.97Z"},
        {"Id": "e" * 64, "Name": "n9", "Driver": "bridge", "Scope": "local", "Labels": {"a": "b"}},
    ]
    daemon.on("GET /networks", reply(200, listed))
    assert corten("network", "ls")[1].splitlines() == [
        "NETWORK ID     NAME      DRIVER    SCOPE",
        "eeeeeeeeeeee   n9        bridge    local",
        "ffffffffffff   n10       bridge    local",
    ]
    assert corten("network", "ls", "--format", "{{.Name}} {{.CreatedAt}}")[1].splitlines()[1] == (
        "n10 2026-11-23 05:04:33.97 +0000 UTC"
    )
    daemon.on("GET /networks/n10", reply(200, listed[0]))
    assert corten("network", "inspect", "-f", "{{.Created}}", "n10")[1] == "2026-11-23 05:04:33.97 +0000 UTC\n"
    daemon.on("POST /networks/n9/connect", reply(200))
    assert corten("network", "connect", "--alias", "x", "--ip", "1.2.3.4", "n9", "box") == (0, "", "")
    assert daemon.requests[-1].json() == {
        "Container": "box",
        "EndpointConfig": {"IPAMConfig": {"IPv4Address": "1.2.3.4"}, "Aliases": ["x"]},
    }


def test_creating_a_network_sorts_addresses_into_subnets(daemon: Daemon, corten: Corten) -> None:
    daemon.on("POST /networks/create", reply(201, {"Id": "n", "Warning": ""}))
    subnets = ["--subnet", "10.1.0.0/16", "--subnet", "fd00::/64"]
    inside = ["--gateway", "fd00::1", "--ip-range", "10.1.5.0/24", "--aux-address", "r=10.1.0.9"]
    assert corten("network", "create", "--ipv6", "-o", "k=v", *subnets, *inside, "net") == (0, "n\n", "")
    sent = daemon.requests[-1].json()
    assert sent["IPAM"]["Config"] == [
        {"Subnet": "10.1.0.0/16", "IPRange": "10.1.5.0/24", "AuxiliaryAddresses": {"r": "10.1.0.9"}},
        {"Subnet": "fd00::/64", "Gateway": "fd00::1"},
    ]
    assert (sent["EnableIPv6"], sent["Options"], "EnableIPv4" in sent) == (True, {"k": "v"}, False)
    code, _, err = corten("network", "create", "--subnet", "10.1.0.0/16", "--gateway", "10.2.0.1", "net")
    assert (code, err) == (1, "no matching subnet for gateway 10.2.0.1\n")


def test_volumes(daemon: Daemon, corten: Corten) -> None:
    daemon.on("GET /volumes", reply(200, {"Volumes": [{"Name": "v", "Driver": "local"}], "Warnings": None}))
    daemon.on("POST /volumes/create", reply(201, {"Name": "v"}))
    daemon.on("POST /volumes/prune", reply(200, {"VolumesDeleted": ["v"], "SpaceReclaimed": 1500}))
    assert corten("volume", "ls")[1] == "DRIVER    VOLUME NAME\nlocal     v\n"
    assert corten("volume", "create", "-o", "type=tmpfs", "v")[1] == "v\n"
    assert daemon.requests[-1].json() == {"Driver": "local", "DriverOpts": {"type": "tmpfs"}, "Labels": {}, "Name": "v"}
    assert corten("volume", "prune", "-f")[1] == "Deleted Volumes:\nv\n\nTotal reclaimed space: 1.5kB\n"


def test_saving_leaves_a_whole_file_or_none(daemon: Daemon, corten: Corten, tmp_path: Path) -> None:
    target = tmp_path / "out.tar"
    daemon.on("GET /images/get", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntar")
    assert corten("save", "-o", str(target), "a", "b:1") == (0, "", "")
    assert (target.read_bytes(), daemon.requests[-1].query) == (b"tar", "names=a&names=b%3A1")
    target.unlink()

    def cut(_request: Request, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nta")
        connection.shutdown(socket.SHUT_RDWR)

    daemon.on("GET /images/get", cut)
    assert corten("save", "-o", str(target), "a")[0] == 1
    assert [one.name for one in tmp_path.iterdir() if "tar" in one.name] == []


def test_disk_usage(daemon: Daemon, corten: Corten) -> None:
    usage = {
        "LayersSize": 2000000,
        "Images": [
            {"Id": "sha256:a", "Size": 1500000, "SharedSize": 0, "Containers": 1, "RepoTags": ["x:1"], "Created": 0},
            {"Id": "sha256:b", "Size": 500000, "SharedSize": 0, "Containers": 0, "RepoTags": [], "Created": 0},
        ],
        "Containers": [{"State": "exited", "SizeRw": 10}],
        "Volumes": [{"Name": "v", "UsageData": {"Size": 5, "RefCount": 1}}],
        "BuildCache": None,
    }
    daemon.on("GET /system/df", reply(200, usage))
    assert corten("system", "df")[1].splitlines() == [
        "TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE",
        "Images          2         1         2MB       500kB (25%)",
        "Containers      1         0         10B       10B (100%)",
        "Local Volumes   1         1         5B        0B (0%)",
        "Build Cache     0         0         0B        0B",
    ]
