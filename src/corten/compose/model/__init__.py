"""A Compose project as values, after everything was read, merged and normalised.

Every type is a frozen struct whose attributes have the names of the file's keys, in the order in which `config` prints
them. A key that was not given has the default written here; `None` is "not given" where that differs from the zero
value. Short forms are gone: ports, volumes, devices, secrets, networks and dependencies have their long form, sizes are
bytes, lengths of time are nanoseconds, paths are absolute. `extensions` has the keys that begin with x-.

    project = load(Options(...))                                  # corten.compose.loader
    for service in project.services.values():
        service.ports[0].published                               # "8080"
        service.healthcheck.interval                             # Duration(90_000_000_000), prints as 1m30s
"""

from __future__ import annotations

from corten.compose.model.build import Build, SshKey, Ulimit
from corten.compose.model.deploy import (
    Deploy,
    DeviceRequest,
    DiscreteResource,
    GenericResource,
    Placement,
    PlacementPreference,
    Resource,
    Resources,
    RestartPolicy,
    UpdateConfig,
)
from corten.compose.model.develop import Develop, Hook, Trigger
from corten.compose.model.files import FileReference
from corten.compose.model.project import Position, Project
from corten.compose.model.resources import Config, Ipam, IpamPool, Model, Network, Secret, Volume
from corten.compose.model.scalars import Bytes, Duration, FileMode
from corten.compose.model.service import (
    CredentialSpec,
    DependsOn,
    EnvFile,
    Healthcheck,
    Logging,
    Port,
    Provider,
    Service,
    ServiceModel,
    ServiceNetwork,
)
from corten.compose.model.struct import Struct
from corten.compose.model.throttling import Blkio, ThrottleDevice, WeightDevice
from corten.compose.model.volumes import Device, ServiceVolume, VolumeBind, VolumeImage, VolumeOptions, VolumeTmpfs

__all__ = [
    "Blkio",
    "Build",
    "Bytes",
    "Config",
    "CredentialSpec",
    "DependsOn",
    "Deploy",
    "Develop",
    "Device",
    "DeviceRequest",
    "DiscreteResource",
    "Duration",
    "EnvFile",
    "FileMode",
    "FileReference",
    "GenericResource",
    "Healthcheck",
    "Hook",
    "Ipam",
    "IpamPool",
    "Logging",
    "Model",
    "Network",
    "Placement",
    "PlacementPreference",
    "Port",
    "Position",
    "Project",
    "Provider",
    "Resource",
    "Resources",
    "RestartPolicy",
    "Secret",
    "Service",
    "ServiceModel",
    "ServiceNetwork",
    "ServiceVolume",
    "SshKey",
    "Struct",
    "ThrottleDevice",
    "Trigger",
    "Ulimit",
    "UpdateConfig",
    "Volume",
    "VolumeBind",
    "VolumeImage",
    "VolumeOptions",
    "VolumeTmpfs",
    "WeightDevice",
]
