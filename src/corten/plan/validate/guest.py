"""What a container in a guest cannot have, because it would be the host's kernel that gives it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from corten.errors import Invalid
from corten.plan.facts import HostFacts, MountPoint
from corten.plan.isolation import PROCESS, in_guest
from corten.plan.namespaces import joins
from corten.plan.runtimes import VM
from corten.plan.tmpfs import merge_options
from corten.spec.docker.devices import DeviceMapping
from corten.spec.docker.host_config import HostConfig

_PCI = re.compile(r"/dev/vfio/|/sys/bus/pci/|/sys/devices/pci|[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]\Z", re.I)
_MOST_DEVICES = 8  # a guest has sixteen ports for all that is plugged in
_OF_TMPFS = frozenset(("shared", "rshared", "unbindable", "runbindable"))  # propagations that stay in a guest


def check_isolation(host: HostConfig, facts: HostFacts) -> None:
    """Raises Invalid for an isolation that is none, for a runtime beside it, and for what a guest cannot have."""
    isolation = host.isolation.lower()
    if isolation not in (*PROCESS, VM):
        raise Invalid(f"Invalid isolation: \"{host.isolation}\" - 'default', 'process' and 'vm' are supported")
    if isolation == VM and host.runtime not in ("", VM):
        raise Invalid(f"conflicting options: isolation vm and the runtime {host.runtime}")
    if isolation == "process" and host.runtime == VM:
        raise Invalid("conflicting options: isolation process and the runtime vm")
    check_options(host, facts)


def check_options(host: HostConfig, facts: HostFacts) -> None:
    """Raises Invalid for what a guest cannot have, whenever it is asked for; nothing for a container without one."""
    if in_guest(host, facts):
        for what in _refused(host, facts):
            raise Invalid(f"conflicting options: isolation vm and {what}")


def check_points(points: Iterable[MountPoint]) -> None:
    """Raises Invalid for a bind whose mounts the host would have to see, and for a tmpfs of that kind."""
    for point in points:
        if point.type == "bind" and point.propagation in ("shared", "rshared"):
            refused: Iterable[str] = (_propagation(point.propagation, point.destination),)
        else:
            refused = _of_tmpfs(point.destination, point.options) if point.type == "tmpfs" else ()
        for what in refused:
            raise Invalid(f"conflicting options: isolation vm and {what}")


def _propagation(kind: str, destination: str) -> str:
    return f"the propagation {kind} of {destination}"


def _of_tmpfs(destination: str, options: str) -> Iterator[str]:
    for word in merge_options(filter(None, options.split(","))):
        if word in _OF_TMPFS:
            yield _propagation(word, destination)


def _refused(host: HostConfig, facts: HostFacts) -> Iterator[str]:
    modes = {
        "network": host.network_mode,
        "PID": host.pid_mode,
        "IPC": host.ipc_mode,
        "UTS": host.uts_mode,
        "cgroup": host.cgroupns_mode,
    }
    for kind, mode in modes.items():
        if mode == "host":
            yield f"the host's {kind} namespace"
        if joins(mode):
            yield f"the {kind} namespace of another container"
    if host.userns_mode:
        yield "a user namespace mode"
    for mapping in host.devices or ():
        if _PCI.match(mapping.path_on_host):
            yield f"the PCI device {mapping.path_on_host}: {facts.no_passthrough}"
    if host.device_requests or host.device_cgroup_rules or any(_is_other(d, facts) for d in host.devices or ()):
        yield "devices of the host that are no block devices"
    if len(host.devices or ()) > _MOST_DEVICES:
        yield f"more than {_MOST_DEVICES} devices"
    if host.cpuset_cpus or host.cpuset_mems:
        yield "a set of the host's processors"
    if host.blkio_weight or host.blkio_weight_device or _throttled(host):
        yield "limits of the host's block devices"
    for path, options in (host.tmpfs or {}).items():
        yield from _of_tmpfs(path, options)
    if host.stored_secrets:
        yield "stored secrets"
    if host.net_rate:
        yield "a limit of network traffic"


def _is_other(mapping: DeviceMapping, facts: HostFacts) -> bool:
    """Not for one that does not exist: the start says that, as for other containers."""
    try:
        return any(node.type != "b" for node in facts.devices(mapping.path_on_host))
    except OSError:
        return False


def _throttled(host: HostConfig) -> bool:
    return bool(
        host.blkio_device_read_bps
        or host.blkio_device_write_bps
        or host.blkio_device_read_iops
        or host.blkio_device_write_iops
    )
