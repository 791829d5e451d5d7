"""What services of a project share: networks, volumes, secrets, configs, models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from corten.compose.model.struct import Struct


class IpamPool(Struct, frozen=True, kw_only=True):
    subnet: str = ""
    gateway: str = ""
    ip_range: str = ""
    aux_addresses: Mapping[str, str] = {}


class Ipam(Struct, frozen=True, kw_only=True):
    driver: str = ""
    config: tuple[IpamPool, ...] = ()
    options: Mapping[str, str] = {}


class Network(Struct, frozen=True, kw_only=True):
    embedded: ClassVar[frozenset[str]] = frozenset(("ipam",))

    name: str = ""
    """The engine's name: PROJECT_KEY unless the file gives one."""
    driver: str = ""
    driver_opts: Mapping[str, str] = {}
    ipam: Ipam = Ipam()
    external: bool = False
    """It is there already: neither made nor removed."""
    internal: bool = False
    attachable: bool = False
    labels: Mapping[str, str] = {}
    enable_ipv4: bool | None = None
    enable_ipv6: bool | None = None


class Volume(Struct, frozen=True, kw_only=True):
    name: str = ""
    """The engine's name: PROJECT_KEY unless the file gives one."""
    driver: str = ""
    driver_opts: Mapping[str, str] = {}
    external: bool = False
    labels: Mapping[str, str] = {}


class _FileObject(Struct, frozen=True, kw_only=True):
    name: str = ""
    """PROJECT_KEY unless the file gives one."""
    file: str = ""
    """Absolute path of the host."""
    environment: str = ""
    """The variable of the project's environment whose value it is."""
    content: str = ""
    """The text itself: of `content:`, or the value of `environment`. A secret's is never printed."""
    external: bool = False
    labels: Mapping[str, str] = {}
    driver: str = ""
    driver_opts: Mapping[str, str] = {}
    template_driver: str = ""


class Secret(_FileObject, frozen=True, kw_only=True):
    pass


class Config(_FileObject, frozen=True, kw_only=True):
    pass


class Model(Struct, frozen=True, kw_only=True):
    name: str = ""
    """PROJECT_KEY unless the file gives one."""
    model: str = ""
    """What the model's runner fetches."""
    context_size: int = 0
    runtime_flags: tuple[str, ...] = ()
