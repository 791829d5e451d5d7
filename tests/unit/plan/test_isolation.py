"""Containers in guests: how that is asked for, what follows from it, and what a guest cannot have."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from corten.errors import Invalid, Unsupported
from corten.plan.devices import BlockDevice, block_devices, device_rules_and_nodes
from corten.plan.facts import DeviceNode, HostFacts, MountPoint
from corten.plan.isolation import disk_size, facts_for, in_guest
from corten.plan.update import update_resources
from corten.plan.validate.create import check_create
from corten.plan.validate.defaults import normalize_host_config
from corten.plan.validate.guest import check_isolation, check_points
from corten.spec.docker.config import Config, NetworkingConfig
from corten.spec.docker.decode import decode
from corten.spec.docker.host_config import HostConfig, UpdateConfig

NODES = {"/dev/null": DeviceNode("/dev/null", "c", 1, 3), "/dev/sda": DeviceNode("/dev/sda", "b", 8, 0)}
FACTS = HostFacts(("CAP_CHOWN",), devices=lambda path: [NODES[path]], no_passthrough="this host has no IOMMU")
BY_DEFAULT = replace(FACTS, default_runtime="vm")
CONFIG = Config(cmd=["true"])


def host(**fields: Any) -> HostConfig:
    return decode(HostConfig, fields)


def check(asked: HostConfig, facts: HostFacts = FACTS, config: Config = CONFIG) -> list[str]:
    return check_create(config, asked, NetworkingConfig(), facts_for(asked, facts))


@pytest.mark.parametrize(
    ("asked", "facts"),
    [
        (host(Isolation="vm"), FACTS),
        (host(Isolation="VM"), FACTS),
        (host(Runtime="vm"), FACTS),
        (host(Runtime="vm", Isolation="default"), FACTS),
        (host(), BY_DEFAULT),
        (host(Isolation="default"), BY_DEFAULT),
    ],
)
def test_in_a_guest(asked: HostConfig, facts: HostFacts) -> None:
    assert check(asked, facts) == []
    made = normalize_host_config(asked, facts_for(asked, facts))
    assert (made.isolation, made.runtime) == ("vm", "vm") and in_guest(made, FACTS)
    assert normalize_host_config(made, facts_for(made, FACTS)) == made


@pytest.mark.parametrize(
    ("asked", "facts"),
    [
        (host(), FACTS),
        (host(Isolation="process"), FACTS),
        (host(Isolation="default"), FACTS),
        (host(Isolation="process"), BY_DEFAULT),
        (host(Runtime="runc"), BY_DEFAULT),
    ],
)
def test_in_none(asked: HostConfig, facts: HostFacts) -> None:
    assert check(asked, facts) == []
    made = normalize_host_config(asked, facts_for(asked, facts))
    assert made.runtime in ("corten", "runc") and not in_guest(made, facts)


def test_a_guest_has_another_kernel() -> None:
    """What is this host's (control groups v1, a bounding set, remapped ids) is not the guest's."""
    facts = facts_for(host(Isolation="vm"), FACTS)
    assert (facts.cgroup_version, facts.time_namespace, facts.uid_map) == (2, True, ())
    assert "CAP_SYS_RESOURCE" in facts.capabilities
    assert facts_for(host(), FACTS) is FACTS


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"Isolation": "hyperv"}, "Invalid isolation: \"hyperv\" - 'default', 'process' and 'vm' are supported"),
        ({"Isolation": "vm", "Runtime": "runc"}, "isolation vm and the runtime runc"),
        ({"Isolation": "process", "Runtime": "vm"}, "isolation process and the runtime vm"),
        ({"NetworkMode": "host"}, "isolation vm and the host's network namespace"),
        ({"NetworkMode": "container:a"}, "isolation vm and the network namespace of another container"),
        ({"PidMode": "host"}, "the host's PID namespace"),
        ({"PidMode": "container:a"}, "the PID namespace of another container"),
        ({"IpcMode": "host"}, "the host's IPC namespace"),
        ({"IpcMode": "container:a"}, "the IPC namespace of another container"),
        ({"UTSMode": "host"}, "the host's UTS namespace"),
        ({"CgroupnsMode": "host"}, "the host's cgroup namespace"),
        ({"UsernsMode": "host"}, "a user namespace mode"),
        ({"Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/x"}]}, "devices of the host"),
        ({"DeviceCgroupRules": ["c 1:3 r"]}, "devices of the host"),
        ({"Devices": [{"PathOnHost": "/dev/sda", "PathInContainer": "/dev/x"}] * 9}, "more than 8 devices"),
        *(
            ({"Devices": [{"PathOnHost": path}]}, f"isolation vm and the PCI device {path}: this host has no IOMMU")
            for path in ("/dev/vfio/12", "0000:01:00.0")
        ),
        ({"CpusetCpus": "0"}, "a set of the host's processors"),
        ({"BlkioWeight": 100}, "limits of the host's block devices"),
        ({"NetRate": "1mbit"}, "a limit of network traffic"),
        ({"StorageOpt": {"size": "15m"}}, "a guest's disk has 16 MiB to 16 TiB, not 15m"),
        ({"StorageOpt": {"size": "much"}}, "storage option size: invalid size: 'much'"),
        ({"StorageOpt": {"quota": "1"}}, "unknown storage option for a guest: quota"),
    ],
)
def test_what_it_cannot_have(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid) as error:
        check(host(**{"Isolation": "vm", **fields}))
    assert words in str(error.value)


def test_only_a_guest_has_a_size() -> None:
    with pytest.raises(Unsupported, match=r"^--storage-opt is supported only for "):  # Docker's words to here
        check(host(StorageOpt={"size": "1g"}))


def test_who_is_privileged_in_a_guest_has_no_devices_of_the_host() -> None:
    facts = replace(FACTS, devices=lambda path: [DeviceNode("/dev/sda", "b", 8, 0, 0o600, 0, 0)])
    assert device_rules_and_nodes(host(Privileged=True), facts)[1] != []
    rules, nodes = device_rules_and_nodes(host(Privileged=True, Isolation="vm"), facts)
    assert nodes == [] and rules == [{"allow": True, "access": "rwm"}]


def test_block_devices_are_disks_of_it() -> None:
    asked = host(
        Isolation="vm", Devices=[{"PathOnHost": "/dev/sda", "PathInContainer": "/x", "CgroupPermissions": "r"}]
    )
    assert check(asked) == []
    assert device_rules_and_nodes(asked, FACTS)[1] == [], "their numbers are the guest's"
    assert block_devices(asked, FACTS) == [BlockDevice(NODES["/dev/sda"], "/x", "r")]
    with pytest.raises(Invalid, match="which is no block device"):
        block_devices(host(Isolation="vm", Devices=[{"PathOnHost": "/dev/null"}]), FACTS)


def test_the_size_of_its_disk() -> None:
    assert disk_size(host(StorageOpt={"size": "20g"})) == 20 << 30
    assert disk_size(host()) == 0


def test_mounts_of_a_guest_are_no_mounts_of_the_host() -> None:
    kinds = ("", "rprivate", "rslave")
    check_points([MountPoint("bind", "/x", source="/srv", propagation=kind) for kind in kinds])
    with pytest.raises(Invalid, match="isolation vm and the propagation shared of /x"):
        check_points([MountPoint("bind", "/x", source="/srv", propagation="shared")])


def test_a_tmpfs_of_a_guest_is_no_mount_of_the_host() -> None:
    for kind in ("shared", "rshared", "unbindable", "runbindable"):
        refused = f"^conflicting options: isolation vm and the propagation {kind} of /x$"
        with pytest.raises(Invalid, match=refused):
            check_isolation(host(Isolation="vm", Tmpfs={"/x": f"ro,{kind}"}), FACTS)
        with pytest.raises(Invalid, match=refused):
            check_points([MountPoint("tmpfs", "/x", options=f"{kind},size=1m")])
    for words in ("", "slave", "rprivate", "shared,private", "size=1m"):
        check_isolation(host(Isolation="vm", Tmpfs={"/x": words}), FACTS)
        check_points([MountPoint("tmpfs", "/x", options=words)])
    check_isolation(host(Tmpfs={"/x": "shared"}), FACTS)


REFUSED_LATER: list[tuple[dict[str, Any], str]] = [
    ({"CpusetCpus": "0"}, "a set of the host's processors"),
    ({"CpusetMems": "0"}, "a set of the host's processors"),
    ({"BlkioWeight": 300}, "limits of the host's block devices"),
    ({"BlkioDeviceReadBps": [{"Path": "/dev/sda", "Rate": 1 << 20}]}, "limits of the host's block devices"),
    ({"NetRate": "egress=1mbit"}, "a limit of network traffic"),
]


@pytest.mark.parametrize(("fields", "words"), REFUSED_LATER, ids=str)
def test_an_update_refuses_what_a_creation_does(fields: dict[str, Any], words: str) -> None:
    facts = replace(FACTS, cpuset_cpus=frozenset((0,)), cpuset_mems=frozenset((0,)))
    body = decode(UpdateConfig, fields)
    guest = normalize_host_config(host(Isolation="vm"), facts)
    with pytest.raises(Invalid, match=f"isolation vm and {words}"):
        update_resources(guest, body, facts_for(guest, facts))
    plain = normalize_host_config(host(Isolation="process"), facts)
    update_resources(plain, body, facts_for(plain, facts))
    has_it = guest.replace(blkio_weight=300, cpuset_cpus="0")
    assert update_resources(has_it, UpdateConfig(pids_limit=5), facts_for(guest, facts))[0].pids_limit == 5
