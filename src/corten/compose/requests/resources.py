"""Limits of a service's container: the fields of container.Resources, as keywords of a request."""

from __future__ import annotations

from corten.compose.model import Blkio, DeviceRequest, Resource, Service, Ulimit
from corten.spec.docker import devices, host_config

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_BILLION = 1_000_000_000


def resources(service: Service) -> dict[str, Any]:
    """Only what was asked for. `deploy` counts before the older keys, which say the same."""
    asked = service.deploy.resources if service.deploy is not None else None
    limits = asked.limits if asked is not None and asked.limits is not None else Resource()
    reserved = asked.reservations if asked is not None and asked.reservations is not None else Resource()
    requests = [*(_request(each) for each in reserved.devices), *(_gpus(each) for each in service.gpus)]
    requests += [devices.DeviceRequest(driver="cdi", device_ids=[each.source]) for each in service.devices
                 if _is_cdi(each.source)]  # fmt: skip
    found: dict[str, Any] = {
        "cpu_shares": service.cpu_shares,
        "cpu_period": service.cpu_period,
        "cpu_quota": service.cpu_quota,
        "cpu_realtime_period": service.cpu_rt_period,
        "cpu_realtime_runtime": service.cpu_rt_runtime,
        "cpuset_cpus": service.cpuset,
        "cpu_count": service.cpu_count,
        "cpu_percent": int(service.cpu_percent),
        "nano_cpus": round((limits.cpus or service.cpus) * _BILLION),
        "memory": int(limits.memory or service.mem_limit),
        "memory_reservation": int(reserved.memory or service.mem_reservation),
        "memory_swap": int(service.memswap_limit),
        "memory_swappiness": int(service.mem_swappiness) or None,
        "pids_limit": limits.pids or service.pids_limit or None,
        "oom_kill_disable": service.oom_kill_disable,
        "cgroup_parent": service.cgroup_parent,
        "ulimits": [_ulimit(name, each) for name, each in service.ulimits.items()],
        "device_cgroup_rules": list(service.device_cgroup_rules),
        "devices": [
            devices.DeviceMapping(
                path_on_host=each.source,
                path_in_container=each.target or each.source,
                cgroup_permissions=each.permissions or "rwm",
            )
            for each in service.devices
            if not _is_cdi(each.source)
        ],
        "device_requests": requests,
        **(_blkio(service.blkio_config) if service.blkio_config is not None else {}),
    }
    return {key: value for key, value in found.items() if value}


def _is_cdi(source: str) -> bool:
    """vendor.com/class=name, which is no path."""
    return not source.startswith("/") and "=" in source and "/" in source.partition("=")[0]


def _ulimit(name: str, limit: Ulimit) -> host_config.Ulimit:
    return host_config.Ulimit(name=name, soft=limit.single or limit.soft, hard=limit.single or limit.hard)


def _request(device: DeviceRequest) -> devices.DeviceRequest:
    return devices.DeviceRequest(
        driver=device.driver,
        count=device.count,
        device_ids=list(device.device_ids) or None,
        capabilities=[list(device.capabilities)],
        options=dict(device.options) or None,
    )


def _gpus(device: DeviceRequest) -> devices.DeviceRequest:
    capabilities = [[*device.capabilities, *(("gpu",) if "gpu" not in device.capabilities else ())]]
    return devices.DeviceRequest(
        driver=device.driver,
        count=device.count,
        device_ids=list(device.device_ids) or None,
        capabilities=capabilities,
        options=dict(device.options) or None,
    )


def _blkio(given: Blkio) -> dict[str, Any]:
    weights = [devices.WeightDevice(path=each.path, weight=each.weight) for each in given.weight_device]
    throttled = {
        f"blkio_device_{what}": [
            devices.ThrottleDevice(path=each.path, rate=int(each.rate)) for each in getattr(given, f"device_{what}")
        ]
        for what in ("read_bps", "read_iops", "write_bps", "write_iops")
    }
    return {"blkio_weight": given.weight, "blkio_weight_device": weights, **throttled}
