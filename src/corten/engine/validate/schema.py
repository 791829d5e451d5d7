"""Docker's create and update requests as tables of JSON types, with the names of its Go structures."""

from __future__ import annotations

from typing import Any

from corten.engine.validate.types import check_type
from corten.spec.go_types import (
    BOOL,
    INT,
    INT64,
    STRING,
    STRINGS,
    TEXTS,
    UINT16,
    UINT32,
    UINT64,
    WORDS,
    Items,
    Number,
    Plain,
    Record,
    Table,
    Type,
)
from corten.spec.image_config import CONFIG

_DRIVER = Record("Driver", "mount.Driver", {"Name": STRING, "Options": TEXTS})
_MOUNT = Record(
    "Mount",
    "mount.Mount",
    {
        "Type": Plain("mount.Type"),
        "Source": STRING,
        "Target": STRING,
        "ReadOnly": BOOL,
        "Consistency": STRING,
        "BindOptions": Record(
            "BindOptions",
            "mount.BindOptions",
            {
                "Propagation": Plain("mount.Propagation"),
                "NonRecursive": BOOL,
                "CreateMountpoint": BOOL,
                "ReadOnlyNonRecursive": BOOL,
                "ReadOnlyForceRecursive": BOOL,
            },
        ),
        "VolumeOptions": Record(
            "VolumeOptions",
            "mount.VolumeOptions",
            {"NoCopy": BOOL, "Labels": TEXTS, "DriverConfig": _DRIVER, "Subpath": STRING},
        ),
        "ImageOptions": Record("ImageOptions", "mount.ImageOptions", {"Subpath": STRING}),
        "TmpfsOptions": Record(
            "TmpfsOptions",
            "mount.TmpfsOptions",
            {"SizeBytes": INT64, "Mode": UINT32, "Options": Items(STRINGS, "[][]string")},
        ),
    },
)
_DEVICE = Record(
    "DeviceMapping",
    "container.DeviceMapping",
    {"PathOnHost": STRING, "PathInContainer": STRING, "CgroupPermissions": STRING},
)
_REQUEST = Record(
    "DeviceRequest",
    "container.DeviceRequest",
    {
        "Driver": STRING,
        "Count": INT,
        "DeviceIDs": STRINGS,
        "Capabilities": Items(STRINGS, "[][]string"),
        "Options": TEXTS,
    },
)
_BINDING = Record("PortBinding", "nat.PortBinding", {"HostIp": STRING, "HostPort": STRING})
_BINDINGS = Table(Items(_BINDING, "[]nat.PortBinding"), "nat.PortMap")
_WEIGHTS = Items(
    Record("WeightDevice", "blkiodev.WeightDevice", {"Path": STRING, "Weight": UINT16}), "[]*blkiodev.WeightDevice"
)
_RATES = Items(
    Record("ThrottleDevice", "blkiodev.ThrottleDevice", {"Path": STRING, "Rate": UINT64}), "[]*blkiodev.ThrottleDevice"
)
_ULIMITS = Items(Record("Ulimit", "units.Ulimit", {"Name": STRING, "Soft": INT64, "Hard": INT64}), "[]*units.Ulimit")
_RESTART = Record("RestartPolicy", "container.RestartPolicy", {"Name": STRING, "MaximumRetryCount": INT})

RESOURCES: dict[str, Type] = {
    "CpuShares": INT64,
    "Memory": INT64,
    "NanoCpus": INT64,
    "CgroupParent": STRING,
    "BlkioWeight": UINT16,
    "BlkioWeightDevice": _WEIGHTS,
    "BlkioDeviceReadBps": _RATES,
    "BlkioDeviceWriteBps": _RATES,
    "BlkioDeviceReadIOps": _RATES,
    "BlkioDeviceWriteIOps": _RATES,
    "CpuPeriod": INT64,
    "CpuQuota": INT64,
    "CpuRealtimePeriod": INT64,
    "CpuRealtimeRuntime": INT64,
    "CpusetCpus": STRING,
    "CpusetMems": STRING,
    "Devices": Items(_DEVICE, "[]container.DeviceMapping"),
    "DeviceCgroupRules": STRINGS,
    "DeviceRequests": Items(_REQUEST, "[]container.DeviceRequest"),
    "KernelMemory": INT64,
    "KernelMemoryTCP": INT64,
    "MemoryReservation": INT64,
    "MemorySwap": INT64,
    "MemorySwappiness": INT64,
    "OomKillDisable": BOOL,
    "PidsLimit": INT64,
    "Ulimits": _ULIMITS,
    "CpuCount": INT64,
    "CpuPercent": INT64,
    "IOMaximumIOps": UINT64,
    "IOMaximumBandwidth": UINT64,
}
HOST_CONFIG = Record(
    "HostConfig",
    "container.HostConfig",
    {
        **RESOURCES,
        "Binds": STRINGS,
        "ContainerIDFile": STRING,
        "LogConfig": Record("LogConfig", "container.LogConfig", {"Type": STRING, "Config": TEXTS}),
        "NetRate": STRING,
        "NetworkMode": Plain("container.NetworkMode"),
        "PortBindings": _BINDINGS,
        "RestartPolicy": _RESTART,
        "AutoRemove": BOOL,
        "VolumeDriver": STRING,
        "VolumesFrom": STRINGS,
        "ConsoleSize": Items(Number("uint", 0, 2**64 - 1), "[2]uint"),
        "Annotations": TEXTS,
        "CapAdd": WORDS,
        "CapDrop": WORDS,
        "CgroupnsMode": Plain("container.CgroupnsMode"),
        "Dns": STRINGS,
        "DnsOptions": STRINGS,
        "DnsSearch": STRINGS,
        "ExtraHosts": STRINGS,
        "GroupAdd": STRINGS,
        "IpcMode": Plain("container.IpcMode"),
        "Cgroup": Plain("container.CgroupSpec"),
        "Links": STRINGS,
        "OomScoreAdj": INT,
        "PidMode": Plain("container.PidMode"),
        "Privileged": BOOL,
        "PublishAllPorts": BOOL,
        "ReadonlyRootfs": BOOL,
        "SecurityOpt": STRINGS,
        "StorageOpt": TEXTS,
        "Tmpfs": TEXTS,
        "UTSMode": Plain("container.UTSMode"),
        "UsernsMode": Plain("container.UsernsMode"),
        "ShmSize": INT64,
        "Sysctls": TEXTS,
        "Runtime": STRING,
        "Isolation": Plain("container.Isolation"),
        "Mounts": Items(_MOUNT, "[]mount.Mount"),
        "MaskedPaths": STRINGS,
        "ReadonlyPaths": STRINGS,
        "Init": BOOL,
    },
)
_IPAM = Record(
    "EndpointIPAMConfig",
    "network.EndpointIPAMConfig",
    {"IPv4Address": STRING, "IPv6Address": STRING, "LinkLocalIPs": STRINGS},
)
_ENDPOINT = Record(
    "EndpointSettings",
    "network.EndpointSettings",
    {
        "IPAMConfig": _IPAM,
        "Links": STRINGS,
        "Aliases": STRINGS,
        "MacAddress": STRING,
        "DriverOpts": TEXTS,
        "GwPriority": INT,
    },
)
NETWORKING = Record(
    "NetworkingConfig",
    "network.NetworkingConfig",
    {"EndpointsConfig": Table(_ENDPOINT, "map[string]*network.EndpointSettings")},
)
EXEC = Record(
    "ExecConfig",
    "types.ExecConfig",
    {
        "User": STRING,
        "Privileged": BOOL,
        "Tty": BOOL,
        "ConsoleSize": Items(Number("uint", 0, 2**64 - 1), "[2]uint"),
        "AttachStdin": BOOL,
        "AttachStderr": BOOL,
        "AttachStdout": BOOL,
        "Detach": BOOL,
        "DetachKeys": STRING,
        "Env": STRINGS,
        "WorkingDir": STRING,
        "Cmd": STRINGS,
    },
)
_PUBLISHED = {"PublishAdd": _BINDINGS, "PublishRm": _BINDINGS}  # ours
UPDATE = Record(
    "UpdateConfig", "container.UpdateConfig", {**RESOURCES, **_PUBLISHED, "RestartPolicy": _RESTART, "NetRate": STRING}
)

_IPAM_CONFIG = Record(
    "IPAMConfig",
    "network.IPAMConfig",
    {"Subnet": STRING, "IPRange": STRING, "Gateway": STRING, "AuxiliaryAddresses": TEXTS, "AuxAddress": TEXTS},
)
_IPAM_REQUEST = Record(
    "IPAM",
    "network.IPAM",
    {"Driver": STRING, "Options": TEXTS, "Config": Items(_IPAM_CONFIG, "[]network.IPAMConfig")},
)
NETWORK = Record(
    "CreateRequest",
    "network.CreateRequest",
    {
        "Name": STRING,
        "CheckDuplicate": BOOL,
        "Driver": STRING,
        "Scope": STRING,
        "EnableIPv4": BOOL,
        "EnableIPv6": BOOL,
        "IPAM": _IPAM_REQUEST,
        "Internal": BOOL,
        "Attachable": BOOL,
        "Ingress": BOOL,
        "ConfigOnly": BOOL,
        "ConfigFrom": Record("ConfigReference", "network.ConfigReference", {"Network": STRING}),
        "Options": TEXTS,
        "Labels": TEXTS,
    },
)
CONNECT = Record("ConnectOptions", "network.ConnectOptions", {"Container": STRING, "EndpointConfig": _ENDPOINT})
DISCONNECT = Record("DisconnectOptions", "network.DisconnectOptions", {"Container": STRING, "Force": BOOL})
VOLUME = Record(
    "CreateOptions",
    "volume.CreateOptions",
    {"Name": STRING, "Driver": STRING, "DriverOpts": TEXTS, "Labels": TEXTS},
)
EXEC_START = Record(
    "ExecStartOptions",
    "container.ExecStartOptions",
    {"Detach": BOOL, "Tty": BOOL, "ConsoleSize": Items(Number("uint", 0, 2**64 - 1), "[2]uint")},
)
AUTH = Record(
    "AuthConfig",
    "registry.AuthConfig",
    dict.fromkeys(("username", "password", "auth", "email", "serveraddress", "identitytoken", "registrytoken"), STRING),
)
CREATE = Record(
    "CreateRequest",
    "container.CreateRequest",
    {**CONFIG.fields, "HostConfig": HOST_CONFIG, "NetworkingConfig": NETWORKING},
)


_WRAPPER = CONFIG._replace(name="ContainerConfigWrapper")  # the request's body is the configuration and more


def check_types(config: Any, host_config: Any, networking: Any) -> None:
    """The three parts of a create body. Invalid in the words of Go's decoder."""
    check_type(config, _WRAPPER, "ContainerConfigWrapper", "")
    check_type(host_config, HOST_CONFIG, "ContainerConfigWrapper", "HostConfig")
    check_type(networking, NETWORKING, "ContainerConfigWrapper", "NetworkingConfig")


def check_image_config(config: Any) -> None:
    """An image's config, before it is merged. Its types were checked when it came here; texts that a container cannot
    have (a NUL, a megabyte) may be in it, for dockerd loads them as well."""
    check_type(config, CONFIG, "ImageConfig", "")


def check_update_types(body: Any) -> None:
    check_type(body, UPDATE, "UpdateConfig", "")


def check_exec_types(body: Any) -> None:
    check_type(body, EXEC, "ExecConfig", "")


def check_network_types(body: Any) -> None:
    check_type(body, NETWORK, "CreateRequest", "")


def check_connect_types(body: Any) -> None:
    check_type(body, CONNECT, "ConnectOptions", "")


def check_auth_types(body: Any) -> None:
    check_type(body, AUTH, "AuthConfig", "")


def check_exec_start_types(body: Any) -> None:
    check_type(body, EXEC_START, "ExecStartOptions", "")


def check_commit_types(body: Any) -> None:
    check_type(body, _WRAPPER, "ContainerConfigWrapper", "")


def check_disconnect_types(body: Any) -> None:
    check_type(body, DISCONNECT, "DisconnectOptions", "")
