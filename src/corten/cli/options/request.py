"""Flags to the body of POST /containers/create. Fields that were not asked for are left out."""

from __future__ import annotations

from corten.cli.errors import CommandError
from corten.cli.options import texts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corten.cli.flags import Flags

    Json = dict[str, Any]

# flag -> field, where the value goes as it is when it is not empty
CONFIG_TEXTS = {
    "hostname": "Hostname",
    "domainname": "Domainname",
    "user": "User",
    "workdir": "WorkingDir",
    "stop-signal": "StopSignal",
}
HOST_FIELDS = {
    "volume-driver": "VolumeDriver",
    "volumes-from": "VolumesFrom",
    "cidfile": "ContainerIDFile",
    "cap-add": "CapAdd",
    "cap-drop": "CapDrop",
    "cgroupns": "CgroupnsMode",
    "dns": "Dns",
    "dns-search": "DnsSearch",
    "add-host": "ExtraHosts",
    "group-add": "GroupAdd",
    "ipc": "IpcMode",
    "link": "Links",
    "oom-score-adj": "OomScoreAdj",
    "pid": "PidMode",
    "privileged": "Privileged",
    "publish-all": "PublishAllPorts",
    "read-only": "ReadonlyRootfs",
    "uts": "UTSMode",
    "userns": "UsernsMode",
    "shm-size": "ShmSize",
    "isolation": "Isolation",
    "runtime": "Runtime",
    "net-rate": "NetRate",
    "rm": "AutoRemove",
    "cgroup-parent": "CgroupParent",
    "device-cgroup-rule": "DeviceCgroupRules",
}
RESOURCES = {
    "cpu-shares": "CpuShares",
    "memory": "Memory",
    "cpus": "NanoCpus",
    "blkio-weight": "BlkioWeight",
    "blkio-weight-device": "BlkioWeightDevice",
    "device-read-bps": "BlkioDeviceReadBps",
    "device-write-bps": "BlkioDeviceWriteBps",
    "device-read-iops": "BlkioDeviceReadIOps",
    "device-write-iops": "BlkioDeviceWriteIOps",
    "cpu-period": "CpuPeriod",
    "cpu-quota": "CpuQuota",
    "cpu-rt-period": "CpuRealtimePeriod",
    "cpu-rt-runtime": "CpuRealtimeRuntime",
    "cpuset-cpus": "CpusetCpus",
    "cpuset-mems": "CpusetMems",
    "memory-reservation": "MemoryReservation",
    "memory-swap": "MemorySwap",
    "kernel-memory": "KernelMemory",
    "oom-kill-disable": "OomKillDisable",
    "pids-limit": "PidsLimit",
    "ulimit": "Ulimits",
    "cpu-count": "CpuCount",
    "cpu-percent": "CpuPercent",
    "io-maxiops": "IOMaximumIOps",
    "io-maxbandwidth": "IOMaximumBandwidth",
}


# --flag, what its messages call it, the modes it has besides container:NAME
MODES = (
    ("pid", "PID", ("host",)),
    ("uts", "UTS", ("host",)),
    ("userns", "USER", ("host",)),
    ("cgroupns", "CGROUP", ("host", "private")),
)


def create(flags: Flags, image: str, command: list[str], detach: bool = False) -> Json:
    """The whole body. Raises CommandError (125) for values and combinations that cannot work."""
    _check_modes(flags)
    config = _config(flags, image, command, detach)
    host = _host_config(flags)
    _mounts(flags, config, host)
    _ports(flags, config, host)
    host["NetworkMode"], networks = _network(flags)
    return {**config, "HostConfig": host, "NetworkingConfig": {"EndpointsConfig": networks}}


def _picked(flags: Flags, names: dict[str, str]) -> Json:
    return {field: value for name, field in names.items() if (value := flags.value(name))}


def _config(flags: Flags, image: str, command: list[str], detach: bool) -> Json:
    config: Json = {"Image": image, "Tty": flags.on("tty"), "OpenStdin": flags.on("interactive")}
    config |= _streams(flags, detach)
    config |= _picked(flags, CONFIG_TEXTS)
    if command:
        config["Cmd"] = command
    if "entrypoint" in flags:
        config["Entrypoint"] = [flags.text("entrypoint")]
    if flags.many("env") or flags.many("env-file"):
        config["Env"] = texts.environment(flags.many("env-file"), flags.many("env"))
    if flags.many("label") or flags.many("label-file"):
        config["Labels"] = texts.labels(flags.many("label-file"), flags.many("label"))
    if "stop-timeout" in flags:
        config["StopTimeout"] = flags.number("stop-timeout")
    if check := _health(flags):
        config["Healthcheck"] = check
    return config


def _streams(flags: Flags, detach: bool) -> Json:
    """What to attach: what -a says, otherwise output and error, and input with -i; nothing with -d."""
    wanted = set(flags.many("attach"))
    if detach:
        return {"AttachStdin": False, "AttachStdout": False, "AttachStderr": False, "StdinOnce": False}
    if not wanted:
        wanted = {"stdout", "stderr"} | ({"stdin"} if flags.on("interactive") else set())
    return {
        "AttachStdin": "stdin" in wanted,
        "AttachStdout": "stdout" in wanted,
        "AttachStderr": "stderr" in wanted,
        "StdinOnce": flags.on("interactive") and "stdin" in wanted,
    }


def _health(flags: Flags) -> Json | None:
    names = ("interval", "timeout", "start-period", "start-interval")
    given = [name for name in ("cmd", "retries", *names) if f"health-{name}" in flags]
    if flags.on("no-healthcheck"):
        if given:
            raise CommandError("--no-healthcheck conflicts with --health-* options", 125)
        return {"Test": ["NONE"]}
    if not any(flags.value(f"health-{name}") for name in given):
        return None
    for name in names:
        if flags.number(f"health-{name}") < 0:
            raise CommandError(f"--health-{name} cannot be negative", 125)
    if flags.number("health-retries") < 0:
        raise CommandError("--health-retries cannot be negative", 125)
    check: Json = {"Test": ["CMD-SHELL", flags.text("health-cmd")]} if flags.text("health-cmd") else {}
    fields = {"interval": "Interval", "timeout": "Timeout", "start-period": "StartPeriod"}
    fields |= {"start-interval": "StartInterval", "retries": "Retries"}
    for name, field in fields.items():
        if value := flags.number(f"health-{name}"):
            check[field] = value
    return check


def _host_config(flags: Flags) -> Json:
    host: Json = _picked(flags, HOST_FIELDS) | _picked(flags, RESOURCES)
    if dns_options := flags.many("dns-option") + flags.many("dns-opt"):
        host["DnsOptions"] = dns_options
    if flags.number("memory-swappiness") != -1:
        if not 0 <= flags.number("memory-swappiness") <= 100:
            value = flags.number("memory-swappiness")
            raise CommandError(f"invalid value: {value}. Valid memory swappiness range is 0-100", 125)
        host["MemorySwappiness"] = flags.number("memory-swappiness")
    if "init" in flags:
        host["Init"] = flags.on("init")
    for name, field in (("sysctl", "Sysctls"), ("annotation", "Annotations")):
        if values := flags.many(name):
            host[field] = texts.pairs(values)
    host["RestartPolicy"] = restart_policy(flags.text("restart"))
    if flags.on("rm") and host["RestartPolicy"]["Name"] not in ("no", ""):
        raise CommandError("conflicting options: cannot specify both --restart and --rm", 125)
    if storage := flags.many("storage-opt"):
        host["StorageOpt"] = _storage(storage)
    if flags.text("log-driver") or flags.many("log-opt"):
        host["LogConfig"] = _log(flags)
    for field in ("CapAdd", "CapDrop"):
        if field in host:
            host[field] = [_capability(name) for name in host[field]]
    return host | _security(flags) | _devices(flags)


def _check_modes(flags: Flags) -> None:
    for name, kind, allowed in MODES:
        value = flags.text(name)
        shared = name == "pid" and value.startswith("container:") and len(value) > len("container:")
        if value and value not in allowed and not shared:
            raise CommandError(f"--{name}: invalid {kind} mode", 125)


def _capability(name: str) -> str:
    """net_admin and NET_ADMIN are CAP_NET_ADMIN; ALL stays."""
    upper = name.strip().upper()
    return upper if upper == "ALL" or upper.startswith("CAP_") else f"CAP_{upper}"


def _security(flags: Flags) -> Json:
    if not flags.many("security-opt"):
        return {}
    from corten.cli.options import security

    options, unmasked = security.options(flags.many("security-opt"))
    found: Json = {"SecurityOpt": options}
    if unmasked:
        found |= {"MaskedPaths": [], "ReadonlyPaths": []}
    return found


def _devices(flags: Flags) -> Json:
    if not flags.many("device"):
        return {}
    from corten.cli.options import devices

    specs = flags.many("device")
    names = [spec for spec in specs if devices.is_cdi(spec)]
    try:
        found: Json = {"Devices": [devices.device(spec) for spec in specs if not devices.is_cdi(spec)]}
    except ValueError as error:
        raise CommandError(str(error), 125) from None
    if names:
        found["DeviceRequests"] = [
            {"Driver": "cdi", "Count": 0, "DeviceIDs": names, "Capabilities": None, "Options": None}
        ]
    return found


def _log(flags: Flags) -> Json:
    options = texts.pairs(flags.many("log-opt"))
    driver = flags.text("log-driver")
    if driver == "none" and options:
        raise CommandError("invalid logging opts for driver none", 125)
    return {"Type": driver, "Config": options}


def _storage(values: list[str]) -> dict[str, str]:
    if not all("=" in value for value in values):
        raise CommandError("invalid storage option", 125)
    return texts.pairs(values)


def restart_policy(text: str) -> Json:
    """no, always, unless-stopped, on-failure[:N]. Raises CommandError for another form."""
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
    return {"Name": name, "MaximumRetryCount": retries}


def _mounts(flags: Flags, config: Json, host: Json) -> None:
    if not (flags.many("volume") or flags.many("tmpfs") or flags.many("mount")):
        return
    from corten.cli.options import mounts

    binds, anonymous = mounts.volumes(flags.many("volume"))
    for field, value in (
        ("Binds", binds),
        ("Tmpfs", mounts.tmpfs(flags.many("tmpfs"))),
        ("Mounts", flags.many("mount")),
    ):
        if value:
            host[field] = value
    if anonymous:
        config["Volumes"] = anonymous


def _ports(flags: Flags, config: Json, host: Json) -> None:
    if not (flags.many("publish") or flags.many("expose")):
        return
    from corten.cli.options import ports

    exposed, bindings = ports.published(flags.many("publish"))
    config["ExposedPorts"] = exposed | ports.exposed(flags.many("expose"))
    if bindings:
        host["PortBindings"] = bindings


def _network(flags: Flags) -> tuple[str, dict[str, Json]]:
    names = ("network", "net", "network-alias", "net-alias", "ip", "ip6", "link", "link-local-ip", "mac-address")
    if not any(flags.value(name) for name in names):
        return "default", {}
    from corten.cli.options import networks

    return networks.endpoints(flags)
