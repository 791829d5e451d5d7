"""What the engine has of a project: containers, networks, volumes and images, by Docker's labels and by name.

Three lists, and one question for each network, volume or image that is wanted and is in none of them.
"""

from __future__ import annotations

import msgspec

from corten.client import containers, networks
from corten.client.errors import ApiError
from corten.compose import labels

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from corten.client.api import Client
    from corten.compose.model import Project

    Json = dict[str, Any]

RUNNING, PAUSED, EXITED, CREATED, RESTARTING, DEAD = "running", "paused", "exited", "created", "restarting", "dead"


class Volume(msgspec.Struct, frozen=True):
    """A volume that a container has mounted."""

    name: str
    target: str
    read_only: bool = False


class Container(msgspec.Struct, frozen=True):
    """`networks` are ids by name, `shares` the id of the container whose network it is in."""

    id: str
    name: str
    service: str
    number: int = 0
    oneoff: bool = False  # made by `run`, or for a hook
    hook: str = ""  # that it runs
    state: str = RUNNING
    hash: str = ""
    image: str = ""  # the id that the label has
    labels: Mapping[str, str] = {}
    networks: Mapping[str, str] = {}
    volumes: tuple[Volume, ...] = ()
    shares: str = ""
    created: int = 0
    status: str = ""  # "Up 3 seconds (healthy)"
    listed: Mapping[str, Any] = {}  # as the engine has listed it

    @property
    def healthy(self) -> bool:
        """That it runs, and its check has said so."""
        return self.state == RUNNING and self.status.endswith("(healthy)")

    @property
    def runs(self) -> bool:
        return self.state in (RUNNING, PAUSED, RESTARTING)


class Network(msgspec.Struct, frozen=True):
    id: str
    name: str
    labels: Mapping[str, str] = {}


class Observed(msgspec.Struct, frozen=True):
    """`networks` and `volumes` by name; `images` has the id of each name that is there, `secrets` are those that the
    engine keeps; `balances`: it is one of ours, in which several containers can share a port of the host."""

    containers: tuple[Container, ...] = ()
    networks: Mapping[str, Network] = {}
    volumes: Mapping[str, Mapping[str, str]] = {}  # their labels
    images: Mapping[str, str] = {}
    image_volumes: Mapping[str, tuple[str, ...]] = {}
    secrets: frozenset[str] = frozenset()
    balances: bool = False

    def of(self, service: str) -> tuple[Container, ...]:
        """Its containers but for those of `run`, the lowest number first."""
        found = [each for each in self.containers if each.service == service and not each.oneoff]
        return tuple(sorted(found, key=lambda each: (each.number, each.created, each.name)))


def project_containers(client: Client, name: str, everything: bool = True, oneoffs: bool = True) -> list[Container]:
    wanted = [labels.of_project(name)] + ([] if oneoffs else [f"{labels.ONEOFF}=False"])
    found = containers.listing(client, everything, wanted={"label": wanted})
    return [container(each) for each in found if (each.get("Labels") or {}).get(labels.SERVICE)]


def container(listed: Json) -> Container:
    given: Mapping[str, str] = listed.get("Labels") or {}
    number = given.get(labels.NUMBER, "")
    settings = (listed.get("NetworkSettings") or {}).get("Networks") or {}
    mode = (listed.get("HostConfig") or {}).get("NetworkMode") or ""
    names = [name.removeprefix("/") for name in listed.get("Names") or ()]
    return Container(
        id=listed["Id"],
        name=min((name for name in names if "/" not in name), key=len, default=listed["Id"][:12]),
        service=given.get(labels.SERVICE, ""),
        number=int(number) if number.isdigit() else 0,
        oneoff=given.get(labels.ONEOFF, "") == "True" or labels.HOOK in given,
        hook=given.get(labels.HOOK, ""),
        state=str(listed.get("State") or ""),
        hash=given.get(labels.HASH, ""),
        image=given.get(labels.IMAGE, ""),
        labels=given,
        networks={name: (each or {}).get("NetworkID") or "" for name, each in settings.items()},
        volumes=tuple(
            Volume(each.get("Name") or "", each.get("Destination") or "", not each.get("RW", True))
            for each in listed.get("Mounts") or ()
            if each.get("Type") == "volume"
        ),
        shares=mode.removeprefix("container:") if mode.startswith("container:") else "",
        created=int(listed.get("Created") or 0),
        status=str(listed.get("Status") or ""),
        listed=listed,
    )


def project_networks(client: Client, name: str) -> dict[str, Network]:
    found = networks.listing(client, {"label": [labels.of_project(name)]})
    return {each["Name"]: Network(each["Id"], each["Name"], each.get("Labels") or {}) for each in found}


def project_volumes(client: Client, name: str) -> dict[str, Mapping[str, str]]:
    from corten.client import volumes

    found = volumes.listing(client, {"label": [labels.of_project(name)]}).get("Volumes") or []
    return {each["Name"]: each.get("Labels") or {} for each in found}


def observe(client: Client, project: Project) -> Observed:
    """All that a plan for `project` reads."""
    known_networks = project_networks(client, project.name)
    for network in project.networks.values():
        if network.name not in known_networks and (found := _network(client, network.name)) is not None:
            known_networks[network.name] = found
    known_volumes = project_volumes(client, project.name)
    for volume in project.volumes.values():
        if volume.name not in known_volumes and (labelled := _volume(client, volume.name)) is not None:
            known_volumes[volume.name] = labelled
    wanted = {project.image_of(service) for service in project.services.values() if service.provider is None}
    ids, image_volumes = image_ids(client, wanted)
    external = [secret.name for secret in project.secrets.values() if secret.external]
    stored = frozenset(name for name in external if _keeps(client, name))
    there = tuple(project_containers(client, project.name))
    return Observed(there, known_networks, known_volumes, ids, image_volumes, stored, client.ours)


def _keeps(client: Client, secret: str) -> bool:
    """Whether it is an engine of ours, which has it."""
    from corten.client import secrets

    try:
        secrets.inspect(client, secret)
    except ApiError as error:
        if error.status != 404:
            raise
        return False
    return True


def image_ids(client: Client, names: Iterable[str]) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """Of those that are there: ids, and the paths that they make volumes of."""
    from corten.client import images

    ids, image_volumes = {}, {}
    for name in sorted(names):
        try:
            found = images.inspect(client, name)
        except ApiError as error:
            if error.status != 404:
                raise
            continue
        ids[name] = str(found["Id"])
        image_volumes[name] = tuple((found.get("Config") or {}).get("Volumes") or {})
    return ids, image_volumes


def _network(client: Client, name: str) -> Network | None:
    try:
        found = networks.inspect(client, name)
    except ApiError as error:
        if error.status != 404:
            raise
        return None
    return Network(found["Id"], found["Name"], found.get("Labels") or {})


def _volume(client: Client, name: str) -> Mapping[str, str] | None:
    from corten.client import volumes

    try:
        found: Mapping[str, str] = volumes.inspect(client, name).get("Labels") or {}
    except ApiError as error:
        if error.status != 404:
            raise
        return None
    return found
