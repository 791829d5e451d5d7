"""`docker update`: other limits for a container that may be running."""

from __future__ import annotations

from corten.errors import Conflict, Invalid
from corten.plan.facts import HostFacts
from corten.plan.isolation import guest_of
from corten.plan.resources import resources
from corten.plan.validate.guest import check_options
from corten.plan.validate.resources import check_resources, check_restart_policy
from corten.spec.docker.host_config import HostConfig, Resources, RestartPolicy, UpdateConfig
from corten.spec.json import Json

#: Fields that an update may change, and the control of `HostFacts` that each needs. Of any other field a running
#: container only has what it was created with.
_CONTROL = {
    "cpu_shares": "cpu_shares",
    "memory": "memory",
    "nano_cpus": "cpu_cfs",
    "blkio_weight": "blkio_weight",
    "blkio_weight_device": "blkio_weight_device",
    "blkio_device_read_bps": "blkio_read_bps",
    "blkio_device_write_bps": "blkio_write_bps",
    "blkio_device_read_iops": "blkio_read_iops",
    "blkio_device_write_iops": "blkio_write_iops",
    "cpu_period": "cpu_cfs",
    "cpu_quota": "cpu_cfs",
    "cpu_realtime_period": "cpu_rt",
    "cpu_realtime_runtime": "cpu_rt",
    "cpuset_cpus": "cpuset",
    "cpuset_mems": "cpuset",
    "memory_reservation": "reservation",
    "memory_swap": "swap",
    "pids_limit": "pids",
}


def update_resources(
    host_config: HostConfig, body: UpdateConfig, facts: HostFacts, container_id: str = ""
) -> tuple[HostConfig, Json, list[str]]:
    """(new HostConfig, OCI's linux.resources with only what changes, warnings).

    A zero or an empty field of `body` means "leave it"; a PidsLimit of zero or less is none. Raises Invalid when a
    value can never be, Conflict when it does not go with what the container has. Neither argument is changed.
    """
    check_restart_policy(body.restart_policy)
    asked = {name: value for name in _CONTROL if (value := getattr(body, name))}
    if body.pids_limit is not None:
        asked["pids_limit"] = max(0, body.pids_limit)
    warnings = check_resources(Resources(**asked), facts, update=True)
    # without what this machine cannot do: the warnings have said so
    changes = Resources(**{name: value for name, value in asked.items() if _CONTROL[name] in facts.controls})
    if guest_of(host_config):  # what it has already stays, as there is no way to take it away
        new = HostConfig(isolation=host_config.isolation, net_rate=body.net_rate or "")
        check_options(new.replace(**vars(changes)), facts)
    try:
        _check_conflicts(host_config, changes, body.restart_policy)
    except Conflict as error:
        raise Conflict(f"Cannot update container {container_id}: {error}") from error
    updated = host_config.replace(**vars(changes))
    if body.restart_policy.name:
        updated = updated.replace(restart_policy=body.restart_policy)
    return updated, _changed(changes, facts), warnings


def _check_conflicts(old: HostConfig, changes: Resources, policy: RestartPolicy) -> None:
    if policy.name not in ("", "no") and old.auto_remove:
        raise Conflict("Restart policy cannot be updated because AutoRemove is enabled for the container")
    for new, kept, text in (
        (changes.nano_cpus, old.cpu_period, "Nano CPUs cannot be updated as CPU Period has already been set"),
        (changes.nano_cpus, old.cpu_quota, "Nano CPUs cannot be updated as CPU Quota has already been set"),
        (changes.cpu_period, old.nano_cpus, "CPU Period cannot be updated as NanoCPUs has already been set"),
        (changes.cpu_quota, old.nano_cpus, "CPU Quota cannot be updated as NanoCPUs has already been set"),
    ):
        if new and kept:
            raise Conflict(f"Conflicting options: {text}")
    memory, swap = changes.memory, changes.memory_swap
    if memory and not swap and memory > old.memory_swap:
        raise Conflict(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"
        )
    limit = memory or old.memory
    if swap and limit and 0 < swap < limit:
        raise Invalid("Minimum memoryswap limit should be larger than memory limit, see usage")


def _changed(changes: Resources, facts: HostFacts) -> Json:
    """A new memory limit alone leaves swap as it is, where at create it would set it to twice the limit."""
    result = resources(changes, facts)
    if changes.memory_swap:
        result.setdefault("memory", {})["swap"] = changes.memory_swap
    elif "memory" in result:
        result["memory"].pop("swap", None)
    return result
