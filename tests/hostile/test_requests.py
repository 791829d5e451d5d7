"""What a client or an image's configuration smuggles into files, sysctls and paths.

ESC-13, ESC-14, ESC-28, IMG-04, IMG-05.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any, Self

import pytest

from fault_parts.fragile import Fragile
from fault_parts.images import busybox, load
from image_parts import tars


def refused(daemon: Fragile, host: dict[str, Any] | None = None, **config: Any) -> str:
    """A create, or at the latest its start, is refused with a message of one line."""
    body = {"Image": "corten/busybox", "Cmd": ["true"], "HostConfig": host or {}, **config}
    status, answer = daemon.ask("POST", "/containers/create", body)
    if status == 201:
        status, answer = daemon.ask("POST", f"/containers/{answer['Id']}/start")
    assert status in (400, 409, 500), (host, config, status, answer)
    assert "\n" not in answer["message"]
    return str(answer["message"])


SYSCTLS = (
    "kernel.core_pattern", "kernel/core_pattern", "kernel.modprobe", "vm.swappiness", "fs.file-max",
    "kernel.shmmax/../x",
    "net.ipv4/../../kernel/core_pattern", "net..ipv4", "net.ipv4.ip_forward\n", "net.ipv4.\nx", "net.", ".", "", "/",
    "../kernel/core_pattern", "net.ipv4.ip_forward=1", "kernel.hostname", "user.max_user_namespaces",
)  # fmt: skip


@pytest.mark.parametrize("key", SYSCTLS)
def test_sysctls(daemon: Fragile, key: str) -> None:
    """ESC-13: only what is namespaced; the host's are as they were."""
    before = {path: Path(path).read_text() for path in ("/proc/sys/kernel/core_pattern", "/proc/sys/vm/swappiness")}
    refused(daemon, {"Sysctls": {key: "1"}})
    assert {path: Path(path).read_text() for path in before} == before


@pytest.mark.parametrize(
    "host",
    [
        {"NetworkMode": "host", "Sysctls": {"net.ipv4.ip_forward": "1"}},
        {"NetworkMode": "host", "Sysctls": {"net.ipv4.conf.all.rp_filter": "0"}},
        {"IpcMode": "host", "Sysctls": {"kernel.shmmax": "1"}},
        {"IpcMode": "host", "Sysctls": {"fs.mqueue.msg_max": "5"}},
        {"UTSMode": "host", "Sysctls": {"kernel.domainname": "x"}},
    ],
)
def test_sysctls_of_a_namespace_that_is_the_hosts(daemon: Fragile, host: dict[str, Any]) -> None:
    """CRI-O's GHSA-w2j5-3rcx-vx7x."""
    refused(daemon, host)


def test_sysctls_that_are_namespaced_work(daemon: Fragile) -> None:
    host = {
        "Sysctls": {"net.ipv4.ip_unprivileged_port_start": "99", "kernel.msgmax": "9000", "net/core/somaxconn": "77"}
    }
    read = "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/msgmax /proc/sys/net/core/somaxconn"
    assert daemon.outcome("sh", "-c", read, host=host) == (0, "99\n9000\n77\n")


NASTY = ("a\nb", "a\rb", "a\0b", "x\nroot::0:0::/:/bin/sh")


@pytest.mark.parametrize("text", NASTY)
@pytest.mark.parametrize(
    "field", ["Hostname", "Domainname", "User", "ExtraHosts", "Dns", "DnsSearch", "DnsOptions", "Env HOME"]
)
def test_lines_in_generated_files(daemon: Fragile, field: str, text: str) -> None:
    """ESC-14: no line of hosts, hostname, resolv.conf or passwd comes from a request."""
    if field in ("Hostname", "Domainname", "User"):
        refused(daemon, None, **{field: text})
        return
    if field == "Env HOME":
        body = {"Image": "corten/busybox", "Cmd": ["cat", "/etc/passwd"], "Env": [f"HOME={text}"]}
        status, answer = daemon.ask("POST", "/containers/create", body)
        if status == 201 and daemon.ask("POST", f"/containers/{answer['Id']}/start")[0] == 204:
            daemon.wait(answer["Id"])
            assert "::0:0::" not in daemon.output(answer["Id"])
        return
    value = f"name:{text}" if field == "ExtraHosts" else text
    refused(daemon, {field: [value]})


CGROUP_PARENTS = ("..", "/..", "/a/../../b", "a/../..", "/a\nb", "/a//b", "/./x")


@pytest.mark.parametrize("parent", CGROUP_PARENTS)
def test_cgroup_parents(daemon: Fragile, parent: str) -> None:
    refused(daemon, {"CgroupParent": parent})


@pytest.mark.parametrize(
    "bind",
    ["/etc:/proc", "/etc:/proc/self", "/etc:/proc/sys/kernel", "/etc:/", "/etc:/..", "/etc:/a/../..", "/etc:relative",
     "relative/path:/x", "../x:/x", "v/../x:/x", ".:/x", "..:/x", "/etc:/x:rw,foo", ":/x", "/etc:", "::"],
)  # fmt: skip
def test_binds(daemon: Fragile, bind: str) -> None:
    refused(daemon, {"Binds": [bind]})


@pytest.mark.parametrize("target", ["/proc", "/proc/sys", "/sys/../proc", "/", "relative", "/a/../..", ""])
def test_mounts_and_tmpfs(daemon: Fragile, target: str) -> None:
    refused(daemon, {"Mounts": [{"Type": "tmpfs", "Target": target}]})
    refused(daemon, {"Tmpfs": {target: ""}})
    refused(daemon, {"Mounts": [{"Type": "bind", "Source": "/etc", "Target": target}]})


def test_names_that_are_paths(daemon: Fragile) -> None:
    for name in ("../x", "a/b", "/..", "a\nb", "-x", ".x", "a" * 300 + "/"):
        status, answer = daemon.ask("POST", "/volumes/create", {"Name": name})
        assert status == 400, (name, answer)
    for reference in ("../../etc", "..%2f..%2fetc", "%2e%2e%2f%2e%2e", "0" * 63 + "/"):
        assert daemon.ask("GET", f"/containers/{reference}/json")[0] in (400, 404)
        assert daemon.ask("GET", f"/images/{reference}/json")[0] in (400, 404)
        assert daemon.ask("GET", f"/volumes/{reference}")[0] in (400, 404)


# ------------------------------------------------------------------------------------------- image configurations


def show(daemon: Fragile, tag: str, config: dict[str, Any], *command: str) -> str:
    """What a container of an image with this configuration says, or why there is none."""
    said = load(daemon, tag, busybox(), config)
    if said:
        return said
    status, answer = daemon.ask("POST", "/containers/create", {"Image": tag, **({"Cmd": command} if command else {})})
    if status != 201:
        return str(answer["message"])
    id = answer["Id"]
    status, answer = daemon.ask("POST", f"/containers/{id}/start")
    if status != 204:
        return str(answer["message"])
    daemon.wait(id)
    return daemon.output(id)


def test_environment_without_values(daemon: Fragile) -> None:
    """IMG-05, CVE-2026-57231: a name without a value takes nothing from the daemon's own environment."""
    assert daemon.name.encode() in Path(f"/proc/{daemon.pid}/environ").read_bytes()
    for number, env in enumerate(
        (["CORTEN_E2E"], ["*"], ["=x"], ["A=1\nB=2"], ["GOOD=1", "CORTEN_E2E", "=", "", "*=*"])
    ):
        said = show(daemon, f"env-{number}", {"Env": env}, "env")
        assert daemon.name not in said and "CORTEN_E2E" not in said, said
    assert "GOOD=1" in said


def test_labels_and_settings_are_inert(daemon: Fragile) -> None:
    """IMG-04: what an image says of privileges has no effect."""
    keys = "dev.corten.privileged com.docker.privileged io.podman.annotations.privileged dev.corten.groups"
    labels = dict.fromkeys([*keys.split(), "io.kubernetes.cri-o.userns-mode"], "true")
    labels["containerd.io/restart.loguri"] = "binary:///bin/touch?/pwned"
    config = {
        "Labels": labels, "HostConfig": {"Privileged": True}, "Privileged": True, "CapAdd": ["ALL"],
        "SecurityOpt": ["x"], "Binds": ["/:/host"], "NetworkMode": "host", "annotations": labels,
    }  # fmt: skip
    probe = (
        "sh",
        "-c",
        "grep -E '^(Cap|Seccomp:|NoNew|Groups)' /proc/self/status; cut -d' ' -f5,6 /proc/self/mountinfo",
    )
    plain, hostile = show(daemon, "plain", {}, *probe), show(daemon, "labelled", config, *probe)
    assert "CapEff" in plain and hostile == plain
    assert not Path("/pwned").exists()


HUGE = "x" * (3 << 20)


@pytest.mark.parametrize(
    "config",
    [
        {"Env": [f"A={HUGE}"]},
        {"Env": ["A=1"] * 300_000},
        {"Labels": {"a": HUGE}},
        {"Cmd": ["echo", HUGE]},
        {"Entrypoint": ["echo"] * 300_000},
        {"WorkingDir": "/" + "a/" * 100_000},
        {"WorkingDir": "/a\0b"},
        {"User": "0" * 100_000},
        {"User": "9" * 5_000},
        {"Volumes": {f"/v{number}": {} for number in range(20_000)}},
        {"Volumes": {"/../../etc": {}, "relative": {}, "/": {}}},
        {"Volumes": {"/proc": {}}},
        {"ExposedPorts": {"1-65535/tcp": {}, "99999999999/tcp": {}, "x": {}}},
        {"StopSignal": "9" * 10_000},
        {"Shell": {"a": 1}},
        {"Cmd": "a string"},
        {"Env": {"A": "1"}},
        {"Healthcheck": {"Test": ["CMD-SHELL", "true"], "Interval": 1, "Timeout": -5, "Retries": 10**30}},
        {"User": "\u202eroot", "Domainname": "a\nb", "Hostname": "c\nd"},
    ],
    ids=lambda config: "-".join(config),
)
def test_configurations(daemon: Fragile, config: dict[str, Any]) -> None:
    """Refused or run, quickly, and the daemon is there afterwards."""
    before = daemon.spent()
    said = show(daemon, "strange", config)
    assert daemon.spent() - before < 5
    assert "Traceback" not in said and "Traceback" not in daemon.log.read_text()
    assert daemon.ask("GET", "/_ping")[0] == 200


def test_environments_do_not_mix(daemon: Fragile) -> None:
    """CVE-2020-14370."""
    assert load(daemon, "shared", busybox(), {"Env": ["SHARED=1"]}) == ""
    ids = {n: daemon.create("env", Image="shared", Env=[f"OWN=token{n}"]) for n in range(12)}
    for id in ids.values():
        assert daemon.ask("POST", f"/containers/{id}/start")[0] == 204
    for number, id in ids.items():
        daemon.wait(id)
        assert [line for line in daemon.output(id).splitlines() if line.startswith("OWN=")] == [f"OWN=token{number}"]


def test_deep_and_wide_bodies(daemon: Fragile) -> None:
    """DOS-04: an answer at once, whatever is sent."""
    image = {"Image": "corten/busybox"}
    ports: dict[str, dict[str, str]] = {f"{number}/tcp": {} for number in range(1, 40_000)}
    bodies = [
        b"[" * 100_000, b'{"a":' * 50_000, b'{"Memory":' + b"9" * 10_000 + b"}", b"{" + b" " * (3 << 20) + b"}",
        b'{"HostConfig":{"CpusetCpus":"0-2147483648"}}', b"\xff\xfe", b"", b"null", b"[]", b'"x"',
        json.dumps({**image, "HostConfig": {"CpusetCpus": "0-2147483648"}}).encode(),
        json.dumps({**image, "ExposedPorts": ports}).encode(),
    ]  # fmt: skip
    for body in bodies:
        before = daemon.spent()
        status, _ = daemon.ask("POST", "/containers/create", body, Content_Type="application/json")
        assert status in (400, 404, 413) or status == 201, (body[:60], status)
        assert daemon.spent() - before < 2, body[:60]


def test_the_largest_bodies_hold_no_other_request_up(daemon: Fragile) -> None:
    """DOS-04: what is accepted is decoded, planned and started while others are answered; what is larger is a 400."""
    mounts = {"Binds": [f"/tmp:/b{number}" for number in range(1000)]}
    rules = {"SecurityOpt": ["label=x"] * 1000, "DeviceCgroupRules": ["c 13:* rwm"] * 1000}
    limits = {"Ulimits": [{"Name": "core", "Soft": 1, "Hard": 1}] * 1000}
    lines = {"Labels": {f"k{n}": "x" * 60 for n in range(10_000)}, "Env": [f"v{n}={'x' * 60}" for n in range(9_999)]}
    largest: dict[str, Any] = {"NetworkMode": "none", **mounts, **rules, **limits}
    with Waiting(daemon) as others:
        id = daemon.run("true", host=largest, ExposedPorts={f"{n}/tcp": {} for n in range(1, 10_001)}, **lines)
        daemon.wait(id)
        for key in ("Binds", "SecurityOpt", "DeviceCgroupRules", "Ulimits"):
            more = {**largest, key: [*largest[key], largest[key][0]]}
            assert refused(daemon, more) == f"HostConfig.{key} has too many entries: 1001, at most 1000 are taken"
    assert others.longest < 1, "seconds of a processor before another client was answered"  # 0.2


class Waiting(threading.Thread):
    """Another client, that asks all the time; `longest` is what the daemon did at most before one answer: seconds of a
    processor."""

    def __init__(self, daemon: Fragile) -> None:
        super().__init__()
        self._daemon = daemon
        self._ended = threading.Event()
        self.longest = 0.0

    def run(self) -> None:
        while not self._ended.is_set():
            before = self._daemon.spent()
            assert self._daemon.ask("GET", "/_ping")[0] == 200
            self.longest = max(self.longest, self._daemon.spent() - before)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()


def test_volume_content_by_a_link_is_the_images(daemon: Fragile, tmp_path: Path) -> None:
    """The twin that must keep working: an absolute link inside an image."""
    entries = [*busybox(), tars.directory("var"), tars.directory("run"), tars.symlink("var/run", "/run"),
               tars.file("run/inside", b"image")]  # fmt: skip
    assert load(daemon, "var-run", entries, {"Volumes": {"/var/run": {}}}) == ""
    id = daemon.run("ls", "/var/run/", Image="var-run")
    daemon.wait(id)
    assert daemon.output(id) == "inside\n"
