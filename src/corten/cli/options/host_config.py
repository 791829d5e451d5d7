"""Flags to HostConfig, and to the resources that `update` changes. Fields that were not asked for are left out."""

from __future__ import annotations

from corten.cli.errors import CommandError
from corten.cli.terminal import is_terminal, size
from corten.spec.docker.host_config import HostConfig, LogConfig, RestartPolicy, StartAfter
from corten.spec.docker.struct import UNSET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corten.cli.flags import Flags
    from corten.spec.docker.devices import DeviceMapping, DeviceRequest
    from corten.spec.docker.host_config import PortBinding

# flag -> field, where the value goes as it is when it is not empty
HOST_CONFIG = {
    "volume-driver": "volume_driver",
    "volumes-from": "volumes_from",
    "cidfile": "container_id_file",
    "cgroupns": "cgroupns_mode",
    "dns": "dns",
    "dns-search": "dns_search",
    "add-host": "extra_hosts",
    "group-add": "group_add",
    "ipc": "ipc_mode",
    "link": "links",
    "oom-score-adj": "oom_score_adj",
    "pid": "pid_mode",
    "privileged": "privileged",
    "publish-all": "publish_all_ports",
    "read-only": "readonly_rootfs",
    "uts": "uts_mode",
    "userns": "userns_mode",
    "shm-size": "shm_size",
    "isolation": "isolation",
    "runtime": "runtime",
    "net-rate": "net_rate",
    "rm": "auto_remove",
    "cgroup-parent": "cgroup_parent",
    "device-cgroup-rule": "device_cgroup_rules",
}
RESOURCES = {
    "cpu-shares": "cpu_shares",
    "memory": "memory",
    "cpus": "nano_cpus",
    "blkio-weight": "blkio_weight",
    "blkio-weight-device": "blkio_weight_device",
    "device-read-bps": "blkio_device_read_bps",
    "device-write-bps": "blkio_device_write_bps",
    "device-read-iops": "blkio_device_read_iops",
    "device-write-iops": "blkio_device_write_iops",
    "cpu-period": "cpu_period",
    "cpu-quota": "cpu_quota",
    "cpu-rt-period": "cpu_realtime_period",
    "cpu-rt-runtime": "cpu_realtime_runtime",
    "cpuset-cpus": "cpuset_cpus",
    "cpuset-mems": "cpuset_mems",
    "memory-reservation": "memory_reservation",
    "memory-swap": "memory_swap",
    "kernel-memory": "kernel_memory",
    "oom-kill-disable": "oom_kill_disable",
    "pids-limit": "pids_limit",
    "ulimit": "ulimits",
    "cpu-count": "cpu_count",
    "cpu-percent": "cpu_percent",
    "io-maxiops": "io_maximum_iops",
    "io-maxbandwidth": "io_maximum_bandwidth",
}


# --flag, what its messages call it, the modes it has besides container:NAME
MODES = (
    ("pid", "PID", ("host",)),
    ("uts", "UTS", ("host",)),
    ("userns", "USER", ("host",)),
    ("cgroupns", "CGROUP", ("host", "private")),
)


def check_modes(flags: Flags) -> None:
    """CommandError (125) for a namespace's mode that does not exist."""
    for name, kind, allowed in MODES:
        value = flags.text(name)
        shared = name == "pid" and value.startswith("container:") and len(value) > len("container:")
        if value and value not in allowed and not shared:
            raise CommandError(f"--{name}: invalid {kind} mode", 125)


def picked(flags: Flags, names: dict[str, str]) -> dict[str, Any]:
    """Values by field, of those flags whose value is not empty."""
    return {field: value for name, field in names.items() if (value := flags.value(name))}


def host_config(flags: Flags, mode: str, binds: list[str], bindings: dict[str, list[PortBinding]]) -> HostConfig:
    """`mode` is NetworkMode. CommandError (125) for values and combinations that cannot work."""
    options, unmasked = _security(flags)
    devices, requests = _devices(flags)
    return HostConfig(
        memory_swappiness=_swappiness(flags),
        restart_policy=_restart(flags),
        storage_opt=_storage(flags) or UNSET,
        log_config=_log(flags),
        security_opt=options,
        masked_paths=[] if unmasked else UNSET,
        readonly_paths=[] if unmasked else UNSET,
        devices=devices,
        device_requests=requests,
        binds=binds or UNSET,
        tmpfs={path: options for path, _, options in (spec.partition(":") for spec in flags.many("tmpfs"))} or UNSET,
        start_after=[_start_after(text) for text in flags.many("start-after")] or UNSET,
        stored_secrets=flags.value("secret") or UNSET,
        mounts=flags.value("mount") or UNSET,
        port_bindings=bindings or UNSET,
        network_mode=mode,
        dns_options=flags.many("dns-option") + flags.many("dns-opt") or UNSET,
        init=flags.on("init") if "init" in flags else UNSET,
        sysctls=flags.pairs("sysctl") or UNSET,
        annotations=flags.pairs("annotation") or UNSET,
        cap_add=[_capability(name) for name in flags.many("cap-add")] or UNSET,
        cap_drop=[_capability(name) for name in flags.many("cap-drop")] or UNSET,
        console_size=size(1) if flags.on("tty") and is_terminal(1) else UNSET,
        **picked(flags, HOST_CONFIG),
        **picked(flags, RESOURCES),
    )


def _swappiness(flags: Flags) -> int:
    value = flags.number("memory-swappiness")
    if value == -1:
        return UNSET
    if not 0 <= value <= 100:
        raise CommandError(f"invalid value: {value}. Valid memory swappiness range is 0-100", 125)
    return value


def _restart(flags: Flags) -> RestartPolicy:
    policy = restart_policy(flags.text("restart"))
    if flags.on("rm") and policy.name not in ("no", ""):
        raise CommandError("conflicting options: cannot specify both --restart and --rm", 125)
    return policy


def _start_after(text: str) -> StartAfter:
    """NAME[:CONDITION]. What is wrong with it the daemon says."""
    name, _, condition = text.partition(":")
    return StartAfter(container=name, condition=condition)


def _capability(name: str) -> str:
    """net_admin and NET_ADMIN are CAP_NET_ADMIN; ALL stays."""
    upper = name.strip().upper()
    return upper if upper == "ALL" or upper.startswith("CAP_") else f"CAP_{upper}"


def _security(flags: Flags) -> tuple[list[str], bool]:
    """The options, and whether /proc and /sys are to be left unmasked."""
    if not flags.many("security-opt"):
        return UNSET, False
    from corten.cli.options import security

    return security.options(flags.many("security-opt"))


def _devices(flags: Flags) -> tuple[list[DeviceMapping], list[DeviceRequest]]:
    gpus = flags.value("gpus")
    if not flags.many("device") and not gpus:
        return UNSET, UNSET
    from corten.cli.options import devices

    return devices.devices(flags.many("device"), gpus or None)


def _log(flags: Flags) -> LogConfig:
    options = flags.pairs("log-opt")
    driver = flags.text("log-driver")
    if not driver and not options:
        return UNSET
    if driver == "none" and options:
        raise CommandError("invalid logging opts for driver none", 125)
    return LogConfig(type=driver, config=options)


def _storage(flags: Flags) -> dict[str, str]:
    if not all("=" in value for value in flags.many("storage-opt")):
        raise CommandError("invalid storage option", 125)
    return flags.pairs("storage-opt")


def restart_policy(text: str) -> RestartPolicy:
    """no, always, unless-stopped, on-failure[:N]. Raises CommandError for a bad one."""
    name, colon, count = text.partition(":")
    if colon and not name:
        raise CommandError("invalid restart policy format: no policy provided before colon", 125)
    retries = 0
    if colon:
        try:
            retries = int(count)
        except ValueError:
            message = "invalid restart policy format: maximum retry count must be an integer"
            raise CommandError(message, 125) from None
    return RestartPolicy(name=name, maximum_retry_count=retries)
