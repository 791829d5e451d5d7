"""Documents for what the recorded dockerd could not or did not do: modes, user namespaces, newer kernels, exec."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from corten.errors import Invalid
from corten.plan.document import container_spec
from corten.plan.facts import DeviceNode, HostFacts, MountPoint, SpecInputs
from corten.plan.mounts import bundle_files
from corten.plan.security import DEFAULT_CAPABILITIES
from corten.plan.tmpfs import merge_options
from corten.spec.docker.host_config import Ulimit
from corten.spec.id_map import IdRange
from corten.spec.json import Json
from docker_json import capabilities, exec_process, merge_config, normalize_host_config, update_resources

KVM = DeviceNode("/dev/kvm", "c", 10, 232, 0o660, 0, 105)


def devices(path: str) -> list[DeviceNode]:
    if path not in ("/dev", "/dev/kvm"):
        raise FileNotFoundError(2, "No such file or directory", path)
    return [KVM]


FACTS = HostFacts(("CAP_CHOWN", "CAP_SYS_ADMIN"), cpus=2, init_path="/usr/libexec/corten-init", devices=devices)
REMAP = replace(FACTS, uid_map=(IdRange(0, 100_000, 65_536),), gid_map=(IdRange(0, 200_000, 65_536),))
SECCOMP = {"defaultAction": "SCMP_ACT_ERRNO"}


def document(facts: HostFacts = FACTS, config: Json | None = None, /, **host: Any) -> Json:
    return container_spec(inputs(facts, config, **host), facts)


def inputs(facts: HostFacts = FACTS, config: Json | None = None, /, **host: Any) -> SpecInputs:
    merged = merge_config({"Cmd": ["sh"]}, {"Hostname": "box", **(config or {})})
    normal = normalize_host_config(host, facts)
    return SpecInputs(
        "0123", "name", merged, normal, Path("/b"), bundle_files("/b"), seccomp=SECCOMP, cgroup_path="/corten/0123"
    )


def mount(spec: Json, destination: str) -> Json:
    found: Json
    [found] = [m for m in spec["mounts"] if m["destination"] == destination]
    return found


def kinds(spec: Json) -> dict[str, str | None]:
    return {namespace["type"]: namespace.get("path") for namespace in spec["linux"]["namespaces"]}


def test_a_prepared_network_and_other_containers_namespaces_are_joined() -> None:
    asked = inputs(NetworkMode="container:a", PidMode="container:b", IpcMode="container:c")
    paths = {"network": "/net", "pid": "/pid", "ipc": "/ipc"}
    spec = container_spec(replace(asked, namespaces=paths, shm_path="/shm/of/c"), FACTS)
    assert kinds(spec) == {"mount": None, "network": "/net", "uts": None, "pid": "/pid", "ipc": "/ipc"}
    assert mount(spec, "/dev/shm")["source"] == "/shm/of/c"
    assert spec["linux"]["sysctl"] == {}


def test_sysctls_of_a_network_of_ones_own() -> None:
    assert document(NetworkMode="none")["linux"]["sysctl"] == {
        "net.ipv4.ip_unprivileged_port_start": "0",
        "net.ipv4.ping_group_range": "0 2147483647",
    }
    assert document(Sysctls={"net/ipv4/ip_forward": "1"}, NetworkMode="none")["linux"]["sysctl"][
        "net.ipv4.ip_forward"
    ] == "1"  # fmt: skip


def test_cgroup_namespace_follows_the_version() -> None:
    second = replace(FACTS, cgroup_version=2)
    assert "cgroup" not in kinds(document())
    assert "cgroup" in kinds(document(second))
    assert "cgroup" not in kinds(document(second, CgroupnsMode="host"))
    assert "cgroup" in kinds(document(CgroupnsMode="private"))
    assert "cgroup" in kinds(document(second, Privileged=True))


def test_time_namespace_where_there_is_one() -> None:
    assert "time" not in kinds(document())
    assert "time" in kinds(document(replace(FACTS, time_namespace=True)))


def test_remapped_ids() -> None:
    spec = document(REMAP)
    assert "user" in kinds(spec)
    assert spec["linux"]["uidMappings"] == [{"containerID": 0, "hostID": 100_000, "size": 65_536}]
    assert spec["linux"]["gidMappings"] == [{"containerID": 0, "hostID": 200_000, "size": 65_536}]
    assert "net.ipv4.ping_group_range" not in spec["linux"]["sysctl"]
    unmapped = document(REMAP, UsernsMode="host")
    assert "user" not in kinds(unmapped)
    assert "uidMappings" not in unmapped["linux"]


def test_remapped_containers_that_share_a_network_share_the_user_namespace() -> None:
    asked = replace(inputs(REMAP, NetworkMode="container:a"), namespaces={"network": "/net", "user": "/user"})
    spec = container_spec(asked, REMAP)
    assert kinds(spec)["user"] == "/user"
    assert "uidMappings" not in spec["linux"]


def test_remapped_root_owns_its_cgroup_namespace() -> None:
    second = replace(REMAP, cgroup_version=2)
    assert "ro" not in mount(document(second), "/sys/fs/cgroup")["options"]
    assert "ro" in mount(document(second, CgroupnsMode="host"), "/sys/fs/cgroup")["options"]


def test_seccomp_is_left_out_when_unconfined() -> None:
    assert document()["linux"]["seccomp"] == SECCOMP
    assert "seccomp" not in document(SecurityOpt=["seccomp=unconfined"])["linux"]


def test_privileged_sees_the_hosts_devices() -> None:
    asked = [{"PathOnHost": "/dev/kvm", "PathInContainer": "/dev/mykvm"}, {"PathOnHost": "/dev/kvm"}]
    spec = document(Privileged=True, Devices=asked)
    node = {"path": "/dev/kvm", "type": "c", "major": 10, "minor": 232, "fileMode": 0o660, "uid": 0, "gid": 105}
    assert spec["linux"]["devices"] == [node, {**node, "path": "/dev/mykvm"}]
    assert spec["linux"]["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    assert spec["process"]["capabilities"]["effective"] == list(FACTS.capabilities)
    assert "inheritable" not in spec["process"]["capabilities"]
    assert "seccomp" not in spec["linux"]


def test_recursive_read_only() -> None:
    def options(point: MountPoint, facts: HostFacts = FACTS) -> list[str]:
        words: list[str] = mount(container_spec(replace(inputs(), mounts=[point]), facts), "/x")["options"]
        return words

    bind = MountPoint("bind", "/x", "/src", rw=False, propagation="rprivate")
    assert options(bind) == ["rbind", "rro", "rprivate"]
    assert options(replace(bind, recursive=False)) == ["bind", "ro", "rprivate"]
    assert options(replace(bind, rro="no")) == ["rbind", "ro", "rprivate"]
    older = replace(FACTS, recursive_readonly=False)
    assert options(bind, older) == ["rbind", "ro", "rprivate"]
    with pytest.raises(Invalid):
        options(replace(bind, rro="required"), older)


def test_a_shared_mount_needs_a_shared_root() -> None:
    point = MountPoint("bind", "/x", "/src", propagation="rshared")
    slave = replace(point, destination="/y", propagation="rslave")
    spec = container_spec(replace(inputs(), mounts=[slave, point]), FACTS)
    assert spec["linux"]["rootfsPropagation"] == "shared"


def test_parents_are_mounted_before_children() -> None:
    points = [MountPoint("bind", path, "/s") for path in ("/a/b/c", "/a", "/a/b", "/z")]
    spec = container_spec(replace(inputs(Tmpfs={"/a/b/c/d": ""}), mounts=points, files={}), FACTS)
    assert [m["destination"] for m in spec["mounts"][7:]] == ["/a", "/z", "/a/b", "/a/b/c", "/a/b/c/d"]


def test_groups_by_name_travel_in_the_annotation() -> None:
    spec = document(GroupAdd=["docker", "5", "0x5", "99999999999", "audio"], Annotations={"k": "v"})
    assert spec["process"]["user"]["additionalGids"] == [5]
    assert spec["annotations"] == {"k": "v", "dev.corten.groups": "docker,0x5,99999999999,audio"}


@pytest.mark.parametrize(
    ("text", "uid", "gid"),
    [("", 0, 0), ("0", 0, 0), ("1000", 1000, 0), ("1:2", 1, 2), (":2", 0, 2), ("a:2", 0, 2), ("1:b", 1, 0)],
)
def test_user_numbers(text: str, uid: int, gid: int) -> None:
    user = document(FACTS, {"User": text})["process"]["user"]
    assert (user["uid"], user["gid"], user["username"]) == (uid, gid, text or "0")


def test_only_a_possible_root_gets_capabilities() -> None:
    def sets(user: str) -> set[str]:
        return set(document(FACTS, {"User": user})["process"]["capabilities"])

    assert sets("") == sets("0") == sets("root") == sets("0:5") == {"bounding", "effective", "permitted"}
    assert sets("1000") == sets("1:0") == {"bounding"}


def test_daemon_defaults() -> None:
    facts = replace(
        FACTS,
        default_ulimits={
            "nofile": Ulimit(name="nofile", soft=1, hard=2),
            "core": Ulimit(name="core", soft=0, hard=-1),
        },
        default_no_new_privileges=True,
        default_init=True,
        default_shm_size=5,
    )
    spec = document(facts, None, Ulimits=[{"Name": "nofile", "Soft": 3, "Hard": 4}])
    assert spec["process"]["rlimits"] == [
        {"type": "RLIMIT_NOFILE", "hard": 4, "soft": 3},
        {"type": "RLIMIT_CORE", "hard": 2**64 - 1, "soft": 0},
    ]
    assert spec["process"]["noNewPrivileges"] is True
    assert spec["process"]["args"] == ["/sbin/docker-init", "--", "sh"]
    assert mount(spec, "/sbin/docker-init")["source"] == "/usr/libexec/corten-init"
    assert "size=5" in mount(spec, "/dev/shm")["options"]
    assert document(facts, None, SecurityOpt=["no-new-privileges=false"])["process"]["noNewPrivileges"] is False


def test_system_paths_unconfined() -> None:
    spec = document(SecurityOpt=["systempaths=unconfined"])
    assert spec["linux"]["maskedPaths"] == spec["linux"]["readonlyPaths"] == []


def test_thermal_throttling_of_each_cpu_is_masked() -> None:
    path = "/sys/devices/system/cpu/cpu0/thermal_throttle"
    assert path in document(replace(FACTS, thermal_paths=(path,)))["linux"]["maskedPaths"]


def test_documents_share_nothing() -> None:
    """What one start changes in its document must not be in the next one."""
    first = document()
    first["mounts"][0]["options"].append("x")
    first["linux"]["resources"]["devices"][0]["allow"] = True
    first["process"]["capabilities"]["bounding"].clear()
    first["linux"]["maskedPaths"].clear()
    second = document()
    assert "x" not in second["mounts"][0]["options"]
    assert second["linux"]["resources"]["devices"][0]["allow"] is False
    assert second["process"]["capabilities"]["bounding"] == list(DEFAULT_CAPABILITIES)
    assert second["linux"]["maskedPaths"]


def test_missing_device_is_named() -> None:
    with pytest.raises(Invalid, match=r'adding custom device "/dev/nope": no such file or directory'):
        document(Devices=[{"PathOnHost": "/dev/nope"}])


# ---------------------------------------------------------------------------------------------------------- config


def test_image_environment_without_a_value_is_dropped() -> None:
    """CVE-2026-57231: it would be taken from the daemon's own environment."""
    image = {"Env": ["SECRET", "*", "=x", "", "GOOD=1"]}
    assert merge_config(image, {"Env": ["MINE=2"]}).env == ["MINE=2", "GOOD=1"]


def test_a_clients_name_without_a_value_unsets() -> None:
    env = document(FACTS, {"Env": ["HOSTNAME", "PATH"]})["process"]["env"]
    assert env == []


def test_merging_changes_neither_side() -> None:
    image = {"Env": ["A=1"], "Labels": {"a": "1", "b": None}, "Volumes": {"/a": {}}, "Cmd": "sh"}
    config = {"Env": ["B=1"], "Labels": {"c": "1"}, "Volumes": {"/b": {}}, "Nonsense": 1}
    merged = merge_config(image, config)
    assert image == {"Env": ["A=1"], "Labels": {"a": "1", "b": None}, "Volumes": {"/a": {}}, "Cmd": "sh"}
    assert config == {"Env": ["B=1"], "Labels": {"c": "1"}, "Volumes": {"/b": {}}, "Nonsense": 1}
    assert (merged.cmd, merged.labels) == (["sh"], {"a": "1", "b": "", "c": "1"})
    assert "Nonsense" not in merged.to_json()


def test_nothing_in_an_image_but_its_config_has_an_effect() -> None:
    hostile = {"HostConfig": {"Privileged": True}, "Privileged": True, "SecurityOpt": ["x"], "CapAdd": ["ALL"]}
    assert merge_config(hostile, {"Cmd": ["x"]}) == merge_config({}, {"Cmd": ["x"]})


# ------------------------------------------------------------------------------------------------------------ exec


def test_exec_has_the_containers_limits_and_its_own_program() -> None:
    asked = inputs(FACTS, {"Env": ["A=1", "B=1"], "User": "7", "WorkingDir": "/w"}, CapDrop=["MKNOD"], GroupAdd=["9"],
                   SecurityOpt=["no-new-privileges"], Ulimits=[{"Name": "nofile", "Soft": 1, "Hard": 2}])  # fmt: skip
    spec = container_spec(asked, FACTS)
    body = {"Cmd": ["ls"], "Env": ["B=2", "C=3"], "Tty": True, "ConsoleSize": [24, 80]}
    process = exec_process(body, asked.config, asked.host_config, spec, FACTS)
    assert process["args"] == ["ls"]
    assert process["env"][-4:] == ["TERM=xterm", "A=1", "B=2", "C=3"]
    assert process["cwd"] == "/w"
    assert process["user"] == {"uid": 7, "gid": 0, "username": "7", "additionalGids": [9]}
    assert process["capabilities"]["bounding"] == [c for c in DEFAULT_CAPABILITIES if c != "CAP_MKNOD"]
    assert set(process["capabilities"]) == {"bounding"}
    assert process["noNewPrivileges"] is True
    assert process["rlimits"] == spec["process"]["rlimits"]
    assert process["consoleSize"] == {"height": 24, "width": 80}


def test_exec_as_root_in_a_container_of_another_user() -> None:
    asked = inputs(FACTS, {"User": "7"})
    body = {"Cmd": ["id"], "User": "0", "WorkingDir": "/x"}
    process = exec_process(body, asked.config, asked.host_config, container_spec(asked, FACTS), FACTS)
    assert process["capabilities"]["effective"] == list(DEFAULT_CAPABILITIES)
    assert (process["cwd"], process["terminal"]) == ("/x", False)


def test_privileged_exec() -> None:
    asked = inputs()
    body = {"Cmd": ["id"], "Privileged": True}
    process = exec_process(body, asked.config, asked.host_config, container_spec(asked, FACTS), FACTS)
    assert process["capabilities"]["bounding"] == list(FACTS.capabilities)


# ---------------------------------------------------------------------------------------------------------- update


def test_update_says_only_what_changes() -> None:
    host = normalize_host_config({"Memory": 64 << 20, "CpuShares": 5}, FACTS)
    assert update_resources(host, {"Memory": 32 << 20}, FACTS)[1] == {"memory": {"limit": 32 << 20}}
    assert update_resources(host, {"MemorySwap": -1}, FACTS)[1] == {"memory": {"swap": -1}}
    assert update_resources(host, {"NanoCpus": 10**9}, FACTS)[1] == {"cpu": {"period": 100_000, "quota": 100_000}}
    for unlimited in (0, -1, -2):
        updated, resources, _ = update_resources(host, {"PidsLimit": unlimited}, FACTS)
        assert (updated.pids_limit, resources) == (0, {"pids": {"limit": -1}})
    assert update_resources(host, {"RestartPolicy": {"Name": "always"}}, FACTS)[1] == {}
    assert host == normalize_host_config({"Memory": 64 << 20, "CpuShares": 5}, FACTS)


# ------------------------------------------------------------------------------------------------- small functions


def test_capabilities_of_all_but_some() -> None:
    assert capabilities({"CapAdd": ["ALL"], "CapDrop": ["chown"]}, FACTS) == ["CAP_SYS_ADMIN"]
    assert capabilities({"CapAdd": ["net_raw", "NET_RAW"], "CapDrop": ["ALL"]}, FACTS) == ["CAP_NET_RAW"]


def test_later_tmpfs_options_undo_earlier_ones() -> None:
    assert merge_options(["noexec", "size=1m", "exec", "size=2m", "defaults"]) == ["exec", "size=2m"]
    for bad in ("size", "size=", "context=x", "foo", "size=1,lowerdir=/"):
        with pytest.raises(Invalid):
            merge_options([bad] if "," not in bad else bad.split(","))
