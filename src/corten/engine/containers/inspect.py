"""Docker's ContainerInspectResponse."""

from __future__ import annotations

from contextlib import suppress

from corten.engine.containers import links
from corten.engine.containers.container import Container
from corten.engine.containers.containers import Containers
from corten.errors import Conflict, NotFound
from corten.plan.isolation import guest_of
from corten.plan.mount_points import inspect_mount
from corten.snapshots.guest_disks import DISK_FILE
from corten.spec.docker import times
from corten.spec.docker.networking import EndpointSettings
from corten.spec.json import Json

_NOTHING = EndpointSettings()
_DEFAULT_FIELDS = ("EndpointID", "Gateway", "GlobalIPv6Address", "GlobalIPv6PrefixLen", "IPAddress", "IPPrefixLen")


def inspect(containers: Containers, container: Container, version: tuple[int, int] | None = None) -> Json:
    """The whole of it but SizeRw and SizeRootFs, which walk the disk; `Timing` and `Waiting` are ours. `version` is
    that of the API, None for the newest: it says which fields of the two configurations are shown."""
    record, bundle = container.record, str(container.bundle)
    settings = containers.configuration.settings
    shown: Json = {
        "Id": record.id,
        "Created": times.rfc3339(record.created),
        "Path": record.path,
        "Args": record.args,
        "State": state(container),
        "Image": record.image_id,
        "ResolvConfPath": f"{bundle}/resolv.conf",
        "HostnamePath": f"{bundle}/hostname",
        "HostsPath": f"{bundle}/hosts",
        "LogPath": _log_path(container),
        "Name": "/" + record.name,
        "RestartCount": record.restart_count,
        "Driver": settings.driver,
        "Platform": record.platform,
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": containers.execs.running_in(container) or None,
        "HostConfig": {**record.host_config.to_json(version), "Links": links.shown(containers, container)},
        "GraphDriver": {"Data": _places(containers, container), "Name": settings.driver},
        "Mounts": [inspect_mount(point) for point in record.mounts],
        "Config": record.config.to_json(version),
        "NetworkSettings": network_settings(containers, container),
    }
    if record.timing:
        shown["Timing"] = record.timing
    if container.waiting:
        shown["Waiting"] = container.waiting
    return shown


def _places(containers: Containers, container: Container) -> dict[str, str]:
    """Where the container's tree lies. Nothing is mounted on the host: merged it is seen by way of its program, and not
    at all when that is a guest's."""
    found = {"ID": container.id}
    if guest_of(container.record.host_config):
        return found | {"Disk": str(container.bundle / DISK_FILE)}
    with suppress(NotFound, Conflict):  # its tree, or an image's below it, is lost
        found |= containers.stores.snapshots.places(container.id)
    if container.task is not None and container.record.state.has_task:
        found["MergedDir"] = str(container.task.root())
    return found


def _log_path(container: Container) -> str:
    """Docker's is for those who read json-file's lines themselves; other drivers' files have no documented format."""
    driver = container.record.host_config.log_config.type
    return str(container.log_path) if driver == "json-file" else ""


def state(container: Container) -> Json:
    now = container.record.state
    shown: Json = {
        "Status": container.status,
        "Running": now.running,
        "Paused": container.status == "paused",
        "Restarting": now.status == "restarting",
        "OOMKilled": now.oom_killed,
        "Dead": now.status == "dead",
        "Pid": now.pid if now.has_task else 0,
        "ExitCode": now.exit_code,
        "Error": now.error,
        "StartedAt": times.rfc3339(now.started_at),
        "FinishedAt": times.rfc3339(now.finished_at),
    }
    if container.health is not None:
        shown["Health"] = container.health.shown()
    return shown


def network_settings(containers: Containers, container: Container) -> Json:
    """NetworkSettings with the fields of the default network on top, which API versions below 1.52 have."""
    record = container.record
    networks = {name: endpoint_settings(containers, container, name) for name in record.networks}
    own = record.state.has_task and record.host_config.network_mode != "host"
    task = container.task if own and not guest_of(record.host_config) else None  # a guest's is in its kernel
    shown: Json = {
        "Bridge": "",
        "SandboxID": record.id if own else "",
        "SandboxKey": str(task.namespace("network")) if task else "",
        "Ports": ports(container),
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
    }
    default = networks.get("bridge", {})
    shown |= {key: default.get(key, 0 if key.endswith("Len") else "") for key in _DEFAULT_FIELDS}
    shown["IPv6Gateway"], shown["MacAddress"] = default.get("IPv6Gateway", ""), default.get("MacAddress", "")
    return {**shown, "Networks": networks}


def endpoint_settings(containers: Containers, container: Container, network: str) -> Json:
    """What it is now while it is connected, and otherwise what the client has asked for, with the network's id."""
    if (endpoint := container.endpoints.get(network)) is not None:
        return endpoint.settings
    wanted = container.record.networks.get(network, _NOTHING)
    if mac := container.record.shown_macs.get(network):
        wanted = wanted.replace(mac_address=mac)
    return {
        **wanted.to_json(),
        "NetworkID": network_id(containers, container, network),
        "EndpointID": "",
        "Gateway": "",
        "IPAddress": "",
        "IPPrefixLen": 0,
        "IPv6Gateway": "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "DNSNames": None,
    }


def network_id(containers: Containers, container: Container, network: str) -> str:
    """Of one that it is in, or was in when it last ran; empty when it has not run, or the network is gone."""
    if (endpoint := container.endpoints.get(network)) is not None:
        return endpoint.network_id
    return containers.networks.id_of(network) if container.record.state.started_at else ""


def ports(container: Container) -> Json:
    """Docker's PortMap of a running container: what is published, and what is only exposed as null."""
    found: Json = {}
    for endpoint in container.endpoints.values():
        for port, bindings in endpoint.ports.items():
            found[port] = found.get(port) or bindings
    return found
