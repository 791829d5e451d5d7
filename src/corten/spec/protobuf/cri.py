"""Messages of runtime.v1, Kubernetes' Container Runtime Interface, as of Kubernetes 1.37: what of them is for Linux.

Names are the interface's, in snake case. Enumerations are numbers, named where they are used (`Network`, `State`).
What is read and not declared is skipped: SELinux, AppArmor, Windows, pressure figures.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Annotated

from corten.spec.protobuf.codec import Message


class Protocol(IntEnum):
    TCP = 0
    UDP = 1
    SCTP = 2


class Propagation(IntEnum):
    PRIVATE = 0
    HOST_TO_CONTAINER = 1
    BIDIRECTIONAL = 2


class NamespaceMode(IntEnum):
    POD = 0
    CONTAINER = 1
    NODE = 2
    TARGET = 3


class GroupsPolicy(IntEnum):
    MERGE = 0
    STRICT = 1


class ProfileType(IntEnum):
    RUNTIME_DEFAULT = 0
    UNCONFINED = 1
    LOCALHOST = 2


class PodState(IntEnum):
    READY = 0
    NOT_READY = 1


class State(IntEnum):
    CREATED = 0
    RUNNING = 1
    EXITED = 2
    UNKNOWN = 3


class Event(IntEnum):
    CREATED = 0
    STARTED = 1
    STOPPED = 2
    DELETED = 3


class CgroupDriver(IntEnum):
    SYSTEMD = 0
    CGROUPFS = 1


#: Signal by number of the interface, from 1 on; 0 is the runtime's default.
SIGNALS = (
    (
        "ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV STKFLT STOP SYS TERM "
        "TRAP TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ RTMIN"
    ).split()
    + [f"RTMIN+{n}" for n in range(1, 16)]
    + [f"RTMAX-{n}" for n in range(14, 0, -1)]
    + ["RTMAX"]
)


@dataclass(slots=True)
class VersionRequest(Message):
    version: Annotated[str, 1] = ""


@dataclass(slots=True)
class VersionResponse(Message):
    version: Annotated[str, 1] = ""
    runtime_name: Annotated[str, 2] = ""
    runtime_version: Annotated[str, 3] = ""
    runtime_api_version: Annotated[str, 4] = ""


@dataclass(slots=True)
class DNSConfig(Message):
    servers: Annotated[list[str], 1] = field(default_factory=list)
    searches: Annotated[list[str], 2] = field(default_factory=list)
    options: Annotated[list[str], 3] = field(default_factory=list)


@dataclass(slots=True)
class PortMapping(Message):
    protocol: Annotated[int, 1] = 0
    container_port: Annotated[int, 2] = 0
    host_port: Annotated[int, 3] = 0
    host_ip: Annotated[str, 4] = ""


@dataclass(slots=True)
class IDMapping(Message):
    host_id: Annotated[int, 1] = 0
    container_id: Annotated[int, 2] = 0
    length: Annotated[int, 3] = 0


@dataclass(slots=True)
class ImageSpec(Message):
    image: Annotated[str, 1] = ""
    annotations: Annotated[dict[str, str], 2] = field(default_factory=dict)
    user_specified_image: Annotated[str, 18] = ""
    runtime_handler: Annotated[str, 19] = ""
    image_ref: Annotated[str, 20] = ""


@dataclass(slots=True)
class Mount(Message):
    container_path: Annotated[str, 1] = ""
    host_path: Annotated[str, 2] = ""
    readonly: Annotated[bool, 3] = False
    propagation: Annotated[int, 5] = 0
    uid_mappings: Annotated[list[IDMapping], 6] = field(default_factory=list)
    gid_mappings: Annotated[list[IDMapping], 7] = field(default_factory=list)
    recursive_read_only: Annotated[bool, 8] = False
    image: Annotated[ImageSpec | None, 9] = None
    image_sub_path: Annotated[str, 10] = ""
    mount_options: Annotated[list[str], 11] = field(default_factory=list)


@dataclass(slots=True)
class UserNamespace(Message):
    mode: Annotated[int, 1] = 0
    uids: Annotated[list[IDMapping], 2] = field(default_factory=list)
    gids: Annotated[list[IDMapping], 3] = field(default_factory=list)


@dataclass(slots=True)
class NamespaceOption(Message):
    network: Annotated[int, 1] = 0
    pid: Annotated[int, 2] = 0
    ipc: Annotated[int, 3] = 0
    target_id: Annotated[str, 4] = ""
    userns_options: Annotated[UserNamespace | None, 5] = None


@dataclass(slots=True)
class Int64Value(Message):
    value: Annotated[int, 1] = 0


@dataclass(slots=True)
class SecurityProfile(Message):
    profile_type: Annotated[int, 1] = 0
    localhost_ref: Annotated[str, 2] = ""


@dataclass(slots=True)
class LinuxSandboxSecurityContext(Message):
    namespace_options: Annotated[NamespaceOption | None, 1] = None
    run_as_user: Annotated[Int64Value | None, 3] = None
    run_as_group: Annotated[Int64Value | None, 8] = None
    readonly_rootfs: Annotated[bool, 4] = False
    supplemental_groups: Annotated[list[int], 5] = field(default_factory=list)
    supplemental_groups_policy: Annotated[int, 11] = 0
    privileged: Annotated[bool, 6] = False
    seccomp: Annotated[SecurityProfile | None, 9] = None
    seccomp_profile_path: Annotated[str, 7] = ""


@dataclass(slots=True)
class HugepageLimit(Message):
    page_size: Annotated[str, 1] = ""
    limit: Annotated[int, 2] = 0


@dataclass(slots=True)
class LinuxContainerResources(Message):
    cpu_period: Annotated[int, 1] = 0
    cpu_quota: Annotated[int, 2] = 0
    cpu_shares: Annotated[int, 3] = 0
    memory_limit_in_bytes: Annotated[int, 4] = 0
    oom_score_adj: Annotated[int, 5] = 0
    cpuset_cpus: Annotated[str, 6] = ""
    cpuset_mems: Annotated[str, 7] = ""
    hugepage_limits: Annotated[list[HugepageLimit], 8] = field(default_factory=list)
    unified: Annotated[dict[str, str], 9] = field(default_factory=dict)
    memory_swap_limit_in_bytes: Annotated[int, 10] = 0


@dataclass(slots=True)
class LinuxPodSandboxConfig(Message):
    cgroup_parent: Annotated[str, 1] = ""
    security_context: Annotated[LinuxSandboxSecurityContext | None, 2] = None
    sysctls: Annotated[dict[str, str], 3] = field(default_factory=dict)
    overhead: Annotated[LinuxContainerResources | None, 4] = None
    resources: Annotated[LinuxContainerResources | None, 5] = None


@dataclass(slots=True)
class PodSandboxMetadata(Message):
    name: Annotated[str, 1] = ""
    uid: Annotated[str, 2] = ""
    namespace: Annotated[str, 3] = ""
    attempt: Annotated[int, 4] = 0


@dataclass(slots=True)
class PodSandboxConfig(Message):
    metadata: Annotated[PodSandboxMetadata | None, 1] = None
    hostname: Annotated[str, 2] = ""
    log_directory: Annotated[str, 3] = ""
    dns_config: Annotated[DNSConfig | None, 4] = None
    port_mappings: Annotated[list[PortMapping], 5] = field(default_factory=list)
    labels: Annotated[dict[str, str], 6] = field(default_factory=dict)
    annotations: Annotated[dict[str, str], 7] = field(default_factory=dict)
    linux: Annotated[LinuxPodSandboxConfig | None, 8] = None


@dataclass(slots=True)
class RunPodSandboxRequest(Message):
    config: Annotated[PodSandboxConfig | None, 1] = None
    runtime_handler: Annotated[str, 2] = ""


@dataclass(slots=True)
class RunPodSandboxResponse(Message):
    pod_sandbox_id: Annotated[str, 1] = ""


@dataclass(slots=True)
class StopPodSandboxRequest(Message):
    pod_sandbox_id: Annotated[str, 1] = ""


@dataclass(slots=True)
class RemovePodSandboxRequest(Message):
    pod_sandbox_id: Annotated[str, 1] = ""


@dataclass(slots=True)
class PodSandboxStatusRequest(Message):
    pod_sandbox_id: Annotated[str, 1] = ""
    verbose: Annotated[bool, 2] = False


@dataclass(slots=True)
class PodIP(Message):
    ip: Annotated[str, 1] = ""


@dataclass(slots=True)
class PodSandboxNetworkStatus(Message):
    ip: Annotated[str, 1] = ""
    additional_ips: Annotated[list[PodIP], 2] = field(default_factory=list)


@dataclass(slots=True)
class Namespace(Message):
    options: Annotated[NamespaceOption | None, 2] = None


@dataclass(slots=True)
class LinuxPodSandboxStatus(Message):
    namespaces: Annotated[Namespace | None, 1] = None


@dataclass(slots=True)
class PodSandboxStatus(Message):
    id: Annotated[str, 1] = ""
    metadata: Annotated[PodSandboxMetadata | None, 2] = None
    state: Annotated[int, 3] = 0
    created_at: Annotated[int, 4] = 0
    network: Annotated[PodSandboxNetworkStatus | None, 5] = None
    linux: Annotated[LinuxPodSandboxStatus | None, 6] = None
    labels: Annotated[dict[str, str], 7] = field(default_factory=dict)
    annotations: Annotated[dict[str, str], 8] = field(default_factory=dict)
    runtime_handler: Annotated[str, 9] = ""


@dataclass(slots=True)
class ContainerMetadata(Message):
    name: Annotated[str, 1] = ""
    attempt: Annotated[int, 2] = 0


@dataclass(slots=True)
class ContainerResources(Message):
    linux: Annotated[LinuxContainerResources | None, 1] = None


@dataclass(slots=True)
class LinuxContainerUser(Message):
    uid: Annotated[int, 1] = 0
    gid: Annotated[int, 2] = 0
    supplemental_groups: Annotated[list[int], 3] = field(default_factory=list)


@dataclass(slots=True)
class ContainerUser(Message):
    linux: Annotated[LinuxContainerUser | None, 1] = None


@dataclass(slots=True)
class ContainerStatus(Message):
    id: Annotated[str, 1] = ""
    metadata: Annotated[ContainerMetadata | None, 2] = None
    state: Annotated[int, 3] = 0
    created_at: Annotated[int, 4] = 0
    started_at: Annotated[int, 5] = 0
    finished_at: Annotated[int, 6] = 0
    exit_code: Annotated[int, 7] = 0
    image: Annotated[ImageSpec | None, 8] = None
    image_ref: Annotated[str, 9] = ""
    reason: Annotated[str, 10] = ""
    message: Annotated[str, 11] = ""
    labels: Annotated[dict[str, str], 12] = field(default_factory=dict)
    annotations: Annotated[dict[str, str], 13] = field(default_factory=dict)
    mounts: Annotated[list[Mount], 14] = field(default_factory=list)
    log_path: Annotated[str, 15] = ""
    resources: Annotated[ContainerResources | None, 16] = None
    image_id: Annotated[str, 17] = ""
    user: Annotated[ContainerUser | None, 18] = None
    stop_signal: Annotated[int, 19] = 0


@dataclass(slots=True)
class PodSandboxStatusResponse(Message):
    status: Annotated[PodSandboxStatus | None, 1] = None
    info: Annotated[dict[str, str], 2] = field(default_factory=dict)
    containers_statuses: Annotated[list[ContainerStatus], 3] = field(default_factory=list)
    timestamp: Annotated[int, 4] = 0


@dataclass(slots=True)
class PodSandboxStateValue(Message):
    state: Annotated[int, 1] = 0


@dataclass(slots=True)
class PodSandboxFilter(Message):
    id: Annotated[str, 1] = ""
    state: Annotated[PodSandboxStateValue | None, 2] = None
    label_selector: Annotated[dict[str, str], 3] = field(default_factory=dict)


@dataclass(slots=True)
class ListPodSandboxRequest(Message):
    filter: Annotated[PodSandboxFilter | None, 1] = None


@dataclass(slots=True)
class PodSandbox(Message):
    id: Annotated[str, 1] = ""
    metadata: Annotated[PodSandboxMetadata | None, 2] = None
    state: Annotated[int, 3] = 0
    created_at: Annotated[int, 4] = 0
    labels: Annotated[dict[str, str], 5] = field(default_factory=dict)
    annotations: Annotated[dict[str, str], 6] = field(default_factory=dict)
    runtime_handler: Annotated[str, 7] = ""


@dataclass(slots=True)
class ListPodSandboxResponse(Message):
    items: Annotated[list[PodSandbox], 1] = field(default_factory=list)


@dataclass(slots=True)
class PodSandboxStatsRequest(Message):
    pod_sandbox_id: Annotated[str, 1] = ""


@dataclass(slots=True)
class PodSandboxAttributes(Message):
    id: Annotated[str, 1] = ""
    metadata: Annotated[PodSandboxMetadata | None, 2] = None
    labels: Annotated[dict[str, str], 3] = field(default_factory=dict)
    annotations: Annotated[dict[str, str], 4] = field(default_factory=dict)


@dataclass(slots=True)
class UInt64Value(Message):
    value: Annotated[int, 1] = 0


@dataclass(slots=True)
class CpuUsage(Message):
    timestamp: Annotated[int, 1] = 0
    usage_core_nano_seconds: Annotated[UInt64Value | None, 2] = None
    usage_nano_cores: Annotated[UInt64Value | None, 3] = None


@dataclass(slots=True)
class MemoryUsage(Message):
    timestamp: Annotated[int, 1] = 0
    working_set_bytes: Annotated[UInt64Value | None, 2] = None
    available_bytes: Annotated[UInt64Value | None, 3] = None
    usage_bytes: Annotated[UInt64Value | None, 4] = None
    rss_bytes: Annotated[UInt64Value | None, 5] = None
    page_faults: Annotated[UInt64Value | None, 6] = None
    major_page_faults: Annotated[UInt64Value | None, 7] = None


@dataclass(slots=True)
class NetworkInterfaceUsage(Message):
    name: Annotated[str, 1] = ""
    rx_bytes: Annotated[UInt64Value | None, 2] = None
    rx_errors: Annotated[UInt64Value | None, 3] = None
    tx_bytes: Annotated[UInt64Value | None, 4] = None
    tx_errors: Annotated[UInt64Value | None, 5] = None


@dataclass(slots=True)
class NetworkUsage(Message):
    timestamp: Annotated[int, 1] = 0
    default_interface: Annotated[NetworkInterfaceUsage | None, 2] = None
    interfaces: Annotated[list[NetworkInterfaceUsage], 3] = field(default_factory=list)


@dataclass(slots=True)
class ProcessUsage(Message):
    timestamp: Annotated[int, 1] = 0
    process_count: Annotated[UInt64Value | None, 2] = None


@dataclass(slots=True)
class ContainerAttributes(Message):
    id: Annotated[str, 1] = ""
    metadata: Annotated[ContainerMetadata | None, 2] = None
    labels: Annotated[dict[str, str], 3] = field(default_factory=dict)
    annotations: Annotated[dict[str, str], 4] = field(default_factory=dict)


@dataclass(slots=True)
class FilesystemIdentifier(Message):
    mountpoint: Annotated[str, 1] = ""


@dataclass(slots=True)
class FilesystemUsage(Message):
    timestamp: Annotated[int, 1] = 0
    fs_id: Annotated[FilesystemIdentifier | None, 2] = None
    used_bytes: Annotated[UInt64Value | None, 3] = None
    inodes_used: Annotated[UInt64Value | None, 4] = None


@dataclass(slots=True)
class SwapUsage(Message):
    timestamp: Annotated[int, 1] = 0
    swap_available_bytes: Annotated[UInt64Value | None, 2] = None
    swap_usage_bytes: Annotated[UInt64Value | None, 3] = None


@dataclass(slots=True)
class ContainerStats(Message):
    attributes: Annotated[ContainerAttributes | None, 1] = None
    cpu: Annotated[CpuUsage | None, 2] = None
    memory: Annotated[MemoryUsage | None, 3] = None
    writable_layer: Annotated[FilesystemUsage | None, 4] = None
    swap: Annotated[SwapUsage | None, 5] = None


@dataclass(slots=True)
class LinuxPodSandboxStats(Message):
    cpu: Annotated[CpuUsage | None, 1] = None
    memory: Annotated[MemoryUsage | None, 2] = None
    network: Annotated[NetworkUsage | None, 3] = None
    process: Annotated[ProcessUsage | None, 4] = None
    containers: Annotated[list[ContainerStats], 5] = field(default_factory=list)


@dataclass(slots=True)
class PodSandboxStats(Message):
    attributes: Annotated[PodSandboxAttributes | None, 1] = None
    linux: Annotated[LinuxPodSandboxStats | None, 2] = None


@dataclass(slots=True)
class PodSandboxStatsResponse(Message):
    stats: Annotated[PodSandboxStats | None, 1] = None


@dataclass(slots=True)
class PodSandboxStatsFilter(Message):
    id: Annotated[str, 1] = ""
    label_selector: Annotated[dict[str, str], 2] = field(default_factory=dict)


@dataclass(slots=True)
class ListPodSandboxStatsRequest(Message):
    filter: Annotated[PodSandboxStatsFilter | None, 1] = None


@dataclass(slots=True)
class ListPodSandboxStatsResponse(Message):
    stats: Annotated[list[PodSandboxStats], 1] = field(default_factory=list)


@dataclass(slots=True)
class KeyValue(Message):
    key: Annotated[str, 1] = ""
    value: Annotated[bytes, 2] = b""


@dataclass(slots=True)
class Capability(Message):
    add_capabilities: Annotated[list[str], 1] = field(default_factory=list)
    drop_capabilities: Annotated[list[str], 2] = field(default_factory=list)
    add_ambient_capabilities: Annotated[list[str], 3] = field(default_factory=list)


@dataclass(slots=True)
class LinuxContainerSecurityContext(Message):
    capabilities: Annotated[Capability | None, 1] = None
    privileged: Annotated[bool, 2] = False
    namespace_options: Annotated[NamespaceOption | None, 3] = None
    run_as_user: Annotated[Int64Value | None, 5] = None
    run_as_group: Annotated[Int64Value | None, 12] = None
    run_as_username: Annotated[str, 6] = ""
    readonly_rootfs: Annotated[bool, 7] = False
    supplemental_groups: Annotated[list[int], 8] = field(default_factory=list)
    supplemental_groups_policy: Annotated[int, 17] = 0
    no_new_privs: Annotated[bool, 11] = False
    masked_paths: Annotated[list[str], 13] = field(default_factory=list)
    readonly_paths: Annotated[list[str], 14] = field(default_factory=list)
    seccomp: Annotated[SecurityProfile | None, 15] = None
    seccomp_profile_path: Annotated[str, 10] = ""


@dataclass(slots=True)
class LinuxContainerConfig(Message):
    resources: Annotated[LinuxContainerResources | None, 1] = None
    security_context: Annotated[LinuxContainerSecurityContext | None, 2] = None


@dataclass(slots=True)
class Device(Message):
    container_path: Annotated[str, 1] = ""
    host_path: Annotated[str, 2] = ""
    permissions: Annotated[str, 3] = ""


@dataclass(slots=True)
class CDIDevice(Message):
    name: Annotated[str, 1] = ""


@dataclass(slots=True)
class ContainerConfig(Message):
    metadata: Annotated[ContainerMetadata | None, 1] = None
    image: Annotated[ImageSpec | None, 2] = None
    command: Annotated[list[str], 3] = field(default_factory=list)
    args: Annotated[list[str], 4] = field(default_factory=list)
    working_dir: Annotated[str, 5] = ""
    envs: Annotated[list[KeyValue], 6] = field(default_factory=list)
    mounts: Annotated[list[Mount], 7] = field(default_factory=list)
    devices: Annotated[list[Device], 8] = field(default_factory=list)
    labels: Annotated[dict[str, str], 9] = field(default_factory=dict)
    annotations: Annotated[dict[str, str], 10] = field(default_factory=dict)
    log_path: Annotated[str, 11] = ""
    stdin: Annotated[bool, 12] = False
    stdin_once: Annotated[bool, 13] = False
    tty: Annotated[bool, 14] = False
    linux: Annotated[LinuxContainerConfig | None, 15] = None
    cdi_devices: Annotated[list[CDIDevice], 17] = field(default_factory=list)
    stop_signal: Annotated[int, 18] = 0


@dataclass(slots=True)
class CreateContainerRequest(Message):
    pod_sandbox_id: Annotated[str, 1] = ""
    config: Annotated[ContainerConfig | None, 2] = None
    sandbox_config: Annotated[PodSandboxConfig | None, 3] = None


@dataclass(slots=True)
class CreateContainerResponse(Message):
    container_id: Annotated[str, 1] = ""


@dataclass(slots=True)
class StartContainerRequest(Message):
    container_id: Annotated[str, 1] = ""


@dataclass(slots=True)
class StopContainerRequest(Message):
    container_id: Annotated[str, 1] = ""
    timeout: Annotated[int, 2] = 0


@dataclass(slots=True)
class RemoveContainerRequest(Message):
    container_id: Annotated[str, 1] = ""


@dataclass(slots=True)
class ContainerStateValue(Message):
    state: Annotated[int, 1] = 0


@dataclass(slots=True)
class ContainerFilter(Message):
    id: Annotated[str, 1] = ""
    state: Annotated[ContainerStateValue | None, 2] = None
    pod_sandbox_id: Annotated[str, 3] = ""
    label_selector: Annotated[dict[str, str], 4] = field(default_factory=dict)


@dataclass(slots=True)
class ListContainersRequest(Message):
    filter: Annotated[ContainerFilter | None, 1] = None


@dataclass(slots=True)
class Container(Message):
    id: Annotated[str, 1] = ""
    pod_sandbox_id: Annotated[str, 2] = ""
    metadata: Annotated[ContainerMetadata | None, 3] = None
    image: Annotated[ImageSpec | None, 4] = None
    image_ref: Annotated[str, 5] = ""
    state: Annotated[int, 6] = 0
    created_at: Annotated[int, 7] = 0
    labels: Annotated[dict[str, str], 8] = field(default_factory=dict)
    annotations: Annotated[dict[str, str], 9] = field(default_factory=dict)
    image_id: Annotated[str, 10] = ""


@dataclass(slots=True)
class ListContainersResponse(Message):
    containers: Annotated[list[Container], 1] = field(default_factory=list)


@dataclass(slots=True)
class ContainerStatusRequest(Message):
    container_id: Annotated[str, 1] = ""
    verbose: Annotated[bool, 2] = False


@dataclass(slots=True)
class ContainerStatusResponse(Message):
    status: Annotated[ContainerStatus | None, 1] = None
    info: Annotated[dict[str, str], 2] = field(default_factory=dict)


@dataclass(slots=True)
class UpdateContainerResourcesRequest(Message):
    container_id: Annotated[str, 1] = ""
    linux: Annotated[LinuxContainerResources | None, 2] = None
    annotations: Annotated[dict[str, str], 4] = field(default_factory=dict)


@dataclass(slots=True)
class ExecSyncRequest(Message):
    container_id: Annotated[str, 1] = ""
    cmd: Annotated[list[str], 2] = field(default_factory=list)
    timeout: Annotated[int, 3] = 0


@dataclass(slots=True)
class ExecSyncResponse(Message):
    stdout: Annotated[bytes, 1] = b""
    stderr: Annotated[bytes, 2] = b""
    exit_code: Annotated[int, 3] = 0


@dataclass(slots=True)
class ExecRequest(Message):
    container_id: Annotated[str, 1] = ""
    cmd: Annotated[list[str], 2] = field(default_factory=list)
    tty: Annotated[bool, 3] = False
    stdin: Annotated[bool, 4] = False
    stdout: Annotated[bool, 5] = False
    stderr: Annotated[bool, 6] = False


@dataclass(slots=True)
class ExecResponse(Message):
    url: Annotated[str, 1] = ""


@dataclass(slots=True)
class AttachRequest(Message):
    container_id: Annotated[str, 1] = ""
    stdin: Annotated[bool, 2] = False
    tty: Annotated[bool, 3] = False
    stdout: Annotated[bool, 4] = False
    stderr: Annotated[bool, 5] = False


@dataclass(slots=True)
class AttachResponse(Message):
    url: Annotated[str, 1] = ""


@dataclass(slots=True)
class PortForwardRequest(Message):
    pod_sandbox_id: Annotated[str, 1] = ""
    port: Annotated[list[int], 2] = field(default_factory=list)


@dataclass(slots=True)
class PortForwardResponse(Message):
    url: Annotated[str, 1] = ""


@dataclass(slots=True)
class ImageFilter(Message):
    image: Annotated[ImageSpec | None, 1] = None


@dataclass(slots=True)
class ListImagesRequest(Message):
    filter: Annotated[ImageFilter | None, 1] = None


@dataclass(slots=True)
class Image(Message):
    id: Annotated[str, 1] = ""
    repo_tags: Annotated[list[str], 2] = field(default_factory=list)
    repo_digests: Annotated[list[str], 3] = field(default_factory=list)
    size: Annotated[int, 4] = 0
    uid: Annotated[Int64Value | None, 5] = None
    username: Annotated[str, 6] = ""
    spec: Annotated[ImageSpec | None, 7] = None
    pinned: Annotated[bool, 8] = False


@dataclass(slots=True)
class ListImagesResponse(Message):
    images: Annotated[list[Image], 1] = field(default_factory=list)


@dataclass(slots=True)
class ImageStatusRequest(Message):
    image: Annotated[ImageSpec | None, 1] = None
    verbose: Annotated[bool, 2] = False


@dataclass(slots=True)
class ImageStatusResponse(Message):
    image: Annotated[Image | None, 1] = None
    info: Annotated[dict[str, str], 2] = field(default_factory=dict)


@dataclass(slots=True)
class AuthConfig(Message):
    username: Annotated[str, 1] = ""
    password: Annotated[str, 2] = ""
    auth: Annotated[str, 3] = ""
    server_address: Annotated[str, 4] = ""
    identity_token: Annotated[str, 5] = ""
    registry_token: Annotated[str, 6] = ""


@dataclass(slots=True)
class PullImageRequest(Message):
    image: Annotated[ImageSpec | None, 1] = None
    auth: Annotated[AuthConfig | None, 2] = None
    sandbox_config: Annotated[PodSandboxConfig | None, 3] = None


@dataclass(slots=True)
class PullImageResponse(Message):
    image_ref: Annotated[str, 1] = ""


@dataclass(slots=True)
class RemoveImageRequest(Message):
    image: Annotated[ImageSpec | None, 1] = None


@dataclass(slots=True)
class RuntimeCondition(Message):
    type: Annotated[str, 1] = ""
    status: Annotated[bool, 2] = False
    reason: Annotated[str, 3] = ""
    message: Annotated[str, 4] = ""


@dataclass(slots=True)
class RuntimeStatus(Message):
    conditions: Annotated[list[RuntimeCondition], 1] = field(default_factory=list)


@dataclass(slots=True)
class StatusRequest(Message):
    verbose: Annotated[bool, 1] = False


@dataclass(slots=True)
class RuntimeHandlerFeatures(Message):
    recursive_read_only_mounts: Annotated[bool, 1] = False
    user_namespaces: Annotated[bool, 2] = False


@dataclass(slots=True)
class RuntimeHandler(Message):
    name: Annotated[str, 1] = ""
    features: Annotated[RuntimeHandlerFeatures | None, 2] = None


@dataclass(slots=True)
class RuntimeFeatures(Message):
    supplemental_groups_policy: Annotated[bool, 1] = False
    user_namespaces_host_network: Annotated[bool, 2] = False
    mount_options: Annotated[bool, 3] = False


@dataclass(slots=True)
class StatusResponse(Message):
    status: Annotated[RuntimeStatus | None, 1] = None
    info: Annotated[dict[str, str], 2] = field(default_factory=dict)
    runtime_handlers: Annotated[list[RuntimeHandler], 3] = field(default_factory=list)
    features: Annotated[RuntimeFeatures | None, 4] = None


@dataclass(slots=True)
class ImageFsInfoResponse(Message):
    image_filesystems: Annotated[list[FilesystemUsage], 1] = field(default_factory=list)
    container_filesystems: Annotated[list[FilesystemUsage], 2] = field(default_factory=list)


@dataclass(slots=True)
class ContainerStatsRequest(Message):
    container_id: Annotated[str, 1] = ""


@dataclass(slots=True)
class ContainerStatsResponse(Message):
    stats: Annotated[ContainerStats | None, 1] = None


@dataclass(slots=True)
class ContainerStatsFilter(Message):
    id: Annotated[str, 1] = ""
    pod_sandbox_id: Annotated[str, 2] = ""
    label_selector: Annotated[dict[str, str], 3] = field(default_factory=dict)


@dataclass(slots=True)
class ListContainerStatsRequest(Message):
    filter: Annotated[ContainerStatsFilter | None, 1] = None


@dataclass(slots=True)
class ListContainerStatsResponse(Message):
    stats: Annotated[list[ContainerStats], 1] = field(default_factory=list)


@dataclass(slots=True)
class ReopenContainerLogRequest(Message):
    container_id: Annotated[str, 1] = ""


@dataclass(slots=True)
class ContainerEventResponse(Message):
    container_id: Annotated[str, 1] = ""
    container_event_type: Annotated[int, 2] = 0
    created_at: Annotated[int, 3] = 0
    pod_sandbox_status: Annotated[PodSandboxStatus | None, 4] = None
    containers_statuses: Annotated[list[ContainerStatus], 5] = field(default_factory=list)


@dataclass(slots=True)
class MetricDescriptor(Message):
    name: Annotated[str, 1] = ""
    help: Annotated[str, 2] = ""
    label_keys: Annotated[list[str], 3] = field(default_factory=list)


@dataclass(slots=True)
class ListMetricDescriptorsResponse(Message):
    descriptors: Annotated[list[MetricDescriptor], 1] = field(default_factory=list)


@dataclass(slots=True)
class Metric(Message):
    name: Annotated[str, 1] = ""
    timestamp: Annotated[int, 2] = 0
    metric_type: Annotated[int, 3] = 0
    label_values: Annotated[list[str], 4] = field(default_factory=list)
    value: Annotated[UInt64Value | None, 5] = None


@dataclass(slots=True)
class ContainerMetrics(Message):
    container_id: Annotated[str, 1] = ""
    metrics: Annotated[list[Metric], 2] = field(default_factory=list)


@dataclass(slots=True)
class PodSandboxMetrics(Message):
    pod_sandbox_id: Annotated[str, 1] = ""
    metrics: Annotated[list[Metric], 2] = field(default_factory=list)
    container_metrics: Annotated[list[ContainerMetrics], 3] = field(default_factory=list)


@dataclass(slots=True)
class ListPodSandboxMetricsResponse(Message):
    pod_metrics: Annotated[list[PodSandboxMetrics], 1] = field(default_factory=list)


@dataclass(slots=True)
class LinuxRuntimeConfiguration(Message):
    cgroup_driver: Annotated[int, 1] = 0


@dataclass(slots=True)
class RuntimeConfigResponse(Message):
    linux: Annotated[LinuxRuntimeConfiguration | None, 1] = None


@dataclass(slots=True)
class UpdatePodSandboxResourcesRequest(Message):
    pod_sandbox_id: Annotated[str, 1] = ""
    overhead: Annotated[LinuxContainerResources | None, 2] = None
    resources: Annotated[LinuxContainerResources | None, 3] = None


@dataclass(slots=True)
class Empty(Message):
    """Requests and answers without fields."""
