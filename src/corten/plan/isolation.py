"""What isolates a container: namespaces of this host, or a guest with a kernel of its own."""

from __future__ import annotations

from dataclasses import replace

from corten.errors import Invalid
from corten.kernel import caps
from corten.plan.facts import ALL_CONTROLS, HostFacts
from corten.plan.runtimes import VM
from corten.spec.docker.host_config import HostConfig
from corten.units.sizes import parse_bytes

MIN_DISK, MAX_DISK = 16 << 20, 16 << 40  # bytes
PROCESS = ("", "default", "process")


def in_guest(host: HostConfig, facts: HostFacts) -> bool:
    """`--isolation vm` and `--runtime vm` say the same; so does a daemon whose default runtime that is, unless the
    container's isolation is "process"."""
    if host.isolation.lower() == VM:
        return True
    return (host.runtime or facts.default_runtime) == VM and host.isolation.lower() != "process"


def guest_of(host: HostConfig) -> bool:
    """The same of a HostConfig with its defaults filled in."""
    return host.isolation == VM


def disk_size(host: HostConfig) -> int:
    """Bytes of the guest's own disk, 0 for the usual. Raises Invalid for another option than its size, and for one
    that a disk cannot have."""
    options = host.storage_opt or {}
    for name in options:
        if name != "size":
            raise Invalid(f"unknown storage option for a guest: {name}, only size is known")
    if "size" not in options:
        return 0
    try:
        size = parse_bytes(options["size"])
    except ValueError as error:
        raise Invalid(f"storage option size: {error}") from error
    if not MIN_DISK <= size <= MAX_DISK:
        raise Invalid(f"storage option size: a guest's disk has 16 MiB to 16 TiB, not {options['size']}")
    return size


def facts_for(host: HostConfig, facts: HostFacts) -> HostFacts:
    """What the container's kernel can do: this host's, or a guest's, which has control groups v2 with all controllers,
    every namespace, and neither AppArmor nor a user namespace around the container."""
    if not in_guest(host, facts):
        return facts
    return replace(
        facts,
        capabilities=tuple(sorted(caps.NAMES)),
        cgroup_version=2,
        controls=ALL_CONTROLS - {"swappiness", "oom_kill_disable", "cpu_rt"},
        time_namespace=True,
        cgroup_namespace=True,
        recursive_readonly=True,
        apparmor=False,
        uid_map=(),
        gid_map=(),
        thermal_paths=(),
        bounds={},
    )
