"""Which namespaces a container gets of its own, joins, or leaves as the host has them."""

from __future__ import annotations

from corten.plan.facts import HostFacts, SpecInputs
from corten.plan.runtimes import VM
from corten.spec.docker.host_config import HostConfig
from corten.spec.id_map import IdRange
from corten.spec.json import Json

UNPRIVILEGED_PORTS = "net.ipv4.ip_unprivileged_port_start"
PING_GROUPS = "net.ipv4.ping_group_range"


def joins(mode: str | None) -> str:
    """The container named by "container:X"; "" for every other mode."""
    return mode.partition(":")[2] if mode and mode.startswith("container:") else ""


def user_defined(mode: str | None) -> bool:
    """True for a network that clients make; there names are the name server's."""
    return bool(mode) and mode not in ("default", "bridge", "host", "none") and not joins(mode)


def own_network(host_config: HostConfig) -> bool:
    """True when the container's network namespace is neither the host's nor another container's."""
    mode = host_config.network_mode or "default"
    return mode != "host" and not joins(mode)


def remapped(host_config: HostConfig, facts: HostFacts) -> bool:
    """True when the container runs in a user namespace of this host: the daemon remaps, and neither --userns=host nor
    --isolation vm was said."""
    return bool(facts.uid_map) and host_config.userns_mode != "host" and host_config.isolation != VM


def namespaces(inputs: SpecInputs, facts: HostFacts) -> list[Json]:
    """OCI's linux.namespaces."""
    host, paths = inputs.host_config, inputs.namespaces
    result: list[Json] = [{"type": "mount"}]
    modes = {
        "network": host.network_mode,
        "uts": host.uts_mode,
        "pid": host.pid_mode,
        "ipc": host.ipc_mode,
    }
    for kind, mode in modes.items():
        if mode == "host":
            continue
        if joins(mode):
            result.append({"type": kind, "path": paths[kind]})
        else:
            result.append({"type": kind, "path": paths[kind]} if kind in paths else {"type": kind})
    if remapped(host, facts):
        result.append({"type": "user", "path": paths["user"]} if "user" in paths else {"type": "user"})
    if cgroup_namespace(host, facts) == "private" and facts.cgroup_namespace:
        result.append({"type": "cgroup"})
    if facts.time_namespace:
        result.append({"type": "time"})
    return result


def cgroup_namespace(host_config: HostConfig, facts: HostFacts) -> str:
    """ "private" or "host": private by default on cgroup v2 only, as Docker has it."""
    mode = host_config.cgroupns_mode or facts.default_cgroupns_mode
    return mode or ("private" if facts.cgroup_version == 2 else "host")


def id_maps(lines: tuple[IdRange, ...]) -> list[Json]:
    return [{"containerID": m.container, "hostID": m.host, "size": m.size} for m in lines]


def sysctls(inputs: SpecInputs, facts: HostFacts) -> dict[str, str]:
    """The client's, and Docker's defaults where the container has the namespace they live in."""
    host = inputs.host_config
    result = {key.replace("/", "."): value for key, value in (host.sysctls or {}).items()}
    domain = inputs.config.domainname
    if domain and host.uts_mode != "host":
        result.setdefault("kernel.domainname", domain)
    if own_network(host):
        result.setdefault(UNPRIVILEGED_PORTS, "0")
        if not remapped(host, facts):
            # the whole range of group ids only exists where ids are the host's
            result.setdefault(PING_GROUPS, "0 2147483647")
    return result
