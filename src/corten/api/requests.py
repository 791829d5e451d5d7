"""The bodies of create, update and connect as dockerd reads them in each API version: what a version did not have is
ignored (most of that is `since` of a field, see `spec.docker.struct`), and what was otherwise then is said here."""

from __future__ import annotations

from dataclasses import dataclass

from corten.api.versions import Version
from corten.errors import Invalid
from corten.spec.docker.config import Config, NetworkingConfig
from corten.spec.docker.create import CreateRequest
from corten.spec.docker.host_config import HostConfig, UpdateConfig
from corten.spec.docker.networking import EndpointSettings

_AUTO_REMOVE = Version(1, 25)  # before, clients removed their containers themselves
_PRIVATE_IPC = Version(1, 40)  # the daemon's default; before, every container could be joined
_UPDATED_PIDS = Version(1, 40)
_CGROUPNS = Version(1, 41)  # before, on control groups v1, the host's whatever the daemon's default is
_CONSOLE_SIZE = Version(1, 42)
ENDPOINTS = Version(1, 44)  # several of them, each with a MAC address of its own
RECURSIVE_READONLY = Version(1, 44)  # before, what is mounted below a read-only bind stayed writable

_BESIDE = ("memory", "memory_swap", "cpu_shares", "cpuset_cpus", "volume_driver")

_DEPRECATED_MAC = (
    "The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig instead."
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request means, in the words of the newest version."""

    config: Config
    host: HostConfig
    networking: NetworkingConfig
    recursive_readonly: bool
    warnings: list[str]


def asked(body: CreateRequest, version: Version, cgroup_version: int) -> Asked:
    """Raises Invalid when there is nothing in it, or more than a version could say."""
    given = vars(body)
    config = Config(**{name: value for name, value in given.items() if name in Config.FIELDS})
    if not vars(config):
        raise Invalid("Config cannot be empty in order to create a container")
    return Asked(
        config=config,
        host=_host(_host_config(body), version, cgroup_version),
        networking=_networking(body.networking_config or NetworkingConfig(), config.mac_address, version),
        recursive_readonly=version >= RECURSIVE_READONLY,
        warnings=[_DEPRECATED_MAC] if config.mac_address and version >= ENDPOINTS else [],
    )


def _host_config(body: CreateRequest) -> HostConfig:
    """What stands beside a HostConfig is for clients of before there was one (docker-py sends a runtime there): all of
    it without a HostConfig, and five members that it does not set itself."""
    beside = HostConfig(**{name: value for name, value in vars(body).items() if name in HostConfig.FIELDS})
    host = body.host_config
    if host is None:
        host = beside
    else:
        host = host.replace(
            **{name: value for name in _BESIDE if (value := getattr(beside, name)) and not getattr(host, name)}
        )
    return host.replace(cpuset_cpus=body.cpuset) if body.cpuset and not host.cpuset_cpus else host


def _host(host: HostConfig, version: Version, cgroup_version: int) -> HostConfig:
    if version < _AUTO_REMOVE:
        host = host.replace(auto_remove=False)
    if version < _PRIVATE_IPC and not host.ipc_mode:
        host = host.replace(ipc_mode="shareable")
    if version < _CGROUPNS and cgroup_version == 1 and not host.cgroupns_mode:
        host = host.replace(cgroupns_mode="host")
    if version < _CONSOLE_SIZE:
        host = host.replace(console_size=[0, 0])
    return host


def _networking(asked: NetworkingConfig, mac: str, version: Version) -> NetworkingConfig:
    """Before endpoints had MAC addresses the container's was for the only one there was; those that clients had copied
    from an inspect had no effect."""
    if version >= ENDPOINTS:
        return asked
    given = asked.endpoints_config or {}
    if len(given) > 1:
        raise Invalid(f"Container cannot be connected to network endpoints: {', '.join(sorted(given))}")
    return NetworkingConfig(endpoints_config={name: each.replace(mac_address=mac) for name, each in given.items()})


def updating(body: UpdateConfig, version: Version) -> UpdateConfig:
    """The same for POST /containers/ID/update."""
    return body if version >= _UPDATED_PIDS else body.replace(pids_limit=None)


def connecting(settings: EndpointSettings, version: Version) -> tuple[EndpointSettings, str]:
    """The same for POST /networks/ID/connect, and the MAC address that is only to be shown."""
    if version >= ENDPOINTS:
        return settings, ""
    return settings.replace(mac_address=""), settings.mac_address
