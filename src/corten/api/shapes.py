"""Docker's bodies across API versions: what old clients send, and what they expect to get."""

from __future__ import annotations

from corten.api.versions import Version
from corten.errors import Invalid
from corten.spec.docker.config import Config, CreateRequest, NetworkingConfig
from corten.spec.docker.host_config import HostConfig
from corten.spec.json import Json

_CGROUPNS = Version(1, 40)
_ENDPOINT_FIELDS = (("DNSNames", Version(1, 44)), ("GwPriority", Version(1, 48)))


def container_config(body: CreateRequest, version: Version) -> tuple[Config, HostConfig, NetworkingConfig]:
    """(Config, HostConfig, NetworkingConfig) of a create request: the last two are members of the first. Raises Invalid
    when there is nothing in it."""
    given = vars(body)
    host, networking = body.host_config or HostConfig(), body.networking_config or NetworkingConfig()
    config = Config(**{name: value for name, value in given.items() if name in Config.FIELDS})
    if not vars(config) and not vars(host):
        raise Invalid("Config cannot be empty in order to create a container")
    if version < _CGROUPNS and not host.cgroupns_mode:
        host = host.replace(cgroupns_mode="host")
    return config, host, networking


def inspect_for(version: Version, shown: Json) -> Json:
    """A container's inspect with the endpoints' fields of this API version."""
    gone = [key for key, since in _ENDPOINT_FIELDS if version < since]
    if gone:
        settings = shown["NetworkSettings"]
        networks = {name: _without(each, *gone) for name, each in settings["Networks"].items()}
        shown["NetworkSettings"] = {**settings, "Networks": networks}
    return shown


def _without(value: Json, *keys: str) -> Json:
    return {key: item for key, item in value.items() if key not in keys}
