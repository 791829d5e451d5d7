"""What a service wants of the machine (`deploy`), devices, and what only a cluster uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from corten.compose.model.scalars import Bytes, Duration
from corten.compose.model.struct import Struct


class DeviceRequest(Struct, frozen=True, kw_only=True):
    """Of `gpus`, and of reservations."""

    capabilities: tuple[str, ...] = ()
    driver: str = ""
    count: int = 0
    """-1 is all."""
    device_ids: tuple[str, ...] = ()
    options: Mapping[str, str] = {}


class DiscreteResource(Struct, frozen=True, kw_only=True):
    always: ClassVar[frozenset[str]] = frozenset(("kind", "value"))

    kind: str = ""
    value: int = 0


class GenericResource(Struct, frozen=True, kw_only=True):
    discrete_resource_spec: DiscreteResource | None = None


class Resource(Struct, frozen=True, kw_only=True):
    cpus: float = 0.0
    """Number of processors."""
    memory: Bytes = Bytes(0)
    pids: int = 0
    devices: tuple[DeviceRequest, ...] = ()
    generic_resources: tuple[GenericResource, ...] = ()


class Resources(Struct, frozen=True, kw_only=True):
    limits: Resource | None = None
    reservations: Resource | None = None


class UpdateConfig(Struct, frozen=True, kw_only=True):
    """No effect on one machine."""

    parallelism: int | None = None
    delay: Duration = Duration(0)
    failure_action: str = ""
    monitor: Duration = Duration(0)
    max_failure_ratio: float = 0.0
    order: str = ""


class RestartPolicy(Struct, frozen=True, kw_only=True):
    condition: str = ""
    """none, on-failure or any; "" is any."""
    delay: Duration | None = None
    max_attempts: int | None = None
    window: Duration | None = None


class PlacementPreference(Struct, frozen=True, kw_only=True):
    spread: str = ""


class Placement(Struct, frozen=True, kw_only=True):
    """No effect on one machine."""

    constraints: tuple[str, ...] = ()
    preferences: tuple[PlacementPreference, ...] = ()
    max_replicas_per_node: int = 0


class Deploy(Struct, frozen=True, kw_only=True):
    embedded: ClassVar[frozenset[str]] = frozenset(("resources", "placement"))

    mode: str = ""
    replicas: int | None = None
    """Ask `Service.replicas`, which has the default."""
    labels: Mapping[str, str] = {}
    update_config: UpdateConfig | None = None
    rollback_config: UpdateConfig | None = None
    resources: Resources = Resources()
    restart_policy: RestartPolicy | None = None
    placement: Placement = Placement()
    endpoint_mode: str = ""
