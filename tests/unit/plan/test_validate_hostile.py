"""Hostile create requests: refused in one line and quickly, and never the cause of anything but a CortenError."""

from __future__ import annotations

import gc
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corten.errors import CortenError, Invalid
from corten.plan.document import container_spec
from corten.plan.facts import DeviceNode, HostFacts, SpecInputs
from corten.plan.validate.create import check_name
from corten.spec.docker.config import Config
from corten.spec.docker.exec import ExecConfig
from corten.spec.docker.host_config import HostConfig, UpdateConfig
from corten.spec.docker.records import record_of
from corten.spec.go_types import Items, Number, Plain, Record, Table, Type
from corten.spec.id_map import IdRange
from corten.spec.json import Json
from docker_json import check_create, check_exec, merge_config, mount_points, normalize_host_config, update_resources

CONFIG, HOST_CONFIG, EXEC, UPDATE = (record_of(each) for each in (Config, HostConfig, ExecConfig, UpdateConfig))

NODE = DeviceNode("/dev/null", "c", 1, 3)
FACTS = HostFacts(("CAP_CHOWN",), cpus=2, cpuset_cpus=frozenset({0, 1}), init_path="/init", devices=lambda path: [NODE])


def refuse(config: Json | None = None, network: Json | None = None, **host: Any) -> str:
    """The one line that says why."""
    with pytest.raises(CortenError) as caught:
        check_create(merge_config({"Cmd": ["sh"]}, config or {}), host, network, FACTS)
    text = str(caught.value)
    assert text.isprintable()
    assert len(text) < 1100
    return text


def accept(config: Json | None = None, network: Json | None = None, **host: Any) -> list[str]:
    return check_create(merge_config({"Cmd": ["sh"]}, config or {}), host, network, FACTS)


# ------------------------------------------------------------------------------------------- any JSON whatsoever

JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
TEXTS = st.sampled_from(
    ["", "host", "container:", "container:x", "private", "none", "x", "/x", "/x:/y", "vol:/v:ro", "0-1", "ALL", "a=b"]
    + [
        "80/tcp",
        "1.2.3.4",
        "c 1:3 rwm",
        "no",
        "always",
        "bind",
        "volume",
        "tmpfs",
        "1m",
        "seccomp={}",
        "a\nb",
        "é",
        "/",
    ]
) | st.text(max_size=8)


def plausible(kind: Type) -> st.SearchStrategy[Any]:
    """Values of the right JSON type."""
    match kind:
        case Plain(boolean=True):
            right: st.SearchStrategy[Any] = st.booleans()
        case Plain():
            right = TEXTS
        case Number():
            right = st.sampled_from([-1, 0, 1, 2, 100, 1000, 6 << 20, 1 << 30]) | st.integers(kind.low, kind.high)
        case Items():
            right = st.lists(plausible(kind.element), max_size=3)
        case Table():
            right = st.dictionaries(TEXTS, plausible(kind.element), max_size=3)
        case Record():
            right = record(kind)
    return st.none() | right if not isinstance(kind, Plain) else right


def later(kind: Type) -> st.SearchStrategy[Any]:
    return st.deferred(lambda: plausible(kind))


def record(kind: Record) -> st.SearchStrategy[Json]:
    """A few of the fields; deferred, because some structures are deep."""
    fields = {name: later(inner) for name, inner in kind.fields.items()}
    if not fields:
        return st.just({})
    some = st.lists(st.sampled_from(sorted(fields)), max_size=5, unique=True)
    return some.flatmap(lambda names: st.fixed_dictionaries({name: fields[name] for name in names}))


def take(config: Any, host: Any, networking: Any) -> None:
    """Everything that happens to a request until its document is written."""
    merged = merge_config({"Cmd": ["sh"]}, config)
    check_create(merged, host, networking, FACTS)
    normal = normalize_host_config(host, FACTS)
    joined = {"network": "/n", "pid": "/p", "ipc": "/i", "uts": "/u"}
    points = mount_points(merged, normal, {text.split(":")[0]: () for text in normal.volumes_from or ()})
    spec = container_spec(SpecInputs("id", "n", merged, normal, Path("/b"), {}, points, joined), FACTS)
    assert spec["linux"]["maskedPaths"] or normal.privileged or normal.masked_paths == []
    assert normalize_host_config(normal, FACTS) == normal


@settings(max_examples=300)
@given(record(CONFIG), record(HOST_CONFIG))
def test_whatever_is_asked_is_done_or_refused(config: Json, host: Json) -> None:
    try:
        take(config, host, {})
    except CortenError as error:
        assert str(error)


@settings(max_examples=300)
@given(
    st.dictionaries(st.sampled_from(sorted(CONFIG.fields)), JUNK, max_size=4),
    st.dictionaries(st.sampled_from(sorted(HOST_CONFIG.fields)), JUNK, max_size=4),
    JUNK,
)
def test_junk_is_refused(config: Json, host: Json, networking: Any) -> None:
    try:
        take(config, host, networking)
    except CortenError as error:
        assert str(error)


@settings(max_examples=150)
@given(record(UPDATE), record(HOST_CONFIG))
def test_any_update_is_done_or_refused(body: Json, host: Json) -> None:
    try:
        check_create({"Cmd": ["x"]}, host, {}, FACTS)
        update_resources(normalize_host_config(host, FACTS), body, FACTS)
    except CortenError as error:
        assert str(error)


@settings(max_examples=150)
@given(record(EXEC))
def test_any_exec_is_taken_or_refused(body: Json) -> None:
    try:
        check_exec(body)
    except CortenError as error:
        assert str(error)


# ---------------------------------------------------------------------------------------------------- too much

DEEP: Any = []
for _ in range(5_000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    "host",
    [
        {"CpusetCpus": "0-2147483647"},
        {"CpusetCpus": ",".join(["0-8192"] * 100)},
        {"CpusetCpus": "9" * 900_000},
        {"Memory": 10**4000},
        {"Binds": DEEP},
        {"Mounts": DEEP},
        {"Binds": ["/a:/b"] * 70_000},
        {"Labels": "x" * 900_000, "Tmpfs": {"/x": "a" * 900_000}},
        {"PortBindings": {"80/tcp": [{"HostPort": "0-1000000000"}]}},
        {"PortBindings": {f"{port}/tcp": [{}] * 2 for port in range(1, 65_536)}},
        {"SecurityOpt": ["seccomp=" + "[" * 100_000]},
        {"Sysctls": {"net." + "a." * 200_000: "1"}},
        {"Dns": ["1" * 500_000]},
        {"ExtraHosts": ["a:" + "1" * 500_000]},
        {"NetworkMode": "x" * 1_000_000},
    ],
    ids=lambda host: next(iter(host)),
)
def test_too_much_is_refused_quickly(host: Json) -> None:
    gc.freeze()  # what other tests have left in this process is not walked through meanwhile
    try:
        began = time.thread_time()  # others may have the processor meanwhile; what is quadratic here takes minutes
        message = refuse(**host)
        assert time.thread_time() - began < 2
    finally:
        gc.unfreeze()
    assert message


# --------------------------------------------------------------------------------- texts that become lines of files


@pytest.mark.parametrize("text", ["a\nb", "a\rb", "a\0b", "a\tb", "a b", "a\u2028b", "a#b", "\ud800"])
def test_what_ends_a_line_is_refused(text: str) -> None:
    refuse({"Hostname": text})
    refuse({"Domainname": text})
    refuse(DnsSearch=[text])
    refuse(DnsOptions=[text])
    refuse(Dns=[text])
    refuse(ExtraHosts=[f"{text}:1.2.3.4"])
    refuse(ExtraHosts=[f"name:{text}"])
    refuse(Links=[text])
    refuse(GroupAdd=[text])
    refuse(NetworkMode=text)
    refuse(network={"EndpointsConfig": {"net": {"Aliases": [text]}}})


@pytest.mark.parametrize("text", ["root\nx", "a\0", "2147483648", "4294967295", "0:4294967296", "1:2:3", "a\x7fb"])
def test_users_that_are_none(text: str) -> None:
    refuse({"User": text})
    with pytest.raises(Invalid):
        check_exec({"Cmd": ["x"], "User": text})


@pytest.mark.parametrize(
    "text", ["", "root", "0", "1000", "2147483647", "1000:1000", "www-data:adm", ":5", "dömäne\\user"]
)
def test_users_that_are_some(text: str) -> None:
    accept({"User": text})


def test_an_image_is_as_hostile_as_a_client() -> None:
    image: Json
    for image in ({"User": "4294967295"}, {"WorkingDir": "x"}, {"Volumes": {"/": {}}}, {"ExposedPorts": {"x": {}}}):
        with pytest.raises(Invalid):
            check_create(merge_config(image, {"Cmd": ["x"]}), {}, {}, FACTS)


def test_legitimate_but_weird_is_taken() -> None:
    accept({"Hostname": "under_score.and.dots-", "Domainname": "bücher.example", "User": "1000:docker"})
    accept({"ExposedPorts": {"8000-8010/UDP": {}, "9": {}, "5/sctp": None}}, PortBindings={"80/tcp": None})
    accept({"Env": ["A=", "B", "C=\nD=1", "é=ü"], "Labels": {"": "x", "a b": "\n"}, "Volumes": {"/a//b/": {}}})
    accept(Binds=["/a b:/c d:ro,z"], ExtraHosts=["db:host-gateway", "v6:[::1]", "v6b:::1"])
    accept(Sysctls={"net/ipv4/ip_forward": "1", "net.ipv4.conf.eth0.forwarding": "1", "kernel.sem": "1 2 3 4"})
    accept(Binds=["/proc:/proc", "/var/lib/lxcfs/proc/cpuinfo:/proc/cpuinfo"])


# -------------------------------------------------------------------------------------------------- /proc, sysctls


@pytest.mark.parametrize(
    "host",
    [
        {"Binds": ["/x:/proc"]},
        {"Binds": ["vol:/proc/sys"]},
        {"Binds": ["/x:/a/../proc/self/attr"]},
        {"Binds": ["/x://proc/self"]},
        {"Tmpfs": {"/proc": ""}},
        {"Tmpfs": {"/proc/self": ""}},
        {"Mounts": [{"Type": "tmpfs", "Target": "/proc/cpuinfo"}]},
        {"Mounts": [{"Type": "volume", "Target": "/proc/scsi"}]},
    ],
    ids=str,
)
def test_nothing_is_mounted_into_proc(host: Json) -> None:
    assert "proc" in refuse(**host)


def test_an_image_volume_in_proc_is_refused_too() -> None:
    refuse({"Volumes": {"/proc/self": {}}})


@pytest.mark.parametrize(
    "host",
    [
        {"Sysctls": {"net.ipv4.ip_forward": "1"}, "NetworkMode": "host"},
        {"Sysctls": {"net/ipv4/ip_forward": "1"}, "NetworkMode": "host"},
        {"Sysctls": {"net.ipv4.ip_forward": "1"}, "NetworkMode": "container:x"},
        {"Sysctls": {"fs.mqueue.msg_max": "1"}, "IpcMode": "host"},
        {"Sysctls": {"kernel.domainname": "x"}, "UTSMode": "host"},
        {"Sysctls": {"kernel.core_pattern": "|/x"}},
        {"Sysctls": {"user.max_user_namespaces": "1"}},
        {"Sysctls": {"net..x": "1"}},
        {"Sysctls": {"net.../../kernel.panic": "1"}},
        {"Sysctls": {"net.ipv4.ip_forward": "1\n2"}},
        {"Sysctls": {"net.a+b=c": "1"}},
        {"CgroupParent": "/a/../../b"},
        {"CgroupParent": "a\nb"},
    ],
    ids=str,
)
def test_nothing_of_the_hosts_is_set(host: Json) -> None:
    refuse(**host)


def test_remapped_root_has_no_say_in_the_hosts_namespaces() -> None:
    remap = (IdRange(0, 100_000, 65_536),)
    facts = HostFacts(capabilities=(), uid_map=remap, gid_map=remap)
    for host in ({"Privileged": True}, {"NetworkMode": "host"}, {"PidMode": "host"}):
        with pytest.raises(Invalid, match="user namespaces"):
            check_create({"Cmd": ["x"]}, host, {}, facts)
        check_create({"Cmd": ["x"]}, {**host, "UsernsMode": "host"}, {}, facts)


def test_what_the_machine_lacks_is_a_warning_and_dropped() -> None:
    facts = HostFacts(capabilities=(), controls=frozenset())
    asked = {"Memory": 64 << 20, "CpuShares": 5, "PidsLimit": 5, "CpusetCpus": "0", "MemoryReservation": 8 << 20}
    warnings = check_create({"Cmd": ["x"]}, asked, {}, facts)
    assert [warning.split(" or ")[0] for warning in warnings] == [
        "Your kernel does not support memory limit capabilities",
        "Your kernel does not support memory soft limit capabilities",
        "Your kernel does not support PIDs limit capabilities",
        "Your kernel does not support CPU shares",
        "Your kernel does not support cpuset",
    ]
    host = normalize_host_config(asked, facts)
    assert (host.memory, host.cpu_shares, host.pids_limit, host.cpuset_cpus) == (0, 0, None, "")


@pytest.mark.parametrize("name", ["ab\n", "a", "", "a/b", "..", "a\0b", "é é"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(Invalid):
        check_name(name)
