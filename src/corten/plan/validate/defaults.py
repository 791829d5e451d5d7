"""HostConfig as Docker completes it at create, and as inspect then shows it."""

from __future__ import annotations

from typing import Any

from corten.plan.facts import HostFacts
from corten.plan.isolation import in_guest
from corten.plan.namespaces import cgroup_namespace
from corten.plan.resources import memory_swap
from corten.plan.runtimes import OWN_NAMES, VM
from corten.plan.security import MASKED_PATHS, READONLY_PATHS
from corten.plan.validate.controls import missing_controls
from corten.spec.docker.host_config import HostConfig, LogConfig, RestartPolicy

_UNCONFINED_PATHS = "systempaths=unconfined"


def normalize_host_config(asked: HostConfig, facts: HostFacts) -> HostConfig:
    """A HostConfig with what Docker fills in for fields that were not set, by `facts`. Idempotent."""
    host = _unconfine_system_paths(asked)
    host = host.replace(**missing_controls(host, facts)[1])
    return host.replace(
        **_modes(host, facts), **_limits(host, facts), **_hidden_paths(host, facts), **_rest(host, facts)
    )


def _modes(host: HostConfig, facts: HostFacts) -> dict[str, Any]:
    # A privileged container on cgroup v1 manages the host's cgroups: tools in it expect to see all of them.
    privileged_v1 = host.privileged and facts.cgroup_version == 1
    return {
        "network_mode": host.network_mode or "default",
        "ipc_mode": host.ipc_mode or facts.default_ipc_mode,
        "cgroupns_mode": host.cgroupns_mode or ("host" if privileged_v1 else cgroup_namespace(host, facts)),
        **_isolation(host, facts),
    }


def _isolation(host: HostConfig, facts: HostFacts) -> dict[str, str]:
    if in_guest(host, facts):
        return {"runtime": VM, "isolation": VM}
    runtime = host.runtime or facts.default_runtime
    return {"runtime": OWN_NAMES[0] if runtime == VM else runtime}


def _limits(host: HostConfig, facts: HostFacts) -> dict[str, Any]:
    oom = False if host.oom_kill_disable is None and facts.cgroup_version == 1 else host.oom_kill_disable
    return {
        "shm_size": host.shm_size or facts.default_shm_size,
        "memory_swap": memory_swap(host),
        "oom_kill_disable": oom,
        "memory_swappiness": None if host.memory_swappiness == -1 else host.memory_swappiness,
        "pids_limit": host.pids_limit if (host.pids_limit or 0) > 0 else None,
    }


def _rest(host: HostConfig, facts: HostFacts) -> dict[str, Any]:
    policy = host.restart_policy
    return {
        "log_config": _logging(host.log_config, facts),
        "restart_policy": RestartPolicy(name=policy.name or "no", maximum_retry_count=policy.maximum_retry_count),
        "port_bindings": host.port_bindings or {},
        "devices": host.devices or [],
    }


def _logging(log: LogConfig, facts: HostFacts) -> LogConfig:
    """The daemon's log options belong to the daemon's driver and to no other."""
    driver = log.type or facts.default_log_driver
    defaults = facts.default_log_options if driver == facts.default_log_driver else {}
    return LogConfig(type=driver, config={**defaults, **(log.config or {})})


def _hidden_paths(host: HostConfig, facts: HostFacts) -> dict[str, Any]:
    if host.privileged:
        return {"masked_paths": None, "readonly_paths": None}
    masked, readonly = host.masked_paths, host.readonly_paths
    return {
        "masked_paths": [*MASKED_PATHS, *facts.thermal_paths] if masked is None else masked,
        "readonly_paths": list(READONLY_PATHS) if readonly is None else readonly,
    }


def _unconfine_system_paths(asked: HostConfig) -> HostConfig:
    """Docker's own client turns this option into two empty lists; API users write it out and mean the same."""
    options = asked.security_opt or []
    if _UNCONFINED_PATHS not in options:
        return asked
    kept = [option for option in options if option != _UNCONFINED_PATHS]
    return asked.replace(security_opt=kept, masked_paths=[], readonly_paths=[])
