"""What the pure planning of a container has to know about the machine and about one container.

The daemon fills one `HostFacts` at start and a `SpecInputs` per start; everything else in `plan*` and
`plan.validate*` is a function of these and of Docker's JSON, and touches neither disk nor kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from corten.plan import runtimes
from corten.spec.docker.config import Config
from corten.spec.docker.host_config import HostConfig, Ulimit
from corten.spec.id_map import IdRange
from corten.spec.json import Json
from corten.spec.mounts import Mount

#: What a kernel and its cgroups can limit. A name that is missing in `HostFacts.controls` is warned about and dropped.
ALL_CONTROLS = frozenset(
    {
        "memory",
        "swap",
        "reservation",
        "swappiness",
        "oom_kill_disable",
        "cpu_shares",
        "cpu_cfs",
        "cpu_rt",
        "cpuset",
        "pids",
        "blkio_weight",
        "blkio_weight_device",
        "blkio_read_bps",
        "blkio_write_bps",
        "blkio_read_iops",
        "blkio_write_iops",
        "devices",
    }
)


@dataclass(frozen=True, slots=True)
class DeviceNode:
    """One device file of the host. `type` is "c" or "b"; `mode` holds permission bits only, as 0o660."""

    path: str
    type: str
    major: int
    minor: int
    mode: int = 0o660
    uid: int = 0
    gid: int = 0


def no_devices(path: str) -> Sequence[DeviceNode]:
    raise FileNotFoundError(2, "No such file or directory", path)


@dataclass(frozen=True, slots=True)
class HostFacts:
    """The machine and the daemon's settings, as far as a container's specification depends on them.

    capabilities   names with CAP_ that both the kernel and the daemon's bounding set have
    controls       subset of ALL_CONTROLS
    devices        host path -> the device itself, or all devices below a directory; raises OSError for none. "/dev"
                   leaves out what belongs to the host's own mounts: console, pts, shm, fd, mqueue
    uid_map        the daemon's userns-remap; empty when containers share the host's ids
    thermal_paths  existing /sys/devices/system/cpu/cpuN/thermal_throttle, masked beside Docker's fixed list
    init_path      the init binary of `--init` on the host; "" when there is none
    own_init       whether that is ours
    no_passthrough why no guest can have a PCI device of this host
    bounds         the daemon's own hard limits by ulimit (-1: none) where it may not go beyond; empty with
                   CAP_SYS_RESOURCE, as is `lowest_oom_score_adj` the lowest that there is
    """

    capabilities: tuple[str, ...]
    cpus: int = 1
    cpuset_cpus: frozenset[int] = frozenset({0})
    cpuset_mems: frozenset[int] = frozenset({0})
    cgroup_version: int = 1
    controls: frozenset[str] = ALL_CONTROLS
    time_namespace: bool = False
    cgroup_namespace: bool = True
    recursive_readonly: bool = True
    apparmor: bool = False
    uid_map: tuple[IdRange, ...] = ()
    gid_map: tuple[IdRange, ...] = ()
    thermal_paths: tuple[str, ...] = ()
    init_path: str = ""
    own_init: bool = False
    no_passthrough: str = "guests are given none"
    init_args: tuple[str, ...] = ()
    devices: Callable[[str], Sequence[DeviceNode]] = no_devices
    runtimes: frozenset[str] = runtimes.names({})
    default_runtime: str = "corten"
    default_init: bool = False
    default_shm_size: int = 64 * 1024 * 1024
    default_ipc_mode: str = "private"
    default_cgroupns_mode: str = ""
    default_log_driver: str = "json-file"
    default_log_options: Mapping[str, str] = field(default_factory=dict)
    default_ulimits: Mapping[str, Ulimit] = field(default_factory=dict)
    default_no_new_privileges: bool = False
    bounds: Mapping[str, int] = field(default_factory=dict)
    lowest_oom_score_adj: int = -1000


@dataclass(frozen=True, slots=True)
class MountPoint:
    """One place where something of the user's is mounted, in the terms of Docker's records and inspect.

    type         "bind", "volume", "tmpfs" or "image"
    name         volume name; "" for an anonymous volume until the engine has made it. Of an image: its reference
    source       host path; for a volume "" until the engine has looked it up. Of an image: its id
    mode         the option text of -v, as inspect shows it ("ro", "z", ...)
    propagation  "" or one of private, rprivate, shared, rshared, slave, rslave
    nocopy       a new volume is not filled with what the image has at this place
    create       a missing bind source is made (-v does, --mount does not)
    recursive    binds: what is mounted below the source comes along
    rro          "if-possible", "no" or "required": whether read-only holds for the mounts below the source
    options      tmpfs: mount options as text, "size=64m,mode=1777"
    subpath      volumes and images: directory inside
    idmapped     binds: owners are seen, and set, as the container's user namespace maps them
    """

    type: str
    destination: str
    source: str = ""
    name: str = ""
    driver: str = ""
    mode: str = ""
    rw: bool = True
    propagation: str = ""
    nocopy: bool = False
    anonymous: bool = False
    create: bool = False
    recursive: bool = True
    rro: str = "if-possible"
    options: str = ""
    subpath: str = ""
    idmapped: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    driver_options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SpecInputs:
    """One container about to start.

    config       Docker's Config, already merged with the image's (`merge_config`)
    host_config  Docker's HostConfig with its defaults filled in (`normalize_host_config`)
    bundle       the container's directory; root.path in the result is "rootfs", relative to it
    files        what the engine wrote for the container: {"/etc/hosts": "<bundle>/hosts", ...}
    mounts       every mount point with its `source` known
    namespaces   paths of namespaces to join: "network" for a prepared one; "pid", "ipc", "network", "user" for
                 container:X modes. A namespace that is private and not named here is made new.
    seccomp      OCI's linux.seccomp, selected for `capabilities(...)`; ignored when the container is unconfined
    mounted      what the engine has mounted by the runtime at a place: destination -> mount
    shm_path     a host directory to bind on /dev/shm, for ipc modes that share it; None makes a private one
    linked_env   variables of legacy --link, before the container's own
    ambient      capabilities that also a user other than root has
    strict_groups  the user's groups are those that are named, whatever the container's group file says
    """

    id: str
    name: str
    config: Config
    host_config: HostConfig
    bundle: Path
    files: Mapping[str, str] = field(default_factory=dict)
    mounts: Sequence[MountPoint] = ()
    namespaces: Mapping[str, str] = field(default_factory=dict)
    seccomp: Json | None = None
    cgroup_path: str = ""
    shm_path: str | None = None
    linked_env: Sequence[str] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)
    mounted: Mapping[str, Mount] = field(default_factory=dict)
    ambient: Sequence[str] = ()
    strict_groups: bool = False
