"""Answers in the shape of older API versions. The engine gives those of the newest: what a version did not have is left
out here, and what it had is added. tests/e2e/test_api_versions_like_dockerd.py holds the keys to dockerd's."""

from __future__ import annotations

from collections.abc import Iterable

from corten.api.versions import Version
from corten.plan.namespaces import user_defined
from corten.spec.docker.config import Config
from corten.spec.json import Json

_NETWORKS_WITHOUT_CONTAINERS = Version(1, 28)
_ENDPOINT_FIELDS = (("DNSNames", Version(1, 44)), ("GwPriority", Version(1, 48)))
_NO_FURTHER_ALIASES = Version(1, 45)  # the short id and the hostname are among the aliases no more
_ANNOTATIONS = Version(1, 46)
_IPV4_CAN_BE_OFF = Version(1, 48)
_NO_VIRTUAL_SIZE = Version(1, 44)
_NO_BUILDER_SIZE = Version(1, 42)
_OMITTED_WAIT_ERROR = Version(1, 42)
_SECURITY_OPTIONS = Version(1, 25)  # have values, and there is one execution driver
_NO_KERNEL_MEMORY = Version(1, 42)
_CDI = Version(1, 46)


def container_for(version: Version, shown: Json) -> Json:
    """A container's inspect."""
    if version < _NO_FURTHER_ALIASES:
        further = (shown["Id"][:12], shown["Config"].get("Hostname"))
        shown = _with_networks(shown, {name: _with_aliases(name, each, further) for name, each in _networks(shown)})
    return _endpoints_for(version, shown)


def row_for(version: Version, row: Json) -> Json:
    """A row of the list of containers."""
    if version < _ANNOTATIONS:
        row = {**row, "HostConfig": _without(row["HostConfig"], "Annotations")}
    return _endpoints_for(version, row)


def _endpoints_for(version: Version, shown: Json) -> Json:
    gone = [key for key, since in _ENDPOINT_FIELDS if version < since]
    return _with_networks(shown, {name: _without(each, *gone) for name, each in _networks(shown)}) if gone else shown


def _with_aliases(network: str, endpoint: Json, further: Iterable[str | None]) -> Json:
    """Where names are the name server's it answers to those too; of a container that has been connected."""
    if not user_defined(network) or not endpoint["NetworkID"]:
        return endpoint
    return {**endpoint, "Aliases": list(dict.fromkeys([*(endpoint["Aliases"] or ()), *filter(None, further)]))}


def _networks(shown: Json) -> Iterable[tuple[str, Json]]:
    networks: Json = shown["NetworkSettings"]["Networks"]
    return networks.items()


def _with_networks(shown: Json, networks: Json) -> Json:
    return {**shown, "NetworkSettings": {**shown["NetworkSettings"], "Networks": networks}}


def lists_containers(version: Version) -> bool:
    """Whether the networks of a list come with their containers."""
    return version < _NETWORKS_WITHOUT_CONTAINERS


def network_for(version: Version, shown: Json) -> Json:
    return shown if version >= _IPV4_CAN_BE_OFF else _without(shown, "EnableIPv4")


def image_row_for(version: Version, image: Json) -> Json:
    """A row of the list of images. All of an image is its own: VirtualSize is what Size is."""
    return image if version >= _NO_VIRTUAL_SIZE else {**image, "VirtualSize": image["Size"]}


def image_for(version: Version, image: Json) -> Json:
    """An image's inspect. Which container it was made of, and how that was configured, is empty for most images. It is
    gone from 1.45 on, and yet here: Compose 1.29 speaks the newest version that a daemon has, and cannot do without."""
    return image_row_for(version, {**image, "ContainerConfig": {**Config().to_json(), **image["ContainerConfig"]}})


def usage_for(version: Version, shown: Json) -> Json:
    """The answer to GET /system/df."""
    if version < _NO_BUILDER_SIZE:
        cache = shown["BuildCache"] or ()
        shown = {**shown, "BuilderSize": sum(row["Size"] for row in cache if not row["Shared"])}
    rows = {"Images": image_row_for, "Containers": row_for}
    return {**shown, **{key: [make(version, row) for row in shown[key]] for key, make in rows.items() if shown[key]}}


def info_for(version: Version, info: Json) -> Json:
    if version < _CDI:
        info = _without(info, "CDISpecDirs")
    if version < _NO_KERNEL_MEMORY:
        info = {**info, "KernelMemory": False}
    if version < _SECURITY_OPTIONS:
        names = [option.partition(",")[0].removeprefix("name=") for option in info["SecurityOptions"]]
        info = {**info, "SecurityOptions": names, "ExecutionDriver": "<not supported>"}
    return info


def exit_for(version: Version, status: int, error: str) -> Json:
    """The answer of a wait."""
    result: Json = {"StatusCode": status}
    if error or version < _OMITTED_WAIT_ERROR:
        result["Error"] = {"Message": error} if error else None
    return result


def _without(value: Json, *keys: str) -> Json:
    return {key: item for key, item in value.items() if key not in keys}
