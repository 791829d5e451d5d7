"""Which namespaces a container gets of its own, joins, or leaves as the host has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from corten.engine.oci.facts import HostFacts, IdMap, Json, SpecInputs

UNPRIVILEGED_PORTS = "net.ipv4.ip_unprivileged_port_start"
PING_GROUPS = "net.ipv4.ping_group_range"


def joins(mode: str | None) -> str:
    """The container named by "container:X"; "" for every other mode."""
    return mode.partition(":")[2] if mode and mode.startswith("container:") else ""


def own_network(host_config: Mapping[str, Any]) -> bool:
    """True when the container's network namespace is neither the host's nor another container's."""
    mode = host_config.get("NetworkMode") or "default"
    return mode != "host" and not joins(mode)


def remapped(host_config: Mapping[str, Any], facts: HostFacts) -> bool:
    """True when the container runs in a user namespace: the daemon remaps, and --userns=host was not said."""
    return bool(facts.uid_map) and host_config.get("UsernsMode") != "host"


def namespaces(inputs: SpecInputs, facts: HostFacts) -> list[Json]:
    """OCI's linux.namespaces."""
    host, paths = inputs.host_config, inputs.namespaces
    result: list[Json] = [{"type": "mount"}]
    modes = {
        "network": host.get("NetworkMode"),
        "uts": host.get("UTSMode"),
        "pid": host.get("PidMode"),
        "ipc": host.get("IpcMode"),
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


def cgroup_namespace(host_config: Mapping[str, Any], facts: HostFacts) -> str:
    """ "private" or "host": private by default on cgroup v2 only, as Docker has it."""
    mode = host_config.get("CgroupnsMode") or facts.default_cgroupns_mode
    return mode or ("private" if facts.cgroup_version == 2 else "host")


def id_maps(lines: tuple[IdMap, ...]) -> list[Json]:
    return [{"containerID": m.container, "hostID": m.host, "size": m.size} for m in lines]


def sysctls(inputs: SpecInputs, facts: HostFacts) -> dict[str, str]:
    """The client's, and Docker's defaults where the container has the namespace they live in."""
    host = inputs.host_config
    result = {key.replace("/", "."): str(value) for key, value in (host.get("Sysctls") or {}).items()}
    domain = inputs.config.get("Domainname")
    if domain and host.get("UTSMode") != "host":
        result.setdefault("kernel.domainname", domain)
    if own_network(host):
        result.setdefault(UNPRIVILEGED_PORTS, "0")
        if not remapped(host, facts):
            # the whole range of group ids only exists where ids are the host's
            result.setdefault(PING_GROUPS, "0 2147483647")
    return result
