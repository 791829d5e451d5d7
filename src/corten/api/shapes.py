"""Docker's bodies across API versions: what old clients send, and what they expect to get."""

from __future__ import annotations

from typing import Any

from corten.api.versions import HEALTH_START_INTERVAL, Version
from corten.errors import Invalid

Json = dict[str, Any]
_ANNOTATIONS = Version(1, 43)
_CGROUPNS = Version(1, 40)
_DNS_NAMES = Version(1, 44)
_KERNEL_MEMORY_GONE = Version(1, 42)


def container_config(body: Json, version: Version) -> tuple[Json, Json, Json]:
    """(Config, HostConfig, NetworkingConfig) of a create request: the last two are members of the first. Invalid."""
    config = dict(body)
    host, networking = config.pop("HostConfig", None), config.pop("NetworkingConfig", None)
    host, networking = {} if host is None else host, {} if networking is None else networking
    if not config and not host:
        raise Invalid("Config cannot be empty in order to create a container")
    if not isinstance(host, dict) or not isinstance(networking, dict):
        raise Invalid("invalid JSON: HostConfig and NetworkingConfig must be objects")
    host = dict(host)
    if version < _ANNOTATIONS:
        host.pop("Annotations", None)
    if version < _CGROUPNS and not host.get("CgroupnsMode"):
        host["CgroupnsMode"] = "host"
    if version >= _KERNEL_MEMORY_GONE:
        host.pop("KernelMemory", None)
    health = config.get("Healthcheck")
    if version < HEALTH_START_INTERVAL and isinstance(health, dict):
        config["Healthcheck"] = {key: value for key, value in health.items() if key != "StartInterval"}
    return config, host, networking


def inspect_for(version: Version, shown: Json) -> Json:
    """A container's inspect as this version knows it."""
    if version < _DNS_NAMES:
        settings = shown["NetworkSettings"]
        networks = {name: _without(n, "DNSNames", "GwPriority") for name, n in settings["Networks"].items()}
        shown["NetworkSettings"] = {**settings, "Networks": networks}
    if version < _ANNOTATIONS:
        shown["HostConfig"] = _without(shown["HostConfig"], "Annotations")
    return shown


def _without(value: Json, *keys: str) -> Json:
    return {key: item for key, item in value.items() if key not in keys}
