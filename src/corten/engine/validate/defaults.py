"""HostConfig as Docker completes it at create, and as inspect then shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from corten.engine.oci.facts import HostFacts, Json
from corten.engine.oci.namespaces import cgroup_namespace
from corten.engine.oci.resources import memory_swap
from corten.engine.oci.security import MASKED_PATHS, READONLY_PATHS
from corten.engine.validate.controls import missing_controls

#: What a field that was not sent looks like; Go's zero value of its type, in Docker's order.
_ZERO: tuple[tuple[str, Any], ...] = (
    ("Binds", None),
    ("ContainerIDFile", ""),
    ("LogConfig", None),
    ("NetworkMode", ""),
    ("PortBindings", None),
    ("RestartPolicy", None),
    ("AutoRemove", False),
    ("VolumeDriver", ""),
    ("VolumesFrom", None),
    ("ConsoleSize", (0, 0)),
    ("CapAdd", None),
    ("CapDrop", None),
    ("CgroupnsMode", ""),
    ("Dns", None),
    ("DnsOptions", None),
    ("DnsSearch", None),
    ("ExtraHosts", None),
    ("GroupAdd", None),
    ("IpcMode", ""),
    ("Cgroup", ""),
    ("Links", None),
    ("OomScoreAdj", 0),
    ("PidMode", ""),
    ("Privileged", False),
    ("PublishAllPorts", False),
    ("ReadonlyRootfs", False),
    ("SecurityOpt", None),
    ("UTSMode", ""),
    ("UsernsMode", ""),
    ("ShmSize", 0),
    ("Runtime", ""),
    ("Isolation", ""),
    ("CpuShares", 0),
    ("Memory", 0),
    ("NanoCpus", 0),
    ("CgroupParent", ""),
    ("BlkioWeight", 0),
    ("BlkioWeightDevice", None),
    ("BlkioDeviceReadBps", None),
    ("BlkioDeviceWriteBps", None),
    ("BlkioDeviceReadIOps", None),
    ("BlkioDeviceWriteIOps", None),
    ("CpuPeriod", 0),
    ("CpuQuota", 0),
    ("CpuRealtimePeriod", 0),
    ("CpuRealtimeRuntime", 0),
    ("CpusetCpus", ""),
    ("CpusetMems", ""),
    ("Devices", None),
    ("DeviceCgroupRules", None),
    ("DeviceRequests", None),
    ("MemoryReservation", 0),
    ("MemorySwap", 0),
    ("MemorySwappiness", None),
    ("OomKillDisable", None),
    ("PidsLimit", None),
    ("Ulimits", None),
    ("CpuCount", 0),
    ("CpuPercent", 0),
    ("IOMaximumIOps", 0),
    ("IOMaximumBandwidth", 0),
    ("MaskedPaths", None),
    ("ReadonlyPaths", None),
)
_DEVICE = {"PathOnHost": "", "PathInContainer": "", "CgroupPermissions": ""}
#: Left out of inspect while unset, as Go's omitempty does.
_OPTIONAL = ("Annotations", "NetRate", "Mounts", "Tmpfs", "Sysctls", "StorageOpt", "Init")


def normalize_host_config(host_config: Mapping[str, Any] | None, facts: HostFacts) -> Json:
    """A new HostConfig with every field of Docker's. Idempotent; unknown fields are dropped, as Docker ignores them."""
    asked = dict(host_config or {})
    _unconfine_system_paths(asked)
    result: Json = {}
    for key, zero in _ZERO:
        value = asked.get(key)
        result[key] = (list(zero) if isinstance(zero, tuple) else zero) if value is None else value
    result.update({key: asked[key] for key in _OPTIONAL if asked.get(key) is not None})
    result.update(missing_controls(result, facts)[1])
    _fill_modes(result, facts)
    _fill_limits(result, facts)
    _fill_logging(result, facts)
    policy = result["RestartPolicy"] or {}
    result["RestartPolicy"] = {
        "Name": policy.get("Name") or "no",
        "MaximumRetryCount": policy.get("MaximumRetryCount") or 0,
    }
    _fill_hidden_paths(result, facts)
    return result


def _fill_modes(result: Json, facts: HostFacts) -> None:
    result["NetworkMode"] = result["NetworkMode"] or "default"
    result["IpcMode"] = result["IpcMode"] or facts.default_ipc_mode
    if not result["CgroupnsMode"]:
        # A privileged container on cgroup v1 manages the host's cgroups: tools in it expect to see all of them.
        privileged_v1 = result["Privileged"] and facts.cgroup_version == 1
        result["CgroupnsMode"] = "host" if privileged_v1 else cgroup_namespace(result, facts)
    result["Runtime"] = result["Runtime"] or facts.default_runtime
    result["PortBindings"] = {
        port: [{"HostIp": place.get("HostIp") or "", "HostPort": place.get("HostPort") or ""} for place in places or ()]
        for port, places in (result["PortBindings"] or {}).items()
    }
    result["Devices"] = [{**_DEVICE, **mapping} for mapping in result["Devices"] or ()]


def _fill_limits(result: Json, facts: HostFacts) -> None:
    result["ShmSize"] = result["ShmSize"] or facts.default_shm_size
    result["MemorySwap"] = memory_swap(result)
    if result["OomKillDisable"] is None and facts.cgroup_version == 1:
        result["OomKillDisable"] = False
    if result["MemorySwappiness"] == -1:
        result["MemorySwappiness"] = None
    if result["PidsLimit"] is not None and result["PidsLimit"] <= 0:
        result["PidsLimit"] = None


def _fill_logging(result: Json, facts: HostFacts) -> None:
    """The daemon's log options belong to the daemon's driver and to no other."""
    log = result["LogConfig"] or {}
    driver = log.get("Type") or facts.default_log_driver
    defaults = facts.default_log_options if driver == facts.default_log_driver else {}
    result["LogConfig"] = {"Type": driver, "Config": {**defaults, **(log.get("Config") or {})}}


def _fill_hidden_paths(result: Json, facts: HostFacts) -> None:
    if result["Privileged"]:
        result["MaskedPaths"] = result["ReadonlyPaths"] = None
        return
    if result["MaskedPaths"] is None:
        result["MaskedPaths"] = [*MASKED_PATHS, *facts.thermal_paths]
    if result["ReadonlyPaths"] is None:
        result["ReadonlyPaths"] = list(READONLY_PATHS)


def _unconfine_system_paths(asked: Json) -> None:
    """Docker's own client turns this option into two empty lists; API users write it out and mean the same."""
    options = asked.get("SecurityOpt") or []
    if "systempaths=unconfined" in options:
        asked["SecurityOpt"] = [option for option in options if option != "systempaths=unconfined"]
        asked["MaskedPaths"], asked["ReadonlyPaths"] = [], []
