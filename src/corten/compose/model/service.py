"""One service: everything its containers are made from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from corten.compose.model.build import Build, Ulimit
from corten.compose.model.deploy import Deploy, DeviceRequest
from corten.compose.model.develop import Develop, Hook
from corten.compose.model.files import FileReference
from corten.compose.model.scalars import Bytes, Duration
from corten.compose.model.struct import Struct
from corten.compose.model.throttling import Blkio
from corten.compose.model.volumes import Device, ServiceVolume


class CredentialSpec(Struct, frozen=True, kw_only=True):
    config: str = ""
    file: str = ""
    registry: str = ""


class DependsOn(Struct, frozen=True, kw_only=True):
    always: ClassVar[frozenset[str]] = frozenset(("required",))

    condition: str = ""
    """service_started, service_healthy or service_completed_successfully."""
    restart: bool = False
    """Restart this service when Compose restarts or recreates the other."""
    required: bool = False
    """True unless the file says false: then a dependency that is not there or fails is a warning."""


class EnvFile(Struct, frozen=True, kw_only=True):
    """Read already: its variables are in `Service.environment`. Only without resolution it is still there."""

    path: str = ""
    required: bool = True
    format: str = ""


class Provider(Struct, frozen=True, kw_only=True):
    """A program that provides the service instead of containers."""

    type: str = ""
    """docker-TYPE is a plugin of the client, or the program's name or path."""
    options: Mapping[str, tuple[str, ...]] = {}
    """--KEY=VALUE for each value."""


class Healthcheck(Struct, frozen=True, kw_only=True):
    test: tuple[str, ...] = ()
    """("CMD", ...), ("CMD-SHELL", text), ("NONE",); () keeps the image's."""
    timeout: Duration | None = None
    interval: Duration | None = None
    retries: int | None = None
    start_period: Duration | None = None
    start_interval: Duration | None = None
    disable: bool = False
    """The same as test ("NONE",)."""


class Logging(Struct, frozen=True, kw_only=True):
    driver: str = ""
    options: Mapping[str, str] = {}


class ServiceModel(Struct, frozen=True, kw_only=True):
    endpoint_var: str = ""
    """Variable of the container that gets the endpoint's URL; by default KEY_URL in capitals."""
    model_var: str = ""
    """Variable that gets the model's name; by default KEY_MODEL in capitals."""


class ServiceNetwork(Struct, frozen=True, kw_only=True):
    aliases: tuple[str, ...] = ()
    driver_opts: Mapping[str, str] = {}
    gw_priority: int = 0
    interface_name: str = ""
    ipv4_address: str = ""
    ipv6_address: str = ""
    link_local_ips: tuple[str, ...] = ()
    mac_address: str = ""
    priority: int = 0


class Port(Struct, frozen=True, kw_only=True):
    """One port of the container; a range of a file is one of these for each port."""

    name: str = ""
    mode: str = ""
    """ingress or host: the same on one machine."""
    host_ip: str = ""
    target: int = 0
    published: str = ""
    """A port, a range "8000-8010" of which one is chosen, or "" for any."""
    protocol: str = ""
    app_protocol: str = ""


class Service(Struct, frozen=True, kw_only=True):
    hidden: ClassVar[frozenset[str]] = frozenset(("name",))

    name: str = ""
    """The key below `services`."""
    profiles: tuple[str, ...] = ()
    annotations: Mapping[str, str] = {}
    attach: bool | None = None
    """False: `up` does not show its output."""
    build: Build | None = None
    develop: Develop | None = None
    blkio_config: Blkio | None = None
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    cgroup_parent: str = ""
    cgroup: str = ""
    """host or private."""
    cpu_count: int = 0
    cpu_percent: float = 0.0
    cpu_period: int = 0
    """Microseconds."""
    cpu_quota: int = 0
    """Microseconds in each period."""
    cpu_rt_period: int = 0
    cpu_rt_runtime: int = 0
    cpus: float = 0.0
    """Equal to deploy.resources.limits.cpus where that is given."""
    cpuset: str = ""
    cpu_shares: int = 0
    command: tuple[str, ...] | None = None
    """None keeps the image's; () clears it."""
    configs: tuple[FileReference, ...] = ()
    container_name: str = ""
    credential_spec: CredentialSpec | None = None
    depends_on: Mapping[str, DependsOn] = {}
    """With those that follow from links, network_mode, ipc, pid, uts, volumes_from and build contexts."""
    deploy: Deploy | None = None
    device_cgroup_rules: tuple[str, ...] = ()
    devices: tuple[Device, ...] = ()
    dns: tuple[str, ...] = ()
    dns_opt: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dockerfile: str = ""
    domainname: str = ""
    entrypoint: tuple[str, ...] | None = None
    """None keeps the image's; () clears it."""
    provider: Provider | None = None
    environment: Mapping[str, str | None] = {}
    """With the env_files' variables. None: neither the file nor the environment has a value; it is not set."""
    env_file: tuple[EnvFile, ...] = ()
    """Empty once read into `environment`."""
    expose: tuple[str, ...] = ()
    external_links: tuple[str, ...] = ()
    """CONTAINER or CONTAINER:ALIAS."""
    extra_hosts: Mapping[str, tuple[str, ...]] = {}
    """Name to its addresses (host-gateway among them)."""
    group_add: tuple[str, ...] = ()
    gpus: tuple[DeviceRequest, ...] = ()
    hostname: str = ""
    healthcheck: Healthcheck | None = None
    image: str = ""
    """"" when only `build` is given: `Project.image_of` has the name then."""
    init: bool | None = None
    ipc: str = ""
    isolation: str = ""
    """Docker's default, process, hyperv; ours: vm."""
    labels: Mapping[str, str] = {}
    """With the label files'; without those of the client."""
    label_file: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    """SERVICE or SERVICE:ALIAS."""
    logging: Logging | None = None
    log_driver: str = ""
    log_opt: Mapping[str, str] = {}
    mem_limit: Bytes = Bytes(0)
    """Equal to deploy.resources.limits.memory where that is given; so are mem_reservation and pids_limit."""
    mem_reservation: Bytes = Bytes(0)
    memswap_limit: Bytes = Bytes(0)
    """-1: no limit."""
    mem_swappiness: Bytes = Bytes(0)
    mac_address: str = ""
    models: Mapping[str, ServiceModel | None] = {}
    net: str = ""
    network_mode: str = ""
    """"", none, host, bridge, service:NAME, container:NAME. `networks` is empty beside one."""
    networks: Mapping[str, ServiceNetwork | None] = {}
    """Key below the project's `networks` to the options; `default` where the file names none."""
    oom_kill_disable: bool = False
    oom_score_adj: int = 0
    pid: str = ""
    pids_limit: int = 0
    platform: str = ""
    ports: tuple[Port, ...] = ()
    privileged: bool = False
    pull_policy: str = ""
    """"", always, never, missing, if_not_present, build, daily, weekly, every_LENGTH."""
    read_only: bool = False
    restart: str = ""
    """no, always, unless-stopped, on-failure, on-failure:N."""
    runtime: str = ""
    scale: int | None = None
    """Ask `replicas`, which has the default."""
    secrets: tuple[FileReference, ...] = ()
    security_opt: tuple[str, ...] = ()
    shm_size: Bytes = Bytes(0)
    stdin_open: bool = False
    stop_grace_period: Duration | None = None
    stop_signal: str = ""
    storage_opt: Mapping[str, str] = {}
    sysctls: Mapping[str, str] = {}
    tmpfs: tuple[str, ...] = ()
    """PATH or PATH:OPTIONS."""
    tty: bool = False
    ulimits: Mapping[str, Ulimit] = {}
    use_api_socket: bool = False
    user: str = ""
    userns_mode: str = ""
    uts: str = ""
    volume_driver: str = ""
    volumes: tuple[ServiceVolume, ...] = ()
    volumes_from: tuple[str, ...] = ()
    """SERVICE or container:NAME, with :ro or :rw."""
    working_dir: str = ""
    pre_start: tuple[Hook, ...] = ()
    post_start: tuple[Hook, ...] = ()
    pre_stop: tuple[Hook, ...] = ()

    @property
    def replicas(self) -> int:
        """How many containers it has: `scale`, else `deploy.replicas`, else 1."""
        if self.scale is not None:
            return self.scale
        if self.deploy is not None and self.deploy.replicas is not None:
            return self.deploy.replicas
        return 1

    @property
    def balanced(self) -> tuple[Port, ...]:
        """Ports that all of its containers share (`endpoint_mode: vip`): those with one fixed port of the host, and
        mode ingress, which is what is meant without a mode."""
        if self.deploy is None or self.deploy.endpoint_mode != "vip":
            return ()
        if self.network_mode in ("host", "none") or ":" in self.network_mode:
            return ()
        return tuple(each for each in self.ports if each.published.isdigit() and each.mode in ("", "ingress"))

    @property
    def networks_by_priority(self) -> tuple[str, ...]:
        """Keys of its networks, highest priority first, then by name."""
        given = {name: network.priority if network is not None else 0 for name, network in self.networks.items()}
        return tuple(sorted(given, key=lambda name: (-given[name], name)))
