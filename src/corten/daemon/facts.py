"""What this machine can do, found once at the daemon's start."""

from __future__ import annotations

import glob
import os
import resource
import stat
from collections.abc import Iterator
from pathlib import Path

from corten.daemon.config import Config
from corten.errors import Invalid, Unsupported
from corten.kernel import apparmor, caps
from corten.plan.facts import DeviceNode, HostFacts
from corten.plan.runtimes import names
from corten.plan.validate.resources import ULIMITS
from corten.runtime import cgroups
from corten.runtime.cgroups.support import support
from corten.spec.docker.decode import decode
from corten.spec.docker.host_config import Ulimit
from corten.spec.id_map import IdRange
from corten.units.sizes import parse_bytes

# for a kind of machine that `runtime/docker_init.py` has no code for
_INITS = ("/usr/bin/tini-static", "/usr/bin/docker-init", "/usr/bin/tini", "/usr/libexec/podman/catatonit")
_CONTROLS = {  # a name of HostFacts.controls: what `cgroups.support` calls it
    "memory": "MemoryLimit",
    "swap": "SwapLimit",
    "reservation": "MemoryReservation",
    "swappiness": "MemorySwappiness",
    "oom_kill_disable": "OomKillDisable",
    "cpu_shares": "CPUShares",
    "cpu_cfs": "CpuCfsQuota",
    "cpu_rt": "CPURealtime",
    "cpuset": "CPUSet",
    "pids": "PidsLimit",
    "blkio_weight": "BlkioWeight",
    "blkio_weight_device": "BlkioWeightDevice",
    "blkio_read_bps": "BlkioReadBpsDevice",
    "blkio_write_bps": "BlkioWriteBpsDevice",
    "blkio_read_iops": "BlkioReadIOpsDevice",
    "blkio_write_iops": "BlkioWriteIOpsDevice",
}
MINIMUM_KERNEL = (5, 12)  # mount_setattr(2)


def check_machine() -> None:
    """Raises Unsupported where the engine cannot work at all: not root, kernel too old, no control groups."""
    if os.geteuid() != 0:
        raise Unsupported("the daemon must be started as root (try: sudo cortend)")
    release = os.uname().release
    version = tuple(int(part) for part in release.split("-")[0].split(".")[:2])
    if version < MINIMUM_KERNEL:
        raise Unsupported(f"Linux {release} is too old: the engine needs {'.'.join(map(str, MINIMUM_KERNEL))} or newer")
    if not cgroups.detect().hierarchies:
        raise Unsupported("no control groups are mounted (mount -t cgroup2 cgroup2 /sys/fs/cgroup)")


def gather(config: Config, own_init: str) -> tuple[HostFacts, tuple[str, ...]]:
    """The facts, and what is to be said about them in `info`. `own_init` is where our init is, "" when there is none
    for this kind of machine."""
    layout = cgroups.detect()
    can = support(layout)
    warnings = tuple(can["Warnings"])
    known = caps.known() & caps.bounding()
    uids, gids = _remap(config.userns_remap)
    facts = HostFacts(
        capabilities=tuple(sorted(known)),
        cpus=os.cpu_count() or 1,
        cpuset_cpus=_ranges("/sys/devices/system/cpu/online"),
        cpuset_mems=_ranges("/sys/devices/system/node/online"),
        cgroup_version=layout.version,
        controls=frozenset({"devices", *(name for name, key in _CONTROLS.items() if can[key])}),
        time_namespace=os.path.exists("/proc/self/ns/time"),
        cgroup_namespace=os.path.exists("/proc/self/ns/cgroup"),
        apparmor=apparmor.enabled(),
        uid_map=uids,
        gid_map=gids,
        thermal_paths=tuple(sorted(glob.glob("/sys/devices/system/cpu/cpu[0-9]*/thermal_throttle"))),
        init_path=config.init_path or own_init or next((path for path in _INITS if os.path.exists(path)), ""),
        own_init=bool(own_init) and not config.init_path,
        no_passthrough=no_passthrough(),
        devices=host_devices,
        runtimes=names(config.runtimes),
        default_runtime=config.default_runtime,
        default_init=config.init,
        default_shm_size=_shm_size(config.default_shm_size),
        default_ipc_mode=config.default_ipc_mode,
        default_cgroupns_mode=config.default_cgroupns_mode,
        default_log_driver=config.log_driver,
        default_log_options=config.log_opts,
        default_ulimits={name: decode(Ulimit, limit) for name, limit in config.default_ulimits.items()},
        default_no_new_privileges=config.no_new_privileges,
        bounds={} if "CAP_SYS_RESOURCE" in known else _own_limits(),
        lowest_oom_score_adj=-1000 if "CAP_SYS_RESOURCE" in known else _own_score(),
    )
    if "CAP_SYS_RESOURCE" not in known:
        warnings = (*warnings, "WARNING: No CAP_SYS_RESOURCE: limits above the daemon's own cannot be raised")
    return facts, warnings


def _own_limits() -> dict[str, int]:
    """The hard limits of this process by Docker's names for them; -1 is none."""
    numbers = {name: getattr(resource, f"RLIMIT_{name.upper()}", None) for name in ULIMITS}
    return {name: resource.getrlimit(number)[1] for name, number in numbers.items() if number is not None}


def _own_score() -> int:
    return int(Path("/proc/self/oom_score_adj").read_text())


def no_passthrough(root: str = "/") -> str:
    """Why no guest can have a PCI device of this host: for what the host lacks, or for what this engine does."""
    try:
        groups = os.listdir(f"{root}sys/kernel/iommu_groups")
    except FileNotFoundError:
        groups = []
    if not groups:
        return "this host has no IOMMU (/sys/kernel/iommu_groups is empty)"
    if not os.path.exists(f"{root}dev/vfio/vfio"):
        return "this host's kernel has no VFIO (/dev/vfio/vfio does not exist; try modprobe vfio-pci)"
    return "guests are given none"


def host_devices(path: str) -> list[DeviceNode]:
    """The device at `path`, or all devices below that directory. Raises OSError when there is none."""
    if stat.S_ISDIR(os.stat(path).st_mode):
        return [node for child in sorted(_below(path)) if (node := _device(child))]
    node = _device(path)
    if node is None:
        raise OSError(19, "not a device node", path)
    return [node]


def _below(top: str) -> Iterator[str]:
    """All that is no directory, however deep it lies: every user makes directories in /dev/shm."""
    left = [top]
    while left:
        try:
            entries = list(os.scandir(left.pop()))
        except OSError:  # removed meanwhile, or deeper than a path can say
            continue
        for entry in entries:
            if not entry.is_dir():
                yield entry.path
            elif not entry.is_symlink() and not f"{entry.path}/".startswith(_SKIPPED):
                left.append(entry.path)


_SKIPPED = ("/dev/pts/", "/dev/shm/", "/dev/fd/", "/dev/mqueue/", "/dev/.lxc", "/dev/console")


def _device(path: str) -> DeviceNode | None:
    if path.startswith(_SKIPPED):
        return None
    try:
        status = os.stat(path)
    except OSError:
        return None
    kind = "c" if stat.S_ISCHR(status.st_mode) else "b" if stat.S_ISBLK(status.st_mode) else ""
    if not kind:
        return None
    major, minor = os.major(status.st_rdev), os.minor(status.st_rdev)
    return DeviceNode(path, kind, major, minor, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)


def _ranges(path: str) -> frozenset[int]:
    """A list as "0-3,8" in a file of the kernel's; {0} when there is no such file."""
    try:
        text = Path(path).read_text().strip()
    except OSError:
        return frozenset({0})
    numbers: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        numbers.update(range(int(first), int(last or first) + 1))
    return frozenset(numbers)


def root_owner(facts: HostFacts) -> tuple[int, int]:
    """The user and group that a container's root is on the host."""
    return (facts.uid_map[0].host, facts.gid_map[0].host) if facts.uid_map else (0, 0)


def data_root(config: Config) -> Path:
    """The data root: a daemon that maps ids has its own directory, named by them, as dockerd's has."""
    uids, gids = _remap(config.userns_remap)
    return config.data_root / f"{uids[0].host}.{gids[0].host}" if uids else config.data_root


def _remap(setting: str) -> tuple[tuple[IdRange, ...], tuple[IdRange, ...]]:
    """The id maps of `--userns-remap`: the first range of the user in /etc/subuid, and of the group in /etc/subgid."""
    if not setting:
        return (), ()
    user, _, group = setting.partition(":")
    if user == "default":
        user = group = "dockremap"
    return _subordinate(Path("/etc/subuid"), user), _subordinate(Path("/etc/subgid"), group or user)


def _subordinate(path: Path, name: str) -> tuple[IdRange, ...]:
    lines = path.read_text().splitlines() if path.exists() else []
    found, inside = [], 0
    for line in lines:
        owner, _, rest = line.strip().partition(":")
        first, _, count = rest.partition(":")
        if owner == name and first.isdigit() and count.isdigit():
            found.append(IdRange(inside, int(first), int(count)))
            inside += int(count)
    if not found:
        raise Invalid(f"userns-remap: {name} has no range in {path} (add a line such as {name}:100000:65536)")
    return tuple(found)


def _shm_size(text: str) -> int:
    try:
        return parse_bytes(text)
    except ValueError as error:
        raise Invalid(f"default-shm-size: {error}") from None
