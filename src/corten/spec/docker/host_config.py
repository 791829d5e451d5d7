"""container.HostConfig: what of the host a container gets; and container.Resources, which an update may change."""

from __future__ import annotations

from corten.spec.docker.struct import Struct, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.spec.docker.devices import DeviceMapping, DeviceRequest, ThrottleDevice, WeightDevice
    from corten.spec.docker.gotypes import (
        CgroupnsMode,
        CgroupSpec,
        ConsoleSize,
        Int64,
        IpcMode,
        Isolation,
        NetworkMode,
        PidMode,
        StrSlice,
        Uint16,
        Uint64,
        UsernsMode,
        UTSMode,
    )
    from corten.spec.docker.mount import Mount
    from corten.spec.docker.secrets import StoredSecretMount


class Ulimit(Struct, go="units.Ulimit", pointer=True):
    """-1 is no limit."""

    name: str = ""
    hard: Int64 = 0
    soft: Int64 = 0


class RestartPolicy(Struct, go="container.RestartPolicy"):
    name: str = ""
    maximum_retry_count: int = 0


class LogConfig(Struct, go="container.LogConfig"):
    type: str = ""
    config: dict[str, str] | None = None


class PortBinding(Struct, go="nat.PortBinding"):
    """`host_port` is a number, a range, or "" for any that is free.

    Clients write "53/udp" there too (testcontainers does). The protocol is the container's port's: what stands behind
    the slash means nothing to dockerd, not even when it is another one (nat.SplitProtoPort).
    """

    host_ip: str = ""
    host_port: str = ""

    @property
    def host_range(self) -> str:
        """`host_port` without what means nothing."""
        return self.host_port.partition("/")[0]


class Resources(Struct, go="container.Resources"):
    """Memory in bytes, periods and runtimes in microseconds, NanoCpus in billionths of a processor."""

    cpu_shares: Int64 = 0
    memory: Int64 = 0
    nano_cpus: Int64 = 0
    cgroup_parent: str = ""
    blkio_weight: Uint16 = 0
    blkio_weight_device: list[WeightDevice] | None = None
    blkio_device_read_bps: list[ThrottleDevice] | None = None
    blkio_device_write_bps: list[ThrottleDevice] | None = None
    blkio_device_read_iops: list[ThrottleDevice] | None = field(default=None, key="BlkioDeviceReadIOps")
    blkio_device_write_iops: list[ThrottleDevice] | None = field(default=None, key="BlkioDeviceWriteIOps")
    cpu_period: Int64 = 0
    cpu_quota: Int64 = 0
    cpu_realtime_period: Int64 = 0
    cpu_realtime_runtime: Int64 = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    devices: list[DeviceMapping] | None = None
    device_cgroup_rules: list[str] | None = None
    device_requests: list[DeviceRequest] | None = None
    kernel_memory: Int64 = field(default=0, until=(1, 42))
    kernel_memory_tcp: Int64 = field(default=0, key="KernelMemoryTCP", omitempty=(1, 42))
    memory_reservation: Int64 = 0
    memory_swap: Int64 = 0
    memory_swappiness: Int64 | None = None
    oom_kill_disable: bool | None = None
    pids_limit: Int64 | None = None
    ulimits: list[Ulimit] | None = None
    cpu_count: Int64 = 0
    cpu_percent: Int64 = 0
    io_maximum_iops: Uint64 = field(default=0, key="IOMaximumIOps")
    io_maximum_bandwidth: Uint64 = field(default=0, key="IOMaximumBandwidth")


class StartAfter(Struct, go="container.StartAfter"):
    """Ours: `container` is a name or an id, `condition` "started" (also ""), "healthy" or "completed"."""

    container: str = ""
    condition: str = ""


class BalancedPort(Struct, go="container.BalancedPort"):
    """Ours: `port` is the container's ("80/tcp"), `host_port` that of the host, which all of one `group` share."""

    group: str = ""
    port: str = ""
    host_ip: str = ""
    host_port: str = ""


class HostConfig(Resources, go="container.HostConfig"):
    """Ours are `net_rate`, limits of the container's traffic (docs/networks.md), `start_after`, what a daemon waits for
    before its own start starts the container, `stored_secrets` (docs/containers.md), and `balanced_ports`, which it
    shares with others (docs/networks.md)."""

    binds: list[str] | None = None
    container_id_file: str = field(default="", key="ContainerIDFile")
    log_config: LogConfig = LogConfig()
    network_mode: NetworkMode = ""
    port_bindings: dict[str, list[PortBinding]] | None = None
    restart_policy: RestartPolicy = RestartPolicy()
    auto_remove: bool = False
    volume_driver: str = ""
    volumes_from: list[str] | None = None
    console_size: ConsoleSize = [0, 0]
    annotations: dict[str, str] | None = field(default=None, omitempty=True, since=(1, 43))
    cap_add: StrSlice | None = None
    cap_drop: StrSlice | None = None
    cgroupns_mode: CgroupnsMode = ""
    dns: list[str] | None = None
    dns_options: list[str] | None = None
    dns_search: list[str] | None = None
    extra_hosts: list[str] | None = None
    group_add: list[str] | None = None
    ipc_mode: IpcMode = ""
    cgroup: CgroupSpec = ""
    links: list[str] | None = None
    oom_score_adj: int = 0
    pid_mode: PidMode = ""
    privileged: bool = False
    publish_all_ports: bool = False
    readonly_rootfs: bool = False
    security_opt: list[str] | None = None
    storage_opt: dict[str, str] | None = field(default=None, omitempty=True)
    tmpfs: dict[str, str] | None = field(default=None, omitempty=True)
    uts_mode: UTSMode = field(default="", key="UTSMode")
    userns_mode: UsernsMode = ""
    shm_size: Int64 = 0
    sysctls: dict[str, str] | None = field(default=None, omitempty=True)
    runtime: str = ""
    isolation: Isolation = ""
    net_rate: str = field(default="", omitempty=True)
    start_after: list[StartAfter] | None = field(default=None, omitempty=True)
    balanced_ports: list[BalancedPort] | None = field(default=None, omitempty=True)
    stored_secrets: list[StoredSecretMount] | None = field(default=None, omitempty=True)
    mounts: list[Mount] | None = field(default=None, omitempty=True)
    masked_paths: list[str] | None = None
    readonly_paths: list[str] | None = None
    init: bool | None = field(default=None, omitempty=True)


class UpdateConfig(Resources, go="container.UpdateConfig"):
    """The body of POST /containers/ID/update; the last three are ours: ports that are published or no longer, and the
    traffic's limits."""

    restart_policy: RestartPolicy = RestartPolicy()
    publish_add: dict[str, list[PortBinding]] | None = None
    publish_rm: dict[str, list[PortBinding]] | None = None
    net_rate: str | None = None
