"""Inspected objects as Go's typed structs show them to a template, which matters for what is empty.

The daemon leaves some empty fields out and writes others as null; a struct has them all. A null is a nil pointer
(`<nil>`), a nil slice (`[]`) or a nil map (`map[]`) after the type of its field, which is not in JSON, so the names
decide. The field lists follow the API's specification (ContainerInspectResponse, ContainerConfig, HostConfig, ...).
"""

from __future__ import annotations

from corten.cli.gotemplate.printing import Moment, NilList, NilMap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

POINTERS = frozenset(
    "Health Healthcheck Init StopTimeout OomKillDisable PidsLimit MemorySwappiness IPAMConfig BindOptions "
    "VolumeOptions TmpfsOptions ImageOptions DriverConfig SizeRw SizeRootFs ImageManifestDescriptor Container "
    "ContainerConfig Config State HostConfig NetworkSettings UsageData ClusterVolume Descriptor".split()
)
MAPS = frozenset(
    "Labels ExposedPorts Volumes PortBindings Tmpfs Sysctls StorageOpt Annotations DriverOpts Ports Networks Options "
    "Data Containers Status GraphDriverData AuxiliaryAddresses Attributes Details Runtimes IndexConfigs".split()
)
# Maps whose name is elsewhere that of a struct: (the object they belong to, name).
QUALIFIED_MAPS = frozenset((("LogConfig", "Config"),))
# Fields that may be left out, by the object they belong to, with their zero.
OPTIONAL: dict[str, dict[str, Any]] = {
    "container": {"SizeRw": None, "SizeRootFs": None, "ImageManifestDescriptor": None, "Node": None},
    "State": {"Health": None},
    "Config": {
        "ExposedPorts": NilMap(),
        "Healthcheck": None,
        "ArgsEscaped": False,
        "NetworkDisabled": False,
        "MacAddress": "",
        "StopSignal": "",
        "StopTimeout": None,
        "Shell": NilList(),
    },
    "HostConfig": {
        "Annotations": NilMap(),
        "StorageOpt": NilMap(),
        "Tmpfs": NilMap(),
        "Sysctls": NilMap(),
        "Runtime": "",
        "Init": None,
        "Mounts": NilList(),
        "KernelMemory": 0,
        "KernelMemoryTCP": 0,
        "DeviceRequests": NilList(),
    },
    "NetworkSettings": {"SecondaryIPAddresses": NilList(), "SecondaryIPv6Addresses": NilList()},
    "image": {
        "Parent": "",
        "Comment": "",
        "Created": "",
        "DockerVersion": "",
        "Author": "",
        "Variant": "",
        "OsVersion": "",
        "VirtualSize": 0,
        "Config": None,
    },
    "Mount": {"Name": "", "Driver": ""},
    "BindOptions": {"Propagation": "", "NonRecursive": False, "CreateMountpoint": False},
    "volume": {"CreatedAt": "", "Status": NilMap(), "UsageData": None, "ClusterVolume": None},
}


class Typed(dict[str, object]):
    """A struct: a dict whose absent fields have `zeros`. JSON and printing show only what is there.

    A name that is neither there nor among the zeros of a struct that has some is an error, as in Go.
    """

    __slots__ = ("go_name", "zeros")
    zeros: dict[str, Any]
    # The name of Go's type, for objects that Docker never looks at as bare JSON.
    go_name: str


def typed(name: str, value: Any) -> Any:
    """`value`, which is the field `name` (or an object of the kind `name`), with zeros for what is empty."""
    if value is None:
        if name in POINTERS:
            return None
        return NilMap() if name in MAPS else NilList()
    if isinstance(value, list):
        inner = "Mount" if name == "Mounts" else f"{name}[]"
        return [None if one is None else typed(inner, one) for one in value]
    if isinstance(value, dict):
        if name in MAPS:
            return {key: typed(f"{name}[]", one) for key, one in value.items()}
        found = Typed(
            {key: typed("Options" if (name, key) in QUALIFIED_MAPS else key, one) for key, one in value.items()}
        )
        if name == "network" and isinstance(value.get("Created"), str):
            found["Created"] = Moment(value["Created"])
        found.zeros = OPTIONAL.get(name, {})
        return found
    return value


def struct(value: dict[str, Any], go_name: str, zeros: dict[str, Any]) -> Typed:
    """`value` as the struct of that name; other fields than its own and those of `zeros` are errors."""
    found: Typed = typed(go_name, value)
    found.zeros, found.go_name = zeros, go_name
    return found
